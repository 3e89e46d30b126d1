"""What our backend adds to nnInteractive's own session: the same clicks in turn, on both, 100 x 256 x 256 voxels.

    python Testing/benchmarks/nninteractive_overhead.py THEIRS/bin/python [--clicks 12]

THEIRS is the environment of docs/experts.md. The network is a small one with random weights, so that the prediction
takes little, and autozoom is off on both sides. Processor seconds count, those of our process and of its child together
against those of a process that drives the package's session directly; clicks alternate between the two.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FEATURES, BLOCKS, PATCH = (8, 16, 32, 32), (1, 1, 1, 1), 32
LICENCE = "CC-BY-NC-SA-4.0"


def click(turn: int) -> tuple[int, int, int]:
    """Where the n-th click goes."""
    return 50 + turn % 5, 128 + 3 * turn, 128


def theirs(folder: Path) -> None:
    """Make the model; then one point for every line that comes, and its seconds: of the clock, of the processor."""
    sys.path.insert(0, str(HERE))
    import numpy as np
    import torch
    from nninteractive import SHAPE, random_model, volume
    from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    torch.manual_seed(0)
    random_model(folder, FEATURES, BLOCKS, PATCH)
    session = nnInteractiveInferenceSession(
        device=torch.device("cpu"), use_torch_compile=False, verbose=False, torch_n_threads=1, do_autozoom=False
    )
    session.initialize_from_trained_model_folder(str(folder))
    session.set_image(volume()[None].astype(np.float32))
    session.set_target_buffer(np.zeros(SHAPE, np.uint8))
    for turn, _ in enumerate(sys.stdin):
        begun = time.perf_counter(), time.process_time()
        session.add_point_interaction(click(turn), include_interaction=True)
        taken = time.perf_counter() - begun[0], time.process_time() - begun[1]
        print(json.dumps(taken), file=answers, flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python")
    parser.add_argument("--clicks", type=int, default=12)
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        return theirs(asked.part)
    with tempfile.TemporaryDirectory() as home:
        _compare(asked.python, asked.clicks, Path(home))


def _compare(python: str, clicks: int, home: Path) -> None:
    import psutil
    import torch
    from nninteractive import volume

    from memseg3d.experts.companions import ExpertAlone
    from memseg3d.experts.nninteractive.expert import NnInteractiveExpert
    from memseg3d.experts.nninteractive.process import PYTHON
    from memseg3d.propagation.prompts.prompts import PointPrompt
    from memseg3d.propagation.rounds.session import Session
    from memseg3d.propagation.volume.volume import Volume

    os.environ |= {PYTHON: python, "MEMSEG3D_HOME": str(home), "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    (home / "models").mkdir()
    (home / "models" / "accepted-licences.json").write_text(json.dumps({LICENCE: "now"}), encoding="utf-8")
    folder = home / "model"
    folder.mkdir()
    own = subprocess.Popen(
        [python, "-P", str(Path(__file__).resolve()), python, "--part", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert own.stdin is not None
    assert own.stdout is not None
    session: Session | None = None
    pairs: list[tuple[list[float], list[float]]] = []
    for turn in range(clicks + 1):
        own.stdin.write("next\n")
        own.stdin.flush()
        direct = json.loads(own.stdout.readline())
        if session is None:
            # the folder is there as soon as the first answer is
            expert = NnInteractiveExpert(folder, zooms=False)
            session = Session(Volume(volume(), (1.0, 1.0, 1.0)), ExpertAlone(expert))
        child: Any = psutil.Process(expert._child._process.pid) if expert._child is not None else None
        before = sum(child.cpu_times()[:2]) if child is not None else 0.0
        k, j, i = click(turn)
        begun = time.perf_counter(), time.process_time()
        for _ in session.begin(str(turn), [PointPrompt(1, (float(k), float(j), float(i)))]):
            pass
        wall, processor = time.perf_counter() - begun[0], time.process_time() - begun[1]
        assert expert._child is not None
        child = psutil.Process(expert._child._process.pid)
        if turn:  # the first one loads everything
            pairs.append((direct, [wall, processor + sum(child.cpu_times()[:2]) - before]))
    expert.close()
    own.kill()
    own.wait()
    print("| median of a click | its own session, s | through our library, s | added, s |\n|---|---|---|---|")
    for place, name in enumerate(("by the clock", "processor")):
        one, two = (statistics.median(pair[side][place] for pair in pairs) for side in (0, 1))
        added = statistics.median(pair[1][place] - pair[0][place] for pair in pairs)
        print(f"| {name} | {one:.3f} | {two:.3f} | {added:.3f} |")


if __name__ == "__main__":
    main()
