"""An offline bundle: uv, a Python build, wheels and models in one folder, used where there is no network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path

from MemSeg3DLib.base.background import TaskControl
from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.home import Home
from MemSeg3DLib.worker.installation.models import SUFFIXES, ModelFolder, is_folder_model
from MemSeg3DLib.worker.installation.packaged import Packaged
from MemSeg3DLib.worker.installation.recipe import Machine, Recipe, lock_hash
from MemSeg3DLib.worker.installation.stored_data import remove_all

LIST = "bundle.json"
PYTHON, WHEELS, MODELS = "python.tar.gz", "wheels", "models"
_FORMAT = 1


def is_bundle(folder: Path) -> bool:
    """True where the folder says that it is a bundle; `OfflineBundle.read` tells whether it is a good one."""
    return (folder / LIST).is_file()


def uv_name() -> str:
    """The file name of uv on this system."""
    return "uv.exe" if os.name == "nt" else "uv"


@dataclass(frozen=True)
class OfflineBundle:
    """What `bundle.json` tells. python: the interpreter inside of the archive; torch: a build of `BACKENDS`."""

    system: str
    processor: str
    lock: str
    torch: str
    python: str
    python_sha256: str
    uv_sha256: str

    @classmethod
    def read(cls, folder: Path) -> OfflineBundle:
        """Raises SetupError where the folder holds none."""
        try:
            words = json.loads((folder / LIST).read_text("utf-8"))
            if words.pop("format") != _FORMAT:
                raise SetupError(f"{folder} was made by another version of MemSeg3D: make it anew.")
            return cls(**words)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SetupError(f"{folder} is no offline bundle: choose the folder that holds {LIST}.") from error

    def write(self, folder: Path) -> None:
        """Written last: a bundle without its list is none."""
        (folder / LIST).write_text(json.dumps({"format": _FORMAT, **asdict(self)}, indent=1), encoding="utf-8")

    def check(self, packaged: Packaged, machine: Machine) -> None:
        """Raise SetupError where it was made for another computer or another version of the extension."""
        if (self.system, self.processor) != (machine.system, machine.processor):
            raise SetupError(
                f"The bundle is for {self.system} on {self.processor}, this computer is {machine.system} on "
                f"{machine.processor}: make one on a computer of this kind."
            )
        if self.lock != lock_hash(packaged):
            raise SetupError("The bundle is for another version of MemSeg3D: make it with the version installed here.")


def unpack(folder: Path, home: Home, packaged: Packaged, control: TaskControl) -> tuple[Path, Recipe]:
    """Put a bundle's uv, Python and models in their places; returns uv and the recipe for `EnvironmentMaker.make`.

    The wheels are taken from the bundle itself. Raises SetupError where it does not fit or is damaged, TaskCancelled.
    """
    bundle = OfflineBundle.read(folder)
    bundle.check(packaged, Machine.this())
    try:
        uv = home.root / "tools" / uv_name()
        _checked(folder / uv_name(), bundle.uv_sha256, control)
        uv.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / uv_name(), uv)
        uv.chmod(0o700)
        python = home.python / f"bundle-{bundle.python_sha256[:8]}"
        if not (python / bundle.python).is_file():
            _checked(folder / PYTHON, bundle.python_sha256, control)
            _extract(folder / PYTHON, python, control)
        _add_models(folder / MODELS, ModelFolder(home, packaged), control)
    except OSError as error:
        raise SetupError(
            f"{error.filename or folder} cannot be used ({error.strerror}): copy the bundle anew, and check the space."
        ) from error
    recipe = Recipe(torch=bundle.torch, wheelhouse=folder / WHEELS, offline=True, python=python / bundle.python)
    return uv, recipe


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(path: Path, expected: str, control: TaskControl) -> None:
    control.tell(f"Checking {path.name}")
    if not path.is_file() or file_hash(path) != expected:
        raise SetupError(f"{path.name} of the bundle is missing or damaged: copy the whole bundle anew.")


def _extract(archive: Path, target: Path, control: TaskControl) -> None:
    """Whole or not at all. The filter keeps every file inside of the target."""
    control.tell("Unpacking Python")
    part = target.with_name(f"{target.name}.part")
    remove_all([part] if part.exists() else [])
    part.mkdir(parents=True)
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                control.check()
                opened.extract(member, part, filter="data")
    except tarfile.TarError as error:
        raise SetupError(f"{archive.name} of the bundle cannot be unpacked ({error}): copy the bundle anew.") from error
    remove_all([target] if target.exists() else [])
    os.replace(part, target)


def _add_models(folder: Path, models: ModelFolder, control: TaskControl) -> None:
    known = {one.name.lower() for one in models.models()}
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        is_folder = is_folder_model(file)
        name = file.name if is_folder else file.stem
        if (file.suffix in SUFFIXES or is_folder) and name.lower() not in known:
            models.add(file, control)
