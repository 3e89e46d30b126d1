"""Targets of `fuzz_files`: what the command line and the API read that people and programs have written."""

from __future__ import annotations

import functools
import io
import json
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
import torch
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_model import write_tiny_model

import memseg3d
from memseg3d.cases.batch_list import cases_of
from memseg3d.cases.documents import read_document
from memseg3d.cases.drafts import SegmentNames, prompts_of
from memseg3d.cases.errors import CaseError
from memseg3d.cases.prompt_files import read_prompt_file
from memseg3d.catalogue.entries import FILE, CatalogueError, read_catalogue
from memseg3d.cli.serve_options import gathered
from memseg3d.datasets.door import open_data
from memseg3d.datasets.errors import DataSetError
from memseg3d.datasets.splits import read_splits
from memseg3d.files import Geometry, UnreadableFile, read_volume
from memseg3d.files.labels import read_labels
from memseg3d.network.checkpoint_files import UnknownCheckpoint, read_checkpoint
from memseg3d.network.models import ModelDamaged, describe_model, model_folders
from memseg3d.network.signs import signs_of
from memseg3d.service.users.token_file import TokenFile, TokenFileError

from .mutations import bytes_of, words_of
from .samples import SHAPE, Words
from .targets import Targets

DOCUMENTS = Targets()
target = DOCUMENTS.target
VOXELS = np.random.default_rng(0).integers(0, 99, (4, 7, 8)).astype(np.int16)
GRID = Geometry.regular(SHAPE, (2.0, 1.0, 1.0))
LINE = [[10, 6, 6], [10, 18, 6], [10, 12, 18]]
PROMPTS: Words = {
    "coordinates": "kji",
    "prompts": [
        {"name": "a", "type": "box", "lower": [10, 6, 6], "upper": [10, 18, 18]},
        {"name": "a", "type": "point", "position": [10, 12, 12], "positive": False},
        {"name": "b", "type": "scribble", "points": LINE, "width": 3, "axis": 0},
        {"name": "b", "type": "extreme_points", "points": [[10, 6, 12], [10, 18, 12], [10, 12, 6], [10, 12, 18]]},
    ],
}
CORNERS = ([6.0, 6.0, 20.0], [18.0, 6.0, 20.0], [12.0, 18.0, 20.0])
PLACED: list[Words] = [{"position": place, "positionStatus": "defined"} for place in CORNERS]
MARKUPS: Words = {
    "markups": [
        {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": PLACED},
        {"type": "ClosedCurve", "coordinateSystem": "LPS", "controlPoints": PLACED},
        {"type": "ROI", "roiType": "Box", "coordinateSystem": "LPS", "center": [9, 12, 20], "size": [6, 6, 8],
         "orientation": [1, 0, 0, 0, 1, 0, 0, 0, 1], "controlPoints": PLACED[:1]},
    ]
}  # fmt: skip
TABLE = 'image,name,box,point\na.nii.gz,"one ""A""","x:1,2,3,1,8,9|y:2,2,3,2,8,9",x:+1;2;3\nb/c.nrrd,two,,"x+:1,2,3"\n'
SETTINGS = 'host = "127.0.0.1"\nport = 8123\nthreads = 2\ndisk_gib = 6.5\nlog_format = "json"\nno_token = true\n'


PAIRS = [{"image": f"./imagesTr/a_{n}.nii.gz", "label": f"./labelsTr/a_{n}.nii.gz"} for n in (1, 2)]
SETS: list[tuple[str, Words, list[str]]] = [
    (
        "MANIFEST.json",
        {"one": {"modality": "CT", "licence": "MIT"}, "two": {"modality": "MR"}},
        [f"{case}/{part}.nii.gz" for case in ("one", "two") for part in ("image", "label")],
    ),
    (
        "dataset.json",
        {"name": "a", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}, "numTraining": 2,
         "training": PAIRS, "test": ["./imagesTs/a_3.nii.gz"]},
        [*(path.removeprefix("./") for pair in PAIRS for path in pair.values()), "imagesTs/a_3.nii.gz"],
    ),
]  # fmt: skip
SPLITS: Words = {"train": ["one"], "validation": ["two"], "test": ["a_1"], "patients": {"one": "p"}, "seed": 3}


