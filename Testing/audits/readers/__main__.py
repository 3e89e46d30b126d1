"""`python -m Testing.audits.readers`: six geometries through everybody's readers, as a table of voxels in place.

--programs: bin folder of an environment with requirements.txt in it (its python, segimage2itkimage). --node: a folder
in which `npm install` has run on package.json. What is missing is left out, with the reason, and so is what a reader is
known to misread by its own fault: such a file is not given to it. Ends with 1 where a voxel is found elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import SimpleITK as sitk

from MemSeg3DLib.scene.nodes import open_scene
from Testing.audits.readers.files import CASES, Made, make

HERE = Path(__file__).parent
SUFFIX = ".exe" if os.name == "nt" else ""
NEAR = 0.02
"""In mm."""
KNOWN = {
    (
        "@itk-wasm/dicom 7.6.4",
        "odd matrix",
    ): "cannot read frames that end within a byte",
    ("@cornerstonejs/adapters 5.14.0", "odd matrix"): "guesses the packing of frames by the length of all",
}
"""The readers' own faults."""
Points = dict[int, np.ndarray]


def of_image(image: sitk.Image) -> Points:
    """LPS mm of the voxels of values 1 and 2."""
    voxels = sitk.GetArrayFromImage(image)
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return {value: np.argwhere(voxels == value)[:, ::-1] @ axes.T + np.array(image.GetOrigin()) for value in (1, 2)}


def by_highdicom(folder: Path) -> Points:
    """The DICOM-SEG by highdicom's own geometry."""
    volume = highdicom.seg.segread(folder / "seg.dcm").get_volume(combine_segments=False)
    return {n + 1: np.argwhere(volume.array[..., n]) @ volume.affine[:3, :3].T + volume.affine[:3, 3] for n in range(2)}


def by_sitk(name: str) -> Callable[[Path], Points]:
    """A labelmap by SimpleITK; segments of a .seg.nrrd are its values in their order."""
    return lambda folder: of_image(sitk.ReadImage(str(folder / name)))


class Programs:
    """Readers in other environments."""

    def __init__(self, programs: Path | None, node: Path | None) -> None:
        self.programs, self.node = programs, node

    def dcmqi(self, folder: Path) -> Points:
        """dcmqi 1.5.7."""
        with tempfile.TemporaryDirectory() as out:
            command = [self._program("segimage2itkimage"), "--inputDICOM", folder / "seg.dcm", "--outputDirectory", out]
            _run([*command, "-p", "p"])
            files = sorted(Path(out).glob("p-*.nrrd"))
            found = [of_image(sitk.ReadImage(str(path)) > 0)[1] for path in files]
        return dict(enumerate(found, 1))

    def foreign(self, reader: str, name: str) -> Callable[[Path], Points]:
        """nibabel or pynrrd."""

        def read(folder: Path) -> Points:
            return _parsed(_run([self._program("python"), HERE / "foreign.py", reader, folder / name]))

        return read

    def in_node(self, reader: str, name: str) -> Callable[[Path], Points]:
        """A reader in node; `cornerstone` gives counts alone."""

        def read(folder: Path) -> Points:
            if self.node is None or not (self.node / "node_modules").is_dir():
                raise Absent("skipped, its packages are missing (npm install in Testing/audits/readers, or --node)")
            script = self.node / "read_seg.mjs"
            if script.resolve() != (HERE / "read_seg.mjs").resolve():
                script.write_bytes((HERE / "read_seg.mjs").read_bytes())
            return _parsed(_run(["node", script, reader, folder / name]))

        return read

    def _program(self, name: str) -> Path:
        path = None if self.programs is None else self.programs / f"{name}{SUFFIX}"
        if path is None or not path.is_file():
            raise Absent(f"skipped, {name} is missing (an environment with requirements.txt, --programs)")
        return path


class Absent(Exception):
    """A reader that is not on this computer, or not asked."""


def _run(command: list[Any]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1][:160])
    return done.stdout


