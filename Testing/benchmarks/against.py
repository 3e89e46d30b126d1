"""This checkout beside another commit's, in one run: to the first mask, per slice, per click; one thread, fp32.

    git worktree add ../before 250c3ad
    python Testing/benchmarks/against.py ../before [--pairs 5] [--bar 1.2] [--backend onnxruntime] [--key-slices]

Programs of the two checkouts take turns, so that what else the machine does meets both; each pair gives a ratio, and
the table shows the median of the ratios with the smallest and the largest. Processor seconds count, of the embedded
network that each checkout has. --backend int8: this checkout computes in int8. --key-slices: it interpolates slices
between two that agree. Ends with status 1 where a median lies above the bar; a first click is shown beside them and has
none, since it is looked at through more crops than at 250c3ad.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
SHAPE, FIRST, LAST = (120, 256, 256), 40, 79
RADII = (50.0, 60.0, 70.0)
ROWS = {
    "first mask after a box": True,
    "a slice of propagation": True,
    "a correcting click: its mask": True,
    "a correcting click: a slice of its round": True,
    "first mask after one click": False,
}
"""What is timed, and whether the bar holds for it."""
MODULES = {
    "Volume": ("volume.volume", "volume"),
    "Session": ("rounds.session", "session"),
    "Options": ("prompts.options", "options"),
    "BoxPrompt": ("prompts.prompts", "prompts"),
    "PointPrompt": ("prompts.prompts", "prompts"),
    "SliceDone": ("prompts.events", "events"),
}
"""Where names of `memseg3d.propagation` lie today, and where they lay at 250c3ad."""


def found(name: str) -> Any:
    """A class of propagation, wherever the imported package has it."""
    for module in MODULES[name]:
        try:
            return getattr(importlib.import_module(f"memseg3d.propagation.{module}"), name)
        except (ImportError, AttributeError):
            continue
    raise SystemExit(f"This checkout has no {name} where it is looked for: {MODULES[name]}.")


def story(checkout: Path, backend: str, key_slices: bool) -> dict[str, float]:
    """Seconds of each row, told by the package under `checkout`."""
    import numpy as np
    import torch

    import memseg3d
    from memseg3d.network.loading import load_network

    if checkout not in Path(memseg3d.__file__).resolve().parents:
        raise SystemExit(f"{memseg3d.__file__} is not the package of {checkout}: run with its own PYTHONPATH.")
    torch.set_num_threads(1)
    network = load_network(checkout / "Resources" / "Models" / "memseg3d-nano.safetensors").float()
    if backend == "int8":
        from memseg3d.network.backends import choose_int8

        choose_int8(network)
    elif backend != "torch":
        from memseg3d.network.backends import choose_backend

        choose_backend(network, backend)
    grid = np.ogrid[tuple(slice(0, size) for size in SHAPE)]
    inside = sum(((g - size / 2) / r) ** 2 for g, size, r in zip(grid, SHAPE, RADII, strict=True)) <= 1.0
    noise = np.random.default_rng(0).normal(0, 15, SHAPE)
    volume = found("Volume")((np.where(inside, 110, 30) + noise).astype(np.int16), (2.0, 0.8, 0.8))
    k, j, i = (float(size // 2) for size in SHAPE)
    low, high = (k, j - RADII[1], i - RADII[2]), (k, j + RADII[1], i + RADII[2])
    box = found("BoxPrompt")(1, 0, low, high, "box")
    click = found("PointPrompt")(1, (k + 12, j + 55, i), True, 0, "click")
    first = found("PointPrompt")(1, (k, j, i), True, 0, "first")
    options: dict[str, Any] = {"first": FIRST, "last": LAST} | ({"key_slices": True} if key_slices else {})
    start = found("Session")

    def clicked() -> float:
        return timed(start(volume, network, found("Options")(first=int(k), last=int(k))).begin("1", [first]))[0]

    clicked()  # Warms up what is computed once a process.
    session = start(volume, network, found("Options")(**options))
    mask, rest, slices = timed(session.begin("1", [box]))
    correction, again, corrected = timed(session.begin("2", [click]))
    alone = clicked()
    values = mask, rest / max(1, slices), correction, again / max(1, corrected), alone
    return dict(zip(ROWS, values, strict=True))


def timed(run: Any) -> tuple[float, float, int]:
    """Processor seconds to the first slice, those after it, and how many slices came after it."""
    begun, first, slices = time.process_time(), 0.0, 0
    for event in run:
        if isinstance(event, found("SliceDone")):
            if not slices:
                first = time.process_time() - begun
            slices += 1
    return first, time.process_time() - begun - first, slices - 1


def told(checkout: Path, backend: str = "torch", key_slices: bool = False) -> dict[str, float]:
    """A story in a program of its own."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "server"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), str(checkout), "--story", "--backend", backend]
    command += ["--key-slices"] * key_slices
    result = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")
    if result.returncode:
        raise SystemExit(f"{checkout}: {result.stderr.strip()[-2000:]}")
    answer: dict[str, float] = json.loads(result.stdout.strip().splitlines()[-1])
    return answer


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--bar", type=float, default=1.2)
    parser.add_argument("--backend", default="torch", choices=("auto", "torch", "openvino", "onnxruntime", "int8"))
    parser.add_argument("--key-slices", action="store_true")
    parser.add_argument("--story", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    before = asked.before.resolve()
    if asked.story:
        print(json.dumps(story(before, asked.backend, asked.key_slices)))
        return 0
    pairs = []
    for place in range(asked.pairs):
        order = (before, HERE) if place % 2 == 0 else (HERE, before)
        extra = {before: ("torch", False), HERE: (asked.backend, asked.key_slices)}
        times = {checkout: told(checkout, *extra[checkout]) for checkout in order}
        pairs.append((times[before], times[HERE]))
        print(f"pair {place + 1} of {asked.pairs}", file=sys.stderr, flush=True)
    print("| one thread, fp32, processor ms | before | now | ratio (median, least to largest of the pairs) | bar |")
    print("|---|---|---|---|---|")
    missed = False
    for row, has_bar in ROWS.items():
        ratios = sorted(now[row] / old[row] for old, now in pairs)
        middle = statistics.median(ratios)
        old, now = (1000 * statistics.median(each[side][row] for each in pairs) for side in (0, 1))
        bar = ("missed" if middle > asked.bar else "reached") + f" ({asked.bar:g})" if has_bar else ""
        missed |= has_bar and middle > asked.bar
        print(f"| {row} | {old:.1f} | {now:.1f} | {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | {bar} |")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