def _outcome(read: Callable[[], object], *errors: type[Exception]) -> str:
    try:
        read()
    except errors as error:
        if not str(error).strip():
            raise AssertionError("a refusal without a sentence") from error
        return "refused"
    return "taken"


@functools.cache
def _session() -> str:
    """The document of a session of two rounds."""
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_model(Path(folder) / "random.safetensors")
        voxels = np.zeros((6, 24, 24), np.int16)
        voxels[1:5, 8:16, 8:16] = 99
        with memseg3d.open(voxels, (2.0, 1.0, 1.0), model=str(model), device="cpu", progress=False) as case:
            case.box("a", (3, 6, 6), (3, 17, 17))
            case.click("a", (4, 9, 9))
            case.save(Path(folder) / "out")
        return (Path(folder) / "out" / "session.json").read_text(encoding="utf-8")


@functools.cache
def _catalogue() -> Words:
    """The first two models of the one that comes with MemSeg3D."""
    path = next(place / FILE for place in model_folders() if (place / FILE).is_file())
    words: Words = json.loads(path.read_text(encoding="utf-8"))
    return {**words, "models": words["models"][:2]}


@functools.cache
def _series() -> tuple[bytes, ...]:
    """Four slices of a CT."""
    found = []
    for number, plane in enumerate(VOXELS):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.CTImageStorage, f"1.2.3.{number + 1}"
        dataset.Modality, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "CT", "1.2.4", "1.2.5"
        dataset.FrameOfReferenceUID, dataset.InstanceNumber, dataset.PatientID = "1.2.6", number + 1, "p"
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 2 * number], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.Rows, dataset.Columns = [1, 1], *plane.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.PixelData = plane.tobytes()
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        found.append(stream.getvalue())
    return tuple(found)


@functools.cache
def _volumes() -> dict[str, bytes]:
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, packed in (("a.nii", False), ("b.nii.gz", True), ("c.nrrd", True), ("d.mha", False), ("e.mha", True)):
            sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(folder / file), useCompression=packed)
        np.savez(folder / "f.npz", imgs=VOXELS, spacing=np.ones(3))
        np.savez_compressed(folder / "g.npz", imgs=VOXELS, spacing=np.ones(3))
        for path in folder.iterdir():
            found[path.name] = path.read_bytes()
    return found


@functools.cache
def _checkpoints() -> dict[str, bytes]:
    found = {}
    with tempfile.TemporaryDirectory() as name:
        weights = {"image_encoder.weight": np.ones((2, 3), np.float32), "bias": np.ones(3, np.float16)}
        save_file(weights, Path(name) / "a.safetensors", {"memseg3d.config": "{}"})
        torch.save({"model": {key: torch.from_numpy(each) for key, each in weights.items()}}, Path(name) / "b.pt")
        for path in Path(name).iterdir():
            found[path.name] = path.read_bytes()
    return found


@target(2000)
def prompt_files(seed: int, folder: Path) -> str:
    """Prompts in JSON and Slicer's markups, onto a grid."""
    rng = random.Random(seed)
    path = folder / rng.choice(["a.json", "b.mrk.json"])
    content = json.dumps(words_of(rng.choice([PROMPTS, MARKUPS]), rng, most=2)).encode()
    path.write_bytes(bytes_of(content, rng) if rng.random() < 0.2 else content)
    return _outcome(lambda: prompts_of(read_prompt_file(str(path)), SegmentNames(), GRID, None, {}), CaseError)


@target(2000)
def session_documents(seed: int, folder: Path) -> str:
    """session.json, edited."""
    rng, path = random.Random(seed), folder / "session.json"
    content = json.dumps(words_of(json.loads(_session()), rng, most=2)).encode()
    path.write_bytes(bytes_of(content, rng) if rng.random() < 0.2 else content)
    return _outcome(lambda: read_document(path), CaseError)


