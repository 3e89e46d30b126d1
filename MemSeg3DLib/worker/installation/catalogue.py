"""Public models that can be fetched: the catalogue as a list, and a fetch by the worker's own command, on request."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.background import Task, TaskControl
from MemSeg3DLib.base.child_environment import worker_environment
from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.processes import run_command
from MemSeg3DLib.worker.installation.packaged import Packaged

CONSENTS = "accepted-licences.json"


@dataclass(frozen=True)
class PublicModel:
    """One model of the catalogue. bytes: 0 where not known; host: where it would come from; place: its file or folder.

    licence, terms, address: its id, what it says in plain words, where the whole text is.
    """

    name: str
    use: str
    bytes: int
    host: str
    place: str
    licence: str
    terms: str
    address: str
    needs_consent: bool


def read_catalogue(packaged: Packaged) -> list[PublicModel]:
    """The catalogue that came with the extension; reads one file. Raises SetupError."""
    path = packaged.models / "catalogue.json"
    try:
        words = json.loads(path.read_text("utf-8"))
        return [_model(each, words["licences"][each["licence"]]) for each in words["models"]]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SetupError(f"{path} cannot be read ({error}): install the extension again.") from error


def missing_models(packaged: Packaged, folder: Path) -> list[PublicModel]:
    """Models of the catalogue that are not in the folder. Raises SetupError."""
    return [model for model in read_catalogue(packaged) if not (folder / model.place).exists()]


def is_accepted(model: PublicModel, folder: Path) -> bool:
    """True where nothing has to be asked: a free licence, or one that was accepted before."""
    try:
        accepted = json.loads((folder / CONSENTS).read_text("utf-8"))
    except (OSError, ValueError):
        accepted = {}
    return not model.needs_consent or (isinstance(accepted, dict) and model.licence in accepted)


def fetch_task(command: Sequence[str], model: PublicModel, folder: Path) -> Task[str]:
    """Fetch a model on a thread of its own, by the worker's command; its result is the model's name.

    The user has accepted its licence. Cancelled or cut off, what has come is kept, and a later task goes on from there.
    """
    return Task(lambda control: _fetch(command, model, folder, control), "memseg3d-model")


def _fetch(command: Sequence[str], model: PublicModel, folder: Path, control: TaskControl) -> str:
    control.tell(f"Fetching {model.name} from {model.host}", 0, model.bytes)
    last = ""

    def listen(line: str) -> None:
        nonlocal last
        words = _words(line)
        if words.get("type") == "progress":
            control.tell(f"Fetching {words['file']} from {model.host}", int(words["done"]), int(words["total"]))
        elif line.strip() and not words:
            last = line.strip()

    asked = ["models", "get", model.name, "--models", str(folder), "--accept-licence", model.licence, "--json"]
    code = run_command([*command, *asked], worker_environment(os.environ), control, listen)
    if code != 0:
        raise SetupError(last.removeprefix("memseg3d models: ") or f"{model.name} could not be fetched: try again.")
    return model.name


def _words(line: str) -> dict[str, Any]:
    try:
        words = json.loads(line)
    except ValueError:
        return {}
    return words if isinstance(words, dict) else {}


def _model(words: dict[str, Any], licence: dict[str, Any]) -> PublicModel:
    files = words["files"]
    return PublicModel(
        name=words["name"],
        use=words["use"],
        bytes=sum(file.get("bytes", 0) for file in files),
        host=files[0]["url"].split("/")[2],
        place=files[0]["path"].split("/")[0],
        licence=words["licence"],
        terms=licence["terms"],
        address=licence["address"],
        needs_consent=licence["needs_consent"],
    )
