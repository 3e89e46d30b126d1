"""The stamp of a finished environment: written last, so that a half-made one is never used; and what it was made of."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from MemSeg3DLib.worker.connection.command import About
from MemSeg3DLib.worker.installation.packaged import Packaged
from MemSeg3DLib.worker.installation.recipe import Recipe, lock_hash

_NAME = "memseg3d.json"
_FORMAT = 1


@dataclass(frozen=True)
class Stamp:
    """made: seconds since 1970; lock: hash of the locked dependencies; source, version: the packaged worker's."""

    made: float
    lock: str
    recipe: Recipe
    source: str
    version: str
    about: About

    @classmethod
    def of(cls, packaged: Packaged, recipe: Recipe, about: About) -> Stamp:
        """The stamp of an environment that has just been made."""
        return cls(time.time(), lock_hash(packaged), recipe, str(packaged.source), packaged.worker_version(), about)

    @classmethod
    def read(cls, environment: Path) -> Stamp | None:
        """The stamp of an environment; None where it has none, or one that is not understood."""
        try:
            words: dict[str, Any] = json.loads((environment / _NAME).read_text("utf-8"))
            if words.pop("format") != _FORMAT:
                return None
            words["recipe"] = Recipe.from_json(words["recipe"])
            words["about"] = About.from_json(words["about"])
            return cls(**words)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, environment: Path) -> None:
        """Write it, whole or not at all."""
        words = {"format": _FORMAT, **asdict(self), "recipe": self.recipe.to_json()}
        new = environment / f"{_NAME}.new"
        with new.open("w", encoding="utf-8") as file:
            json.dump(words, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, environment / _NAME)

    @staticmethod
    def remove(environment: Path) -> None:
        """From now on the environment is unfinished."""
        (environment / _NAME).unlink(missing_ok=True)