@target(2000)
def batch_tables(seed: int, folder: Path) -> str:
    """Lists of cases."""
    path = folder / "cases.csv"
    path.write_bytes(bytes_of(TABLE.encode(), random.Random(seed)))
    return _outcome(lambda: cases_of(path, {}), CaseError)


@target(2000)
def settings_files(seed: int, folder: Path) -> str:
    """Settings of a worker in TOML: each fault is a sentence."""
    path = folder / "worker.toml"
    path.write_bytes(bytes_of(SETTINGS.encode(), random.Random(seed)))
    _, faults = gathered(path, {}, {})
    if not all(faults):
        raise AssertionError("a fault without a sentence")
    return "refused" if faults else "taken"


@target(2000)
def token_files(seed: int, folder: Path) -> str:
    """Files of users' tokens."""
    rng, path = random.Random(seed), folder / "tokens.json"
    TokenFile(path).add("anna", "user")
    content = json.dumps(words_of(json.loads(path.read_text(encoding="utf-8")), rng)).encode()
    path.write_bytes(bytes_of(content, rng) if rng.random() < 0.3 else content)
    return _outcome(lambda: TokenFile(path).entries(), TokenFileError)


@target(2000)
def catalogues(seed: int, folder: Path) -> str:
    """Catalogues of models, and a model's card."""
    rng, path = random.Random(seed), folder / "catalogue.json"
    path.write_text(json.dumps(words_of(_catalogue(), rng)), encoding="utf-8")
    (folder / "a.pt").write_bytes(b"weights")
    (folder / "a.json").write_bytes(bytes_of(b'{"name": "a", "sha256": "00", "licence": "MIT"}', rng))
    read = _outcome(lambda: [(each.bytes, each.is_installed(folder)) for each in read_catalogue(path)], CatalogueError)
    return f"{read}, card {_outcome(lambda: describe_model(folder / 'a.pt'), ModelDamaged)}"


@target(4000)
def volume_files(seed: int, folder: Path) -> str:
    """Images and label files of every format, as the command line reads them."""
    rng = random.Random(seed)
    name, content = rng.choice(sorted(_volumes().items()))
    path = folder / name
    path.write_bytes(bytes_of(content, rng))
    return _outcome(lambda: rng.choice([read_volume, read_labels])(path), UnreadableFile)


@target(2000)
def data_sets(seed: int, folder: Path) -> str:
    """Lists of cases of a training set, with files beside them that nobody opens yet, and a file of splits."""
    rng = random.Random(seed)
    name, words, files = rng.choice(SETS)
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(b"voxels")
    for path, told in ((folder / name, words), (folder / "splits.json", SPLITS)):
        content = json.dumps(words_of(told, rng)).encode()
        path.write_bytes(bytes_of(content, rng) if rng.random() < 0.2 else content)
    read = _outcome(lambda: open_data(folder), DataSetError, UnreadableFile)
    return f"{read}, splits {_outcome(lambda: read_splits(folder / 'splits.json'), DataSetError)}"


@target(3000)
def dicom_folders(seed: int, folder: Path) -> str:
    """A series of four slices, one or two of them damaged."""
    rng = random.Random(seed)
    spoilt = rng.sample(range(4), rng.randint(1, 2))
    for number, content in enumerate(_series()):
        (folder / f"{number}.dcm").write_bytes(bytes_of(content, rng) if number in spoilt else content)
    return _outcome(lambda: read_volume(folder), UnreadableFile)


@target(3000)
def checkpoints(seed: int, folder: Path) -> str:
    """Files of weights, and their signs without torch."""
    rng = random.Random(seed)
    name, content = rng.choice(sorted(_checkpoints().items()))
    path: Any = folder / name
    path.write_bytes(bytes_of(content, rng))
    signs_of(path)
    return _outcome(lambda: read_checkpoint(path), UnknownCheckpoint)
