"""session.json: everything that made a labelmap, to repeat it, to go on from it and to audit it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memseg3d.cases.errors import CaseError
from memseg3d.cases.json_files import read_json
from memseg3d.cases.stored_rounds import checked_files, checked_names, checked_rounds

if TYPE_CHECKING:
    from memseg3d.files import VolumeFile
    from memseg3d.network.seam import Network
    from memseg3d.propagation.volume.volume import Volume

NAME = "session.json"
FORMAT = "memseg3d-session"
VERSION = 1


@dataclass
class SessionDocument:
    """What session.json holds; docs/session.schema.json describes it.

    image, model, software: what the rounds were computed from and by. options: of the session. names: of the segments,
    by object number. rounds: as `RoundRecord` writes them, undone ones last; applied: how many of them stand. files:
    how results are written. mirrored: prompts count the slices (k) from the other end than the file does.
    """

    image: dict[str, Any]
    model: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    applied: int = 0
    files: dict[str, Any] = field(default_factory=lambda: {"format": "nii.gz", "layers": False})
    software: dict[str, Any] = field(default_factory=dict)
    mirrored: bool = False

    @property
    def sessions(self) -> int:
        """How many sessions the rounds come from: 1, but for rounds that were exported from a scene."""
        return len({one.get("session", 1) for one in self.rounds})

    @property
    def is_computed(self) -> bool:
        """True where the rounds hold what they changed, so that nothing has to be computed again."""
        return all("objects" in one for one in self.rounds)

    def prompts(self) -> list[dict[str, Any]]:
        """The prompts that stand, in their order, as JSON with their ids."""
        standing: dict[str, dict[str, Any]] = {}
        for one in self.rounds[: self.applied]:
            for gone in one["removed"]:
                standing.pop(gone, None)
            standing |= {prompt["id"]: prompt for prompt in one["prompts"]}
        return list(standing.values())

    def to_text(self) -> str:
        """The file's text: small parts are easy to read, each round is one line."""
        head = {
            "format": FORMAT,
            "version": VERSION,
            "software": self.software,
            "image": self.image,
            "model": self.model,
            "options": self.options,
            "files": self.files,
            "names": {str(number): name for number, name in sorted(self.names.items())},
            "applied": self.applied,
            **({"mirrored": True} if self.mirrored else {}),
        }
        text = json.dumps(head, indent=2, ensure_ascii=False)
        rounds = ",\n    ".join(json.dumps(one, ensure_ascii=False) for one in self.rounds)
        return f'{text[:-2]},\n  "rounds": [\n    {rounds}\n  ]\n}}\n'

    @classmethod
    def from_json(cls, words: Mapping[str, Any], path: Path) -> SessionDocument:
        """Raises `CaseError` where it is none that this version reads."""
        if words.get("version") != VERSION:
            raise CaseError(f"{path} is of version {words.get('version')}, memseg3d reads {VERSION}; update memseg3d.")
        try:
            rounds = checked_rounds(words.get("rounds"))
            applied = int(words["applied"])
            if not 0 <= applied <= len(rounds):
                raise ValueError(f"{applied} of {len(rounds)} rounds stand")
            image = dict(words["image"])
            if not isinstance(image.get("path"), str | None) or not isinstance(image.get("series"), str | None):
                raise TypeError("where the image lies is no text")
            return cls(
                image,
                dict(words["model"]),
                dict(words["options"]),
                checked_names(words.get("names"), rounds),
                rounds,
                applied,
                checked_files(words.get("files")),
                dict(words.get("software", {})),
                bool(words.get("mirrored", False)),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise CaseError(f"{path} is damaged ({reason}): segment again, or take it from a copy.") from error


def read_document(path: Path) -> SessionDocument:
    """The document at `path`. Raises `CaseError`."""
    if not path.parent.is_dir() or not path.exists():
        raise CaseError(
            f"{path.parent} holds no {path.name}; `memseg3d segment` writes one beside the labelmap.", "OUT"
        )
    words = read_json(path, "session of memseg3d")
    if not isinstance(words, dict) or words.get("format") != FORMAT:
        raise CaseError(f"{path} is no session of memseg3d; `memseg3d segment` writes one beside the labelmap.")
    return SessionDocument.from_json(words, path)


def image_words(source: Path | None, series: str | None, file: VolumeFile, volume: Volume) -> dict[str, Any]:
    """What session.json says of the image. The hash is the volume's id of the wire protocol: it holds no header."""
    return {
        "path": None if source is None else str(source.absolute()),
        "series": series,
        "sha256": volume.id,
        "shape": list(volume.shape),
        "spacing": list(volume.spacing),
        "dtype": volume.voxels.dtype.name,
        "geometry": file.geometry.to_json(),
    }


def model_words(network: Network, device: str) -> dict[str, Any]:
    """What session.json says of the network."""
    from memseg3d.network.backends import backend_of
    from memseg3d.network.precision import precision_of

    info = network.info
    return {
        "name": info.name,
        "sha256": info.sha256,
        "licence": info.licence,
        "image_size": info.image_size,
        "device": device,
        "precision": precision_of(network),
        "backend": backend_of(network),
    }


def software_words(threads: int | None) -> dict[str, Any]:
    """Versions and machine: what a repetition needs to be equal bit by bit."""
    import numpy
    import torch

    from memseg3d import __version__

    return {
        "memseg3d": __version__,
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "threads": threads if threads is not None else torch.get_num_threads(),
    }
