"""Fuzz what the side in Slicer reads: a worker's lines, packed bits, recovery journals, a PACS, what is exported.

    python -m Testing.audits.fuzz_client [--share 1.0] [--seed 0]

Prints a line a target; 1 where anything but the library's own error came out.
"""

from __future__ import annotations

import base64
import json
import queue
import random
import sys
import uuid
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from MemSeg3DLib.base.errors import ExportError, RoundError, WorkerError
from MemSeg3DLib.base.packing import pack_bits, unpack_bits
from MemSeg3DLib.export.dicom.dicomweb import _failures, _warnings
from MemSeg3DLib.export.dicom.store_report import report_of
from MemSeg3DLib.export.dicom.terminology import LabelsError, read_labels
from MemSeg3DLib.export.labelmaps.reading import read_labelmap
from MemSeg3DLib.prompts.as_json import drawn_from_json
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.journal import RecoveryJournal, _line
from MemSeg3DLib.rounds.history.record import RoundRecord, _checksum
from MemSeg3DLib.rounds.history.scene_text import copied_rounds, store_rounds
from MemSeg3DLib.scene.nodes import open_scene
from MemSeg3DLib.worker.followed_round import FollowedRound
from MemSeg3DLib.worker.jobs import RoundJob, VolumeSnapshot
from MemSeg3DLib.worker.thread_connection import ThreadConnection

from .mutations import bytes_of, words_of
from .samples import PROMPTS, SHAPE
from .targets import Targets

TARGETS = Targets()
Words = dict[str, Any]
ONES = pack_bits(np.ones((1, 4, 4), bool))
LINES: list[Words] = [
    {"seq": 1, "type": "slice", "object": 1, "axis": 0, "index": 3, "extent": [[3, 4], [2, 6], [2, 6]], "bits": ONES,
     "quality": 0.5, "prompted": True, "round": "r"},
    {"seq": 2, "type": "progress", "round": "r", "phase": "propagating", "done": 1, "total": 9},
    {"seq": 3, "type": "round", "round": "r", "status": "closed", "objects": {"1": {"voxels": 16, "checksum": "0"}},
     "suggested": {"1": {"axis": 0, "index": 4, "quality": 0.5}}, "seconds": 1.5, "consensus": None},
]  # fmt: skip
CHANGE = {"segment_id": "a", "extent": [[3, 4], [2, 6], [2, 6]], "added": ONES, "removed": ONES, "before": "empty"}
RECORD: Words = {
    "id": "r", "session": "s", "volume": "v", "options": {}, "removed": [], "labels": {"a": 1}, "lattice": [1.0] * 16,
    "prompts": [{**one, "id": str(number)} for number, one in enumerate(PROMPTS)],
    "changes": [{**CHANGE, "after": "x"}], "quality": {"a": [[0, 3, 0.5, True]]}, "time": 1.0, "seconds": 2.0,
    "limits": {"1": {"axis": 0, "first": 1, "last": 9}}, "full": [1],
    "drawn": [{"kind": "point", "segment_id": "a", "position": [1.0, 2.0, 3.0], "axis": 0, "id": "0"}],
}  # fmt: skip
LABELS: Words = {
    "1": "liver",
    "3": {"name": "b", "type": ["79282002", "SCT", "Carcinoma"], "color": [1, 0.5, 0], "includes": [1],
          "tracking_id": "b 1", "tracking_uid": "1.2.3"},
    "7": {"name": "c", "colour": [1, 2, 3]},
}  # fmt: skip
REPORT = {
    "00081198": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}, "00081197": {"Value": [272]}}]},
    "00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.3"]}, "00081196": {"Value": [45056]}}]},
}


def signed(words: Any) -> Any:
    """With its checksum, whatever it holds."""
    return {**words, "sha256": _checksum(words)} if isinstance(words, dict) else words


def journal_of(rounds: list[Any], path: Path) -> Path:
    """A recovery journal of these rounds, one undone."""
    lines: list[Words] = [{"type": "round", "round": one} for one in rounds]
    lines += [{"type": "undo", "round": "r"}, {"type": "redo", "round": "r"}, {"type": "resumed"}]
    path.write_bytes(b"".join(_line(line) for line in lines))
    return path


def read_journal(path: Path) -> str:
    """All that is asked of a journal that a crash has left."""
    journal = RecoveryJournal(path)
    try:
        rounds = [RoundRecord.from_json(one) for one in journal.rounds()]
        journal.sittings()
        for one in rounds:
            for change in one.changes:
                change.masks()
    except RoundError:
        return "refused"
    return "taken" if rounds else "nothing left"