def _parsed(text: str) -> Points:
    found = json.loads(text)
    if "counts" in found:
        # Without places: as many points as voxels were counted.
        return {int(key): np.full((count, 3), np.nan) for key, count in found["counts"].items()}
    return {int(key): np.array(places).reshape(-1, 3) for key, places in found.items()}


def in_place(found: Points, made: Made) -> str:
    """ "all", or how many of the voxels of both segments a reader has where they are."""
    right = wrong = 0
    for number, expected in made.points.items():
        here = found.get(number, np.zeros((0, 3)))
        if len(here) and np.isnan(here).any():
            right, wrong = right + min(len(here), len(expected)), wrong + max(0, len(here) - len(expected))
            continue
        places = {tuple(one) for one in np.rint(expected / NEAR / 2).astype(int).tolist()}
        nearest = [float(np.linalg.norm(expected - one, axis=1).min()) for one in here]
        right += sum(distance < NEAR for distance in nearest)
        wrong += sum(distance >= NEAR for distance in nearest)
        assert len(places) == len(expected)
    total = sum(len(one) for one in made.points.values())
    return "all" if (right, wrong) == (total, 0) else f"{right} of {total}, {wrong} elsewhere"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m Testing.audits.readers", description=__doc__)
    parser.add_argument("--programs", type=Path, help="bin folder of the readers' environment")
    parser.add_argument("--node", type=Path, default=HERE, help="folder with node_modules")
    options = parser.parse_args()
    programs = Programs(options.programs, options.node)
    readers: dict[tuple[str, str], Callable[[Path], Points]] = {
        ("DICOM-SEG", "highdicom"): by_highdicom,
        ("DICOM-SEG", "dcmqi 1.5.7"): programs.dcmqi,
        ("DICOM-SEG", "@itk-wasm/dicom 7.6.4"): programs.in_node("itk-dicom", "seg.dcm"),
        ("DICOM-SEG", "@cornerstonejs/adapters 5.14.0"): programs.in_node("cornerstone", "seg.dcm"),
        ("NIfTI", "SimpleITK"): by_sitk("labels.nii.gz"),
        ("NIfTI", "nibabel 5.4.2"): programs.foreign("nibabel", "labels.nii.gz"),
        ("NIfTI", "@itk-wasm/image-io 1.6.1"): programs.in_node("itk-image", "labels.nii.gz"),
        ("NRRD", "SimpleITK"): by_sitk("labels.nrrd"),
        ("NRRD", "pynrrd 1.1.3"): programs.foreign("pynrrd", "labels.nrrd"),
        (".seg.nrrd", "SimpleITK"): by_sitk("labels.seg.nrrd"),
        (".seg.nrrd", "pynrrd 1.1.3"): programs.foreign("pynrrd", "labels.seg.nrrd"),
        (".seg.nrrd", "@itk-wasm/image-io 1.6.1"): programs.in_node("itk-image", "labels.seg.nrrd"),
    }
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        scene = open_scene()
        made = {name: make(case, Path(folder) / name.replace(" ", "-"), scene) for name, case in CASES.items()}
        print(f"| file | reader | {' | '.join(CASES)} |\n|---|---|{'---|' * len(CASES)}")
        notes: list[str] = []
        for (kind, reader), read in readers.items():
            cells = []
            for name, one in made.items():
                try:
                    if (reader, name) in KNOWN:
                        raise Absent(f"{name} is left out, it {KNOWN[reader, name]}")
                    cell = in_place(read(one.folder), one)
                except Absent as error:
                    cell = "skipped"
                    notes.append(f"{reader}: {error}.")
                except Exception as error:  # whatever a foreign reader raises is its verdict
                    cell = f"refused: {error}"
                failed = failed or cell not in ("all", "skipped")
                cells.append(cell)
            print(f"| {kind} | {reader} | {' | '.join(cells)} |", flush=True)
        notes.append("@cornerstonejs/adapters: voxels are counted, their places are the viewer's.")
        print("\n" + "\n".join(dict.fromkeys(notes)))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
