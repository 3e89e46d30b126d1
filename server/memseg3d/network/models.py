"""Where model files are found, and what is known of one: its name, SHA-256, and the card that may lie beside it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_MODEL = "memseg3d-nano"
ENVIRONMENT = "MEMSEG3D_MODELS"
SUFFIXES = (".safetensors", ".pt", ".pth")

_PACKAGE = Path(__file__).resolve().parents[1]


class ModelNotFound(ValueError):
    """No file of that name in any of the folders; the message names them."""


class ModelDamaged(ValueError):
    """The file is not the one that its card describes."""


@dataclass(frozen=True)
class ModelFile:
    """One model on disk.

    card: what `<name>.json` beside it says (recipe, figures, licence), empty where there is none.
    """

    path: Path
    sha256: str
    card: dict[str, object]

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    @property
    def licence(self) -> str:
        """The licence of the weights as the card names it, or ''."""
        return str(self.card.get("licence") or self.card.get("license") or "")


def model_folders(folder: Path | str | None = None) -> list[Path]:
    """Folders that are searched, in order: `folder`, $MEMSEG3D_MODELS, the package, the extension, the checkout."""
    folders = [Path(folder)] if folder else []
    if os.environ.get(ENVIRONMENT):
        folders.append(Path(os.environ[ENVIRONMENT]))
    # In an installed extension the resources lie beside the package, in a checkout one folder higher.
    beside, above = (parent / "Resources" / "Models" for parent in _PACKAGE.parents[:2])
    return [*folders, _PACKAGE / "models", beside, above]


def list_models(folder: Path | str | None = None) -> list[Path]:
    """Every model in those folders; of two with one name the first found."""
    found: dict[str, Path] = {}
    for place in model_folders(folder):
        if place.is_dir():
            for path in sorted(place.iterdir()):
                if path.suffix in SUFFIXES and path.is_file():
                    found.setdefault(path.stem, path)
    return list(found.values())


def find_model(name_or_path: str | Path | None = None, folder: Path | str | None = None) -> Path:
    """The file of a model: a path to it, or its name (with or without suffix) in one of `model_folders`.

    None finds the embedded model. Raises ModelNotFound.
    """
    wanted = str(name_or_path or DEFAULT_MODEL)
    if Path(wanted).is_file():
        return Path(wanted)
    folders = model_folders(folder)
    if not Path(wanted).is_absolute():
        for place in folders:
            for candidate in (place / wanted, *(place / f"{wanted}{suffix}" for suffix in SUFFIXES)):
                if candidate.is_file():
                    return candidate
    known = ", ".join(path.stem for path in list_models(folder)) or "none"
    places = "; ".join(str(place) for place in folders)
    raise ModelNotFound(
        f"There is no model {wanted!r}. Give the path of a checkpoint, or a name found in one of: {places}. "
        f"Models there now: {known}."
    )


def describe_model(path: Path) -> ModelFile:
    """Hash a model and read its card. Raises ModelDamaged where the card tells another hash or is no JSON object."""
    card: dict[str, object] = {}
    card_path = path.with_suffix(".json")
    if card_path.is_file():
        try:
            card = json.loads(card_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelDamaged(f"The card {card_path.name} is no JSON: correct it or take it away.") from error
        if not isinstance(card, dict):
            raise ModelDamaged(f"The card {card_path.name} must be a JSON object: correct it or take it away.")
    sha256 = sha256_of(path)
    expected = card.get("sha256")
    if expected is not None and str(expected).lower() != sha256:
        raise ModelDamaged(
            f"{path.name} is not the model that {card_path.name} describes (its SHA-256 is {sha256}, not {expected}). "
            "Fetch the file again, or the card that belongs to it."
        )
    return ModelFile(path, sha256, card)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
