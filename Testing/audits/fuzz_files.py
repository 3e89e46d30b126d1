"""Fuzz what is read without HTTP: uploads, journals, prompts, options, odd words on disk, and files of every kind.

    python -m Testing.audits.fuzz_files [--share 1.0] [--seed 0]

Prints a line a target; 1 where anything but the error that belongs there came out.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import random
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.service.errors import ServiceError
from memseg3d.service.folders import DataFolder
from memseg3d.service.history import History
from memseg3d.service.journal import Journal, JournalError
from memseg3d.service.limits.bodies import parsed
from memseg3d.service.limits.disk_room import DiskRoom
from memseg3d.service.limits.drawings import budget, prepared
from memseg3d.service.limits.use_clock import UseClock
from memseg3d.service.protocol import HintRequest, SessionRequest
from memseg3d.service.restored import options_of
from memseg3d.service.settings import Limits
from memseg3d.service.uploads import Gunzip
from memseg3d.service.volumes import VolumeStore

from .fuzz_documents import DOCUMENTS
from .mutations import as_body, bytes_of, words_of
from .samples import PROMPTS, SHAPE, session_records
from .targets import Targets

TARGETS = Targets()
target = TARGETS.target


def _files() -> dict[str, bytes]:
    voxels = np.random.default_rng(0).integers(0, 99, (6, 7, 8)).astype(np.int16)
    image, found = sitk.GetImageFromArray(voxels), {}
    with tempfile.TemporaryDirectory() as folder:
        for name, packed in (("a.nii", False), ("b.nii.gz", True), ("c.nrrd", False), ("d.nrrd", True)):
            sitk.WriteImage(image, str(Path(folder) / name), useCompression=packed)
            found[name] = (Path(folder) / name).read_bytes()
    head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 8 7 6\nencoding: {}\nendian: little\n\n"
    found["e.nrrd"] = head.format("ascii").encode() + " ".join(map(str, voxels.ravel())).encode()
    found["f.nrrd"] = head.format("hex").encode() + voxels.tobytes().hex().encode()
    return found


FILES = _files()


@target(6500)
def uploads(seed: int, folder: Path) -> str:
    """NIfTI and NRRD files through the volume store."""
    rng = random.Random(seed)
    name, content = rng.choice(sorted(FILES.items()))
    data = DataFolder(folder)
    try:
        store = VolumeStore(data, Limits(volume_bytes=1 << 24), UseClock(folder / "clock.json", 3600.0))
        room = DiskRoom(folder, data.incoming, 1 << 30, lambda _: None)

        async def body() -> AsyncIterator[bytes]:
            yield bytes_of(content, rng)

        try:
            with room.reserve() as reservation:
                asyncio.run(store.add_file(name[name.index(".") :], body(), reservation))
        except ServiceError as error:
            result = error.code
        else:
            result = "taken"
        if list(data.incoming.iterdir()):
            raise AssertionError("something is left in incoming")
        return result
    finally:
        data.close()


@target(3000)
def prompts(seed: int, _: Path) -> str:
    """Prompts of all types through schema, budget and drawing."""
    rng = random.Random(seed)
    chosen = [rng.choice(PROMPTS) for _ in range(rng.randint(1, 3))]
    # One of them may be as it should, so that some come through the schema.
    words = {"prompts": [words_of(each, rng, most=1) if rng.random() < 0.7 else each for each in chosen]}
    try:
        asked = parsed(as_body(words), HintRequest).model_dump(mode="json")["prompts"]
        budget(asked, SHAPE, Limits())
        prepared(asked, SHAPE)
    except ServiceError as error:
        return error.code
    return "taken"


@target(1500)
def packed_bits(seed: int, _: Path) -> str:
    """The bits of masks and voxels."""
    rng = random.Random(seed)
    words = dict(rng.choice([each for each in PROMPTS if "bits" in each]))
    words["bits"] = bytes_of(words["bits"].encode(), rng).decode("latin-1")
    try:
        prepared([words], SHAPE)
    except ServiceError as error:
        return error.code
    return "taken"


@target(1500)
def journals(seed: int, folder: Path) -> str:
    """A damaged journal gives a sound beginning of its records, keeps the rest aside and tells how much."""
    rng, records = random.Random(seed), session_records()
    path = folder / f"{uuid.uuid4()}.ndjson"
    journal = Journal.create(path, records[0])
    for record in records[1:]:
        journal.append(record)
    path.write_bytes(bytes_of(path.read_bytes(), rng))
    try:
        opened, found = Journal.open(path)
        History.of(found)
    except JournalError:
        return "refused"
    if found != records[: len(found)]:
        raise AssertionError("records that nobody wrote")
    opened.append({"type": "lost", "message": "", "time": 0.0})
    again = Journal.open(path)[1]
    if again[:-1] != found:
        raise AssertionError("what was appended does not follow")
    return "told" if opened.lost is not None else "a torn line at most"


@target(1500)
def odd_records(seed: int, _: Path) -> str:
    """Records with right checksums and odd content."""
    rng = random.Random(seed)
    try:
        History.of([words_of(each, rng) if rng.random() < 0.4 else each for each in session_records()])
    except JournalError:
        return "refused"
    return "taken"


@target(1500)
def gzip_bodies(seed: int, _: Path) -> str:
    """Gzip in random pieces."""
    rng, sink = random.Random(seed), io.BytesIO()
    content = bytes_of(gzip.compress(bytes(range(256)) * rng.randint(1, 400)), rng)
    unpack = Gunzip(sink)
    try:
        while content:
            size = rng.randint(1, 200)
            unpack.write(content[:size])
            content = content[size:]
        unpack.finish()
    except ServiceError as error:
        return error.code
    return "taken"


@target(1500)
def session_options(seed: int, _: Path) -> str:
    """Options of sessions."""
    rng = random.Random(seed)
    words: Any = {"volume": "a" * 64, "options": {"window": [0, 90], "axis": 1, "first": 2, "last": 9, "reach": 2.5}}
    try:
        asked = parsed(as_body(words_of(words, rng)), SessionRequest)
        options_of(asked.options.model_dump(mode="json"))
    except (ServiceError, PropagationError) as error:
        return error.code
    return "taken"


@target(1500)
def words_on_disk(seed: int, folder: Path) -> str:
    """A volume's words and voxels, damaged: it is whole, or counts as not there."""
    rng, data = random.Random(seed), DataFolder(folder)
    try:
        store = VolumeStore(data, Limits(), UseClock(folder / "clock.json", 3600.0))
        reservation = DiskRoom(folder, data.incoming, 1 << 30, lambda _: None).reserve()

        async def body() -> AsyncIterator[bytes]:
            yield FILES["c.nrrd"]

        entry, _ = asyncio.run(store.add_file(".nrrd", body(), reservation))
        path = folder / "volumes" / entry.id / rng.choice(["volume.json", "voxels.raw"])
        before = path.read_bytes()
        path.write_bytes(bytes_of(before, rng))
        fresh = VolumeStore(data, Limits(), UseClock(folder / "clock.json", 3600.0))
        try:
            volume = fresh.open(entry.id)
        except ServiceError as error:
            return error.code
        if volume.id != entry.id:
            raise AssertionError("damaged voxels were handed out")
        return "whole"
    finally:
        data.close()


TARGETS.update(DOCUMENTS)

if __name__ == "__main__":
    sys.exit(TARGETS.main(str(__doc__)))
