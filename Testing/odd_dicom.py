"""Odd DICOM folders, each with its one right verdict, for every door by which DICOM comes in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

COUNT, ROWS, COLUMNS = 6, 10, 12
STEP, ROW_SPACING, COLUMN_SPACING = 2.5, 1.2, 0.8
ORIGIN = (-20.0, -30.0, -25.0)
Changes = dict[str, Any]


def voxels(k: int, part: int = 0) -> np.ndarray:
    """The stored values of one slice; every slice and part has its own, and every voxel differs from its neighbours."""
    return (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) + 200 * k + 2000 * part).astype(np.uint16)


class Study:
    """Writes single slices of one made-up study into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study, self.series, self.frame = generate_uid(), generate_uid(), generate_uid()

    def header(self, k: int, part: int = 0, **changed: Any) -> FileDataset:
        """One slice; a change to None takes an attribute away."""
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = changed.get("SOPClassUID", CTImageStorage)
        meta.MediaStorageSOPInstanceUID = generate_uid()
        one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.Modality, one.PatientName, one.PatientID, one.PatientBirthDate = "CT", "Phantom^A", "P1", "19700101"
        one.PatientSex, one.StudyDate, one.StudyTime = "O", "20260101", "120000"
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = self.study, self.series, self.frame
        one.SeriesNumber, one.InstanceNumber, one.SeriesDescription = 3, k + 1, "phantom"
        one.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + STEP * k]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.SliceThickness = [ROW_SPACING, COLUMN_SPACING], STEP
        one.Rows, one.Columns = ROWS, COLUMNS
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
        one.RescaleSlope, one.RescaleIntercept = 1, -1024
        one.PixelData = voxels(k, part).tobytes()
        for keyword, value in changed.items():
            if value is None:
                delattr(one, keyword)
            else:
                setattr(one, keyword, value)
        return one

    def save(self, name: str, k: int, part: int = 0, **changed: Any) -> Path:
        """Write one slice."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.header(k, part, **changed).save_as(path, enforce_file_format=True)
        return path

    def slices(self, change: Callable[[int], Changes] = lambda k: {}, count: int = COUNT, name: str = "") -> list[Path]:
        """Write a whole series."""
        return [self.save(f"{name}{k:02d}.dcm", k, **change(k)) for k in range(count)]


@dataclass(frozen=True)
class Odd:
    """A folder and its verdict: `refused` says why (a regular expression), or it is read.

    wanted: what `--series` names. step: mm between slices. count: slices. part: whose voxels. note: what is said.
    spacing: (j, i) mm.
    """

    make: Callable[[Study], object]
    refused: str = ""
    wanted: str | None = None
    step: float = STEP
    count: int = COUNT
    part: int = 0
    note: str = ""
    spacing: tuple[float, float] = (ROW_SPACING, COLUMN_SPACING)


def _noise(amount: float) -> Callable[[int], Changes]:
    a, b = float(np.cos(0.0125)), 0.0125
    return lambda k: {"ImageOrientationPatient": [a, round(b + amount * (-1) ** k, 10), 0, -b, a, 0]}


def _position(height: Callable[[int], float], x: Callable[[int], float] = lambda k: 0.0) -> Callable[[int], Changes]:
    return lambda k: {"ImagePositionPatient": [ORIGIN[0] + x(k), ORIGIN[1], height(k)]}


def _parts(**by_part: list[Any]) -> Callable[[Study], object]:
    """Several images a position, told apart by attributes; interleaved as scanners number them."""

    def make(study: Study) -> None:
        count = len(next(iter(by_part.values())))
        for part in range(count):
            for k in range(COUNT):
                marks = {keyword: values[part] for keyword, values in by_part.items()}
                study.save(f"{k:02d}-{part}.dcm", k, part, InstanceNumber=count * k + part + 1, **marks)

    return make


def _screenshots(study: Study, count: int = 9) -> None:
    gone = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"))
    series = generate_uid()
    for k in range(count):
        study.save(
            f"sc{k:02d}.dcm",
            k,
            **gone,
            SOPClassUID=SecondaryCaptureImageStorage,
            SeriesInstanceUID=series,
            SeriesNumber=99,
            Modality="OT",
            SamplesPerPixel=3,
            PhotometricInterpretation="RGB",
            PlanarConfiguration=0,
            BitsAllocated=8,
            BitsStored=8,
            HighBit=7,
            PixelData=bytes(ROWS * COLUMNS * 3),
        )


def _with_screenshots(study: Study) -> None:
    study.slices()
    _screenshots(study)


def _localizer(study: Study) -> None:
    study.slices()
    study.save("scout.dcm", 2, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])


def _two_orientations(study: Study) -> None:
    study.slices()
    for k in range(COUNT - 2):
        here = [ORIGIN[0] - STEP * k, ORIGIN[1], ORIGIN[2]]
        study.save(f"s{k}.dcm", k, 1, ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=here)


def _mac(study: Study) -> None:
    study.slices()
    (study.folder / "__MACOSX").mkdir()
    apple = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(96)
    (study.folder / "__MACOSX" / "._00.dcm").write_bytes(apple)
    (study.folder / "._01.dcm").write_bytes(apple)


def _dangling(study: Study) -> None:
    study.slices()
    (study.folder / "99.dcm").symlink_to("not-fetched-yet.dcm")


def _copied(study: Study) -> None:
    files = study.slices()
    shutil.copy(files[3], study.folder / "03 (1).dcm")


def _exported_twice(study: Study) -> None:
    for path in study.slices(name="first/"):
        target = study.folder / "second" / path.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)


def _two_patients(study: Study) -> None:
    other = {"PatientID": "P2", "PatientName": "Phantom^B", "StudyInstanceUID": generate_uid()}
    for k in range(2 * COUNT - 2):
        study.save(f"{k:02d}.dcm", k, **(other if k >= COUNT else {}))


def _other_series_broken(study: Study) -> None:
    study.slices()
    other = generate_uid()
    for k in range(3):
        path = study.save(f"z{k}.dcm", k, SeriesInstanceUID=other, SeriesNumber=4)
        if k == 1:
            path.write_bytes(path.read_bytes()[:-60])
    (study.folder / "empty.dcm").write_bytes(b"")


def _cut(study: Study) -> None:
    victim = study.slices()[COUNT - 1]
    victim.write_bytes(victim.read_bytes()[:-2])


def _empty_file(study: Study) -> None:
    study.slices()[COUNT - 1].write_bytes(b"")


def _stripped(count: int) -> Callable[[Study], object]:
    def make(study: Study) -> None:
        for path in study.slices():
            path.write_bytes(path.read_bytes()[count:])

    return make


def _without_meta_header(study: Study) -> None:
    for path in study.slices():
        content = path.read_bytes()
        length = int.from_bytes(content[140:144], "little")
        path.write_bytes(content[144 + length :])


def _no_dicom(study: Study) -> None:
    study.folder.mkdir(parents=True, exist_ok=True)
    (study.folder / "notes.txt").write_text("nothing here", encoding="utf-8")


def _same_uid(study: Study) -> None:
    uid = generate_uid()
    study.slices(lambda k: {"SOPInstanceUID": uid})


def _enhanced(
    study: Study, phases: int = 1, stacks: int = 1, kind: str = "MR", slopes: bool = False, shuffled: bool = False
) -> Path:
    """One Enhanced multi-frame object: frames of stacks and phases, each with its place in the functional groups."""
    one = study.header(0)
    sop_class = EnhancedMRImageStorage if kind == "MR" else EnhancedCTImageStorage
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = sop_class
    one.Modality = kind
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(one, keyword)
    del one.RescaleSlope, one.RescaleIntercept
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [ROW_SPACING, COLUMN_SPACING], 3.0
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([measures])
    one.SharedFunctionalGroupsSequence = Sequence([shared])
    frames, pixels = [], []
    order = [(stack, phase, k) for stack in range(stacks) for phase in range(phases) for k in range(COUNT - stack)]
    if shuffled:
        order = [order[n] for n in np.random.default_rng(3).permutation(len(order))]
    for stack, phase, k in order:
        frame, place, direction, content, values = (Dataset() for _ in range(5))
        along = [0.0, 0.0, STEP * k] if stack == 0 else [-STEP * k, 0.0, 0.0]
        place.ImagePositionPatient = [a + b for a, b in zip(ORIGIN, along, strict=True)]
        direction.ImageOrientationPatient = [1, 0, 0, 0, 1, 0] if stack == 0 else [0, 1, 0, 0, 0, -1]
        content.StackID, content.InStackPositionNumber = str(stack + 1), k + 1
        content.TemporalPositionIndex = phase + 1
        content.DimensionIndexValues = [stack + 1, phase + 1, k + 1]
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = (k + 1 if slopes else 1), -1024, "US"
        frame.PlanePositionSequence, frame.PlaneOrientationSequence = Sequence([place]), Sequence([direction])
        frame.FrameContentSequence = Sequence([content])
        frame.PixelValueTransformationSequence = Sequence([values])
        frames.append(frame)
        pixels.append(voxels(k, phase + 3 * stack))
    one.PerFrameFunctionalGroupsSequence = Sequence(frames)
    one.NumberOfFrames = len(frames)
    one.PixelData = np.stack(pixels).tobytes()
    path = study.folder / "enhanced.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save_as(path, enforce_file_format=True)
    return path


def _unplaced_frames(study: Study) -> None:
    gone = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient"))
    study.save("cine.dcm", 0, NumberOfFrames=4, PixelData=voxels(0).tobytes() * 4, **gone)


def _phases_in_files(study: Study) -> None:
    """Two Enhanced objects of one series, a phase each."""
    for phase in range(2):
        path = _enhanced(study)
        path.rename(path.with_name(f"{phase}.dcm"))


ODD: dict[str, Odd] = {
    "an ordinary series": Odd(lambda study: study.slices()),
    "cosines with noise of 1e-9": Odd(lambda study: study.slices(_noise(1e-9))),
    "cosines with noise across a rounding boundary": Odd(lambda study: study.slices(_noise(2e-7))),
    "cosines with noise of 1e-4": Odd(lambda study: study.slices(_noise(1e-4))),
    "positions rounded to a tenth of a millimetre": Odd(
        lambda study: study.slices(_position(lambda k: round(0.625 * k, 1))), step=0.62
    ),
    "voxels of a micrometre": Odd(
        lambda study: study.slices(
            lambda k: {
                "PixelSpacing": [0.001, 0.001],
                "SliceThickness": 0.001,
                "ImagePositionPatient": [0, 0, round(0.001 * k, 6)],
            }
        ),
        step=0.001,
        spacing=(0.001, 0.001),
    ),
    "water and fat": Odd(
        _parts(ImageType=[["DERIVED", "PRIMARY", "DIXON", "FAT"], ["DERIVED", "PRIMARY", "DIXON", "WATER"]]),
        note="image type WATER",
    ),
    "water and fat, water chosen": Odd(
        _parts(ImageType=[["DERIVED", "PRIMARY", "DIXON", "FAT"], ["DERIVED", "PRIMARY", "DIXON", "WATER"]]),
        wanted="WATER",
        part=1,
    ),
    "echoes, chosen by the words printed": Odd(_parts(EchoNumbers=[1, 2]), wanted="echo 2", part=1),
    "echo times alone": Odd(_parts(EchoTime=[4.92, 7.38]), wanted="echo time 7.38 ms", part=1),
    "trigger times alone": Odd(_parts(TriggerTime=[0, 45.5, 91]), wanted="trigger time 45.5 ms", part=1),
    "b-values": Odd(_parts(DiffusionBValue=[0.0, 1000.0]), wanted="b-value 1000.0", part=1),
    "echoes in magnitude and phase": Odd(
        _parts(EchoNumbers=[1, 1, 2, 2], ImageType=[["ORIGINAL", "PRIMARY", one] for one in ("M", "P", "M", "P")]),
        wanted="echo 2, image type P",
        part=3,
    ),
    "acquisition times alone": Odd(
        _parts(AcquisitionTime=["120000", "120030"], ContentTime=["120001", "120031"]), wanted="phase 2", part=1
    ),
    "a localizer in the series": Odd(_localizer, note="1 image"),
    "two orientations": Odd(_two_orientations, wanted="sagittal", part=1, count=COUNT - 2),
    "more screenshots than slices": Odd(_with_screenshots, note="OT series 99"),
    "screenshots alone": Odd(_screenshots, refused="in colour"),
    "what a Mac leaves": Odd(_mac),
    "a link that leads nowhere": Odd(_dangling, note="leads nowhere"),
    "one file twice": Odd(_copied, note="1 file is a copy"),
    "the whole export twice": Odd(_exported_twice, note="6 files are copies"),
    "two patients under one series": Odd(_two_patients, note="patient 2"),
    "another series cut off": Odd(_other_series_broken, note="series 4"),
    "a slice cut off": Odd(_cut, refused="05.dcm .*is cut off"),
    "an empty slice": Odd(_empty_file, refused="05.dcm .*is cut off"),
    "no pixel spacing": Odd(lambda study: study.slices(lambda k: {"PixelSpacing": None}), refused="Pixel Spacing"),
    "no series UID": Odd(
        lambda study: study.slices(lambda k: {"SeriesInstanceUID": None}), refused="Series Instance UID"
    ),
    "one SOP instance UID for all": Odd(_same_uid, refused="one SOP Instance UID"),
    "no preamble": Odd(_stripped(132)),
    "no meta header": Odd(_without_meta_header),
    "no position": Odd(
        lambda study: study.slices(lambda k: {"ImagePositionPatient": None}), refused="without a position"
    ),
    "a single slice": Odd(lambda study: study.slices(count=1), refused="single slice"),
    "a missing slice": Odd(
        lambda study: study.slices()[2].unlink(), refused=r"slices 2 and 3 are 5\.00 mm apart, others 2\.50 mm"
    ),
    "a tilted gantry": Odd(
        lambda study: study.slices(_position(lambda k: STEP * k, lambda k: 0.9 * k)), refused="tilted gantry"
    ),
    "two images at one position": Odd(
        lambda study: (study.slices(), study.save("more.dcm", 2, 1)), refused="several images at one position"
    ),
    "no DICOM at all": Odd(_no_dicom, refused="no DICOM images"),
    "enhanced MR": Odd(_enhanced),
    "enhanced CT in any order": Odd(lambda study: _enhanced(study, kind="CT", shuffled=True)),
    "enhanced PET with a slope a frame": Odd(lambda study: _enhanced(study, kind="PT", slopes=True)),
    "enhanced with three phases": Odd(lambda study: _enhanced(study, phases=3), wanted="time point 2", part=1),
    "enhanced with two stacks": Odd(
        lambda study: _enhanced(study, stacks=2), wanted="sagittal", part=3, count=COUNT - 1
    ),
    "frames without places": Odd(_unplaced_frames, refused="multi-frame file that does not say where"),
}


def make_odd(name: str, folder: Path) -> Path:
    """Write one of the folders."""
    ODD[name].make(Study(folder))
    return folder


def expected_voxels(odd: Odd, name: str) -> np.ndarray:
    """The rescaled values (k, j, i) of the volume that a folder holds."""
    slopes = [k + 1 if "slope" in name else 1 for k in range(odd.count)]
    return np.stack([voxels(k, odd.part).astype(np.float64) * slopes[k] - 1024 for k in range(odd.count)])
