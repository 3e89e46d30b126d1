"""An entry of the challenge: a case with boxes and clicks in, a labelmap out; sessions go on between the rounds.

python -m memseg3d.evaluation.cvpr25.predict --inputs inputs --outputs outputs --model memseg3d-nano
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.evaluation.cvpr25.cases import ChallengeCase, read_case, save
from memseg3d.files import UnreadableFile
from memseg3d.network.seam import Network
from memseg3d.propagation.masks.merged_labels import MergedLabels
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import Box3DPrompt, PointPrompt, Prompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.volume import Volume

STATE = ".memseg3d"
"""Ending of the file beside an answer that keeps its rounds: a container that starts anew goes on from there."""


class Entry:
    """Answers cases one after another. network: any model, experts included."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def answer(self, case: ChallengeCase, state: Path | None = None) -> NDArray[np.uint8]:
        """The labelmap (z, y, x) of a case: class n of its boxes and clicks is n + 1.

        state: a file that keeps the session between calls; without it every round is computed again. A class that
        cannot be answered stays empty, or as it was.
        """
        result = np.zeros(case.imgs.shape, np.uint8)
        volume = _volume(case)
        if volume is None:
            return result
        rounds = rounds_of(case)
        session = _restored(Session(volume, self._network, Options()), rounds, state)
        for name, prompts in rounds[session.applied :]:
            for _ in session.begin(name, prompts):
                pass
        if state is not None:
            _keep(session, rounds, state)
        claims = {number: session.claim(number) for number in session.objects}
        start = 0
        for slab in MergedLabels(claims, volume.shape).slabs():
            wanted = slab[: len(result) - start]
            result[start : start + len(wanted)] = wanted
            start += len(slab)
        return result


def rounds_of(case: ChallengeCase) -> list[tuple[str, list[Prompt]]]:
    """Everything that was said of a case as rounds: the boxes, then the first click of every class, and so on."""
    rounds: list[tuple[str, list[Prompt]]] = []
    shape = case.imgs.shape
    if case.boxes is not None:
        boxes: list[Prompt] = []
        for place, box in enumerate(case.boxes):
            # the rectangle's own slice is nearly always the middle one, for which MemSeg3D takes it
            sides = (
                (box.z_min, box.z_max),
                (box.z_mid_y_min, box.z_mid_y_max),
                (box.z_mid_x_min, box.z_mid_x_max),
            )
            (k0, k1), (j0, j1), (i0, i1) = (
                (max(0.0, float(min(side))), min(float(most - 1), float(max(side))))
                for side, most in zip(sides, shape, strict=True)
            )
            if k0 <= k1 and j0 <= j1 and i0 <= i1:
                boxes.append(Box3DPrompt(place + 1, 0, (k0, j0, i0), (k1, j1, i1), id=f"box-{place + 1}"))
        if boxes:
            rounds.append(("boxes", boxes))
    orders = [clicks.in_order() for clicks in case.clicks or ()]
    for turn in range(max((len(each) for each in orders), default=0)):
        points: list[Prompt] = []
        for place, clicks in enumerate(orders):
            if turn < len(clicks):
                (z, y, x), positive = clicks[turn]
                name = f"click-{place + 1}-{turn + 1}"
                points.append(PointPrompt(place + 1, (float(z), float(y), float(x)), positive, id=name))
        rounds.append((f"clicks-{turn + 1}", points))
    return rounds


def _volume(case: ChallengeCase) -> Volume | None:
    """The case as a volume; a single slice is seen twice, for a volume has two at least. None where it is constant."""
    x, y, z = case.spacing
    voxels = np.ascontiguousarray(case.imgs)
    if voxels.dtype.kind == "f":
        voxels = voxels.astype(np.float32)
    if len(voxels) == 1:
        voxels = np.repeat(voxels, 2, axis=0)
    try:
        return Volume(voxels, (z, y, x))
    except PropagationError:
        return None


def _fingerprint(rounds: Sequence[tuple[str, list[Prompt]]]) -> list[str]:
    return [f"{name}: {sorted(repr(prompt) for prompt in prompts)}" for name, prompts in rounds]


def _restored(session: Session, rounds: Sequence[tuple[str, list[Prompt]]], state: Path | None) -> Session:
    """The session with the rounds that were computed before, as far as they are those that are asked for now."""
    if state is None or not state.is_file():
        return session
    try:
        words: dict[str, Any] = json.loads(state.read_text(encoding="utf-8"))
        if words["volume"] == session.volume.id and words["rounds"] == _fingerprint(rounds)[: len(words["rounds"])]:
            session.restore(words["records"])
    except (OSError, ValueError, KeyError, TypeError, PropagationError):
        return Session(session.volume, session.store.network, session.options, session.store)
    return session


def _keep(session: Session, rounds: Sequence[tuple[str, list[Prompt]]], state: Path) -> None:
    words = {"volume": session.volume.id, "rounds": _fingerprint(rounds), "records": session.records()}
    part = state.with_name(f"{state.name}.part")
    part.write_text(json.dumps(words), encoding="utf-8")
    part.replace(state)


def predict(network: Network, inputs: Path, outputs: Path) -> list[Path]:
    """Answer every npz of a folder; the files that were written. Raises `UnreadableFile`."""
    outputs.mkdir(parents=True, exist_ok=True)
    entry, written = Entry(network), []
    for path in sorted(inputs.glob("*.npz")):
        case = read_case(path)
        save(outputs / path.name, {"segs": entry.answer(case, outputs / f"{path.stem}{STATE}")})
        written.append(outputs / path.name)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """The command of `predict.sh`: 0 where every case was answered."""
    parser = argparse.ArgumentParser(description="Answer cases of the CVPR 2025 challenge.")
    parser.add_argument("--inputs", type=Path, default=Path("inputs"))
    parser.add_argument("--outputs", type=Path, default=Path("outputs"))
    parser.add_argument("--model", help="name or path of a model, or NETWORK+EXPERT; the embedded one if left out")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args(arguments)
    import torch

    from memseg3d.experts.opening import open_model
    from memseg3d.network.checkpoint_files import UnknownCheckpoint
    from memseg3d.network.models import ModelDamaged, ModelNotFound
    from memseg3d.network.precision import fastest_dtype

    device = ("cuda" if torch.cuda.is_available() else "cpu") if asked.device == "auto" else asked.device
    try:
        network = open_model(asked.model, None, None, device, fastest_dtype(torch.device(device)))
        written = predict(network, asked.inputs, asked.outputs)
    except (UnknownCheckpoint, ModelDamaged, ModelNotFound, UnreadableFile) as error:
        print(f"predict: {error}", file=sys.stderr)
        return 2
    print(f"Answered {len(written)} cases.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