@TARGETS.target(1500)
def event_lines(seed: int, _: Path) -> str:
    """Lines of a stream."""
    rng = random.Random(seed)
    volume = VolumeSnapshot(np.zeros(SHAPE, np.int16), (1.0, 1.0, 1.0))
    job = RoundJob("r", volume, {}, [{"object": 1, "id": "p"}], [], [])
    followed = FollowedRound(ThreadConnection(None, queue.SimpleQueue()), job)  # type: ignore[arg-type]
    followed._session = "s"
    try:
        followed._follow(iter([words_of(one, rng) if rng.random() < 0.5 else one for one in LINES]))
    except WorkerError as error:
        return error.code
    return "taken"


@TARGETS.target(1500)
def bits(seed: int, _: Path) -> str:
    """Packed bits: flipped, cut, bombs, and odd shapes."""
    rng = random.Random(seed)
    text = bytes_of(ONES.encode(), rng).decode("latin-1")
    if rng.random() < 0.1:
        text = base64.b64encode(zlib.compress(bytes(rng.choice([1, 1 << 10, 1 << 24])))).decode()
    shape = tuple(rng.choice([1, 4, 4, 0, -1, 7]) for _ in range(3))
    try:
        unpack_bits(text, shape)  # type: ignore[arg-type]
    except ValueError:
        return "refused"
    return "taken"


@TARGETS.target(3000)
def journals(seed: int, folder: Path) -> str:
    """Recovery journals, damaged."""
    path = journal_of([signed(RECORD), signed({**RECORD, "id": "q"})], folder / f"{uuid.uuid4().hex}.journal")
    path.write_bytes(bytes_of(path.read_bytes(), random.Random(seed)))
    try:
        return read_journal(path)
    finally:
        path.unlink()


@TARGETS.target(1500)
def odd_journals(seed: int, folder: Path) -> str:
    """Recovery journals with right checksums and odd content."""
    rounds = [signed(words_of(RECORD, random.Random(seed))), signed({**RECORD, "id": "q"})]
    path = journal_of(rounds, folder / f"{uuid.uuid4().hex}.journal")
    try:
        return read_journal(path)
    finally:
        path.unlink()


@TARGETS.target(1500)
def scene_texts(seed: int, _: Path) -> str:
    """Rounds in the scene: damaged text, or odd rounds with right checksums."""
    rng = random.Random(seed)
    odd = signed(words_of(RECORD, rng)) if rng.random() < 0.5 else signed(RECORD)
    text = json.dumps({"version": 1, "rounds": [odd], "applied": 1})
    if rng.random() < 0.5:
        text = bytes_of(text.encode(), rng).decode("latin-1")
    copied_rounds(text)
    scene = open_scene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    store_rounds(node, text)
    try:
        return "taken" if RoundHistory(node).applied else "nothing left"
    except RoundError:
        return "refused"
    finally:
        scene.Clear(False)


@TARGETS.target(1500)
def drawn_prompts(seed: int, _: Path) -> str:
    """Drawn prompts of a record."""
    try:
        drawn_from_json(words_of(RECORD["drawn"][0], random.Random(seed)))
    except RoundError:
        return "refused"
    return "taken"


@TARGETS.target(1500)
def store_reports(seed: int, _: Path) -> str:
    """A PACS's answers to a store."""
    rng = random.Random(seed)
    content = json.dumps(words_of(REPORT, rng)).encode()
    report = report_of(bytes_of(content, rng) if rng.random() < 0.4 else content)
    if report is None:
        return "no report"
    _failures(report)
    _warnings(report)
    return "read"


@TARGETS.target(1500)
def labels_files(seed: int, folder: Path) -> str:
    """Descriptions of segments for an export."""
    rng, path = random.Random(seed), folder / "labels.json"
    content = json.dumps(words_of(LABELS, rng)).encode()
    path.write_bytes(bytes_of(content, rng) if rng.random() < 0.3 else content)
    try:
        read_labels(path)
    except LabelsError:
        return "refused"
    return "taken"


@TARGETS.target(1500)
def labelmap_files(seed: int, folder: Path) -> str:
    """Labelmaps for an export, of every format."""
    rng = random.Random(seed)
    path = folder / rng.choice(["a.nii", "b.nii.gz", "c.nrrd", "d.mha", "e.mha"])
    labels = np.random.default_rng(0).integers(0, 3, (4, 7, 8)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(path), useCompression=path.name[0] in "bce")
    path.write_bytes(bytes_of(path.read_bytes(), rng))
    try:
        read_labelmap(path)
    except ExportError:
        return "refused"
    return "taken"


if __name__ == "__main__":
    sys.exit(TARGETS.main(str(__doc__)))
