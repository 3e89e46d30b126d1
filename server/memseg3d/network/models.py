"""Where model files are found, and what is known of one: its name, SHA-256, and the card that may lie beside it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

DEFAULT_MODEL = "memseg3d-nano"
ENVIRONMENT = "MEMSEG3D_MODELS"
CONSENTS = "accepted-licences.json"
"""What a user has accepted, in a folder of models."""
SUFFIXES = (".safetensors", ".pt", ".pth")

_PACKAGE = Path(__file__).resolve().parents[1]


class ModelNotFound(ValueError):
    """No file of that name in any of the folders; the message names them."""


class ModelDamaged(ValueError):
    """The file is not the one that its card describes."""


@dataclass(frozen=True)
class ModelFile:
    """One model on disk: a file, or a folder as nnInteractive's are.

    card: what `<name>.json` beside it says (recipe, figures, licence), empty where there is none.
    """

    path: Path
    sha256: str
    card: dict[str, object]

    @property
    def name(self) -> str:
        """The file's name without its suffix; a folder's whole name."""
        return name_of(self.path)

    @property
    def licence(self) -> str:
        """The licence of the weights as the card names it, or ''."""
        return str(self.card.get("licence") or self.card.get("license") or "")


def user_state_folder() -> Path:
    """Where this user's programs keep state: MEMSEG3D_HOME, else XDG on Linux, Application Support, LOCALAPPDATA."""
    if os.environ.get("MEMSEG3D_HOME"):
        return Path(os.environ["MEMSEG3D_HOME"])
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "memseg3d"


def own_folder(folder: Path | str | None = None) -> Path:
    """Where this user's own models are put: `folder`, else $MEMSEG3D_MODELS, else `models` in the user's folder."""
    return Path(folder or os.environ.get(ENVIRONMENT) or user_state_folder() / "models")


def accepted_licences(folder: Path) -> dict[str, str]:
    """When each licence was accepted in a folder of models, or in this user's own; by the licence's id."""
    found: dict[str, str] = {}
    for place in (own_folder(), folder):
        try:
            words = json.loads((place / CONSENTS).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        found |= words if isinstance(words, dict) else {}
    return found


def model_folders(folder: Path | str | None = None) -> list[Path]:
    """Folders that are searched, in order: `folder`, $MEMSEG3D_MODELS, the user's own, the package, the extension, the
    checkout.
    """
    folders = [Path(folder)] if folder else []
    if os.environ.get(ENVIRONMENT):
        folders.append(Path(os.environ[ENVIRONMENT]))
    # In an installed extension the resources lie beside the package, in a checkout one folder higher.
    beside, above = (parent / "Resources" / "Models" for parent in _PACKAGE.parents[:2])
    return [*folders, user_state_folder() / "models", _PACKAGE / "models", beside, above]


def name_of(path: Path) -> str:
    """The name by which a model's file or folder is found."""
    return path.name if path.is_dir() else path.stem


def is_model(path: Path) -> bool:
    """True for a checkpoint's file, and for a folder with the plans and the weights of an nnU-Net (nnInteractive)."""
    return (path.suffix in SUFFIXES and path.is_file()) or (path.is_dir() and weights_in(path) is not None)


def weights_in(folder: Path) -> Path | None:
    """The weights of a model that is a folder: those of its first fold. None where it is no model."""
    if not (folder / "plans.json").is_file():
        return None
    return next(iter(sorted(folder.glob("fold_*/checkpoint_final.pth"))), None)


def list_models(folder: Path | str | None = None) -> list[Path]:
    """Every model in those folders; of two with one name the first found."""
    found: dict[str, Path] = {}
    for place in model_folders(folder):
        if place.is_dir():
            for path in sorted(place.iterdir()):
                if is_model(path):
                    found.setdefault(name_of(path), path)
    return list(found.values())


def find_model(name_or_path: str | Path | None = None, folder: Path | str | None = None) -> Path:
    """The file of a model: a path to it, or its name (with or without suffix) in one of `model_folders`.

    None finds the embedded model. Raises ModelNotFound.
    """
    wanted = str(name_or_path or DEFAULT_MODEL)
    if Path(wanted).is_file() or is_model(Path(wanted)):
        return Path(wanted)
    folders = model_folders(folder)
    if not Path(wanted).is_absolute():
        for place in folders:
            for candidate in (place / wanted, *(place / f"{wanted}{suffix}" for suffix in SUFFIXES)):
                if candidate.is_file() or is_model(candidate):
                    return candidate
    known = ", ".join(map(name_of, list_models(folder))) or "none"
    places = "; ".join(str(place) for place in folders)
    raise ModelNotFound(
        f"There is no model {wanted!r}. Give the path of a checkpoint, or a name found in one of: {places}. "
        f"Models there now: {known}."
    )


def describe_model(path: Path) -> ModelFile:
    """Hash a model and read its card. Raises ModelDamaged where the card tells another hash or is no JSON object."""
    card: dict[str, object] = {}
    if path.is_dir():
        licence = path / "LICENSE"
        lines = licence.read_text(encoding="utf-8", errors="replace").splitlines() if licence.is_file() else []
        card["licence"] = next((line.strip() for line in lines if line.strip()), "")
        return ModelFile(path, sha256_of(weights_in(path) or path), card)
    card_path = path.with_suffix(".json")
    if card_path.is_file():
        try:
            card = json.loads(card_path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
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
