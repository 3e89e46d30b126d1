"""Publishing a training run: weights into the models' folder, and the card that says how they were made."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from memseg3d.datasets.training_data import manifest_sha256, training_cases
from memseg3d.training.clips.clips import ClipSettings
from memseg3d.training.nano.settings import TrainSettings

SYNTHETIC = (
    "Trained on synthetic volumes alone, made on the fly by memseg3d.training.synthetic; no image of any person, "
    "animal or microscope was used."
)
WITH_DATA = (
    "Trained on synthetic volumes, made on the fly by memseg3d.training.synthetic, on real label maps with an "
    "appearance of chance, and on real images whose licence allows it (data; NOTICE names them with attribution)."
)
RECIPE = (
    "Single slices, and clips with memory, corrections and a second pass, cut as sessions show them: the prompt comes "
    "first, region and window follow from it. AdamW, constant learning rate with a linear fall at the end, averaged "
    "weights."
)
CLIP_OPTIONS = ("length", "shapes", "pictures")
"""Settings of clips that are options of their names."""
ALWAYS = ("steps", "single_steps", "decay_steps", "learning_rate", "seed", "batch")
"""Options that the command of the card always names; the others where they differ from what is usual."""
NO_MATTER = ("threads", "workers", "light_state", "tensorboard", "save_minutes", "validate_every")
"""Settings that do not change what is learnt."""
NO_OPTIONS = ("warmup", "weight_decay", "clip_norm", "average_decay", "clips")
"""Settings without options of their names: values stand in the code, and in the card under `training`."""
LICENCE = Path(__file__).resolve().parents[4] / "LICENSE"
"""Of a checkout: it goes with the weights."""


class ReleaseError(ValueError):
    """The run cannot be published."""


def release(
    run: Path,
    models: Path,
    note: str = "",
    name: str = "memseg3d-nano",
    hold_out: Path | None = None,
    data: Path | None = None,
) -> Path:
    """Copy the weights of folder `run` into `models` and write <name>.json beside them; returns the card's path.

    The card holds the SHA-256 (checked at load), the command that makes such weights again, every chapter of the run
    (from which step on which settings, code and libraries), steps and hours, the Dice on the synthetic hold-out, and
    `note`: how the run differed from that command. hold_out: rounds.json of `memseg3d evaluate hold-out` with these
    weights. data: the training data of the run, whose sets the card names with their licences. Raises ReleaseError
    where the run has no weights, the hold-out's results are another network's, or the data are missing or others.
    """
    weights = run / f"{name}.safetensors"
    if not weights.is_file():
        raise ReleaseError(f"There are no weights in {run}: train first.")
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    volumes = _hold_out(hold_out, sha256) if hold_out else None
    try:
        with safe_open(weights, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            parameters = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118
        training: dict[str, Any] = json.loads(metadata["memseg3d.training"])
        configuration = json.loads(metadata["memseg3d.config"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise ReleaseError(f"{weights} holds no weights that `memseg3d train nano` wrote, or is damaged.") from error
    chapters = training.get("history", [])
    sets = _sets(chapters, data)
    card = {
        "name": name,
        "sha256": sha256,
        "licence": "Apache-2.0",
        "use": "Research use only, not for clinical use.",
        "parameters": parameters,
        "recipe": f"{WITH_DATA if sets else SYNTHETIC} {RECIPE}",
        "command": command(training["settings"]),
        "in_one_piece": len(chapters) == 1,
        "note": note,
        "training": training,
        "synthetic_hold_out_dice": _last_validation(run / "log.jsonl"),
        "configuration": configuration,
    }
    if sets:
        card["data"] = sets
    if volumes is not None:
        card["synthetic_hold_out_volumes"] = volumes
    models.mkdir(parents=True, exist_ok=True)
    return _written(weights, card, models)


def _written(weights: Path, card: Mapping[str, Any], models: Path) -> Path:
    """Put weights and card into a folder, both or none, for a card of other weights makes them count as damaged."""
    path = models / f"{weights.stem}.json"
    partial = [each.with_name(each.name + ".partial") for each in (models / weights.name, path)]
    try:
        shutil.copyfile(weights, partial[0])
        partial[1].write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        for each in partial:
            each.replace(each.with_suffix(""))
    except OSError as error:
        for each in partial:
            each.unlink(missing_ok=True)
        raise ReleaseError(f"{models} cannot be written ({error.strerror}): check the folder and its space.") from error
    if LICENCE.is_file() and not (models / LICENCE.name).exists():
        shutil.copyfile(LICENCE, models / LICENCE.name)
    return path


def command(settings: dict[str, Any]) -> str:
    """The command with these settings: what decides the outcome is named where it differs from the usual."""
    optional = [each for each in fields(TrainSettings) if each.name not in (*ALWAYS, *NO_MATTER, *NO_OPTIONS)]
    named = [*ALWAYS, *(each.name for each in optional if settings.get(each.name, each.default) != each.default)]
    options = {key: settings[key] for key in named}
    usual = ClipSettings()
    for key in CLIP_OPTIONS:
        value = settings.get("clips", {}).get(key, getattr(usual, key))
        if value != getattr(usual, key):
            options[key] = value
    return "memseg3d train nano " + " ".join(f"--{key.replace('_', '-')} {value}" for key, value in options.items())


def _sets(chapters: Sequence[Mapping[str, Any]], data: Path | None) -> dict[str, dict[str, Any]]:
    """The sets that the chapters of a run have seen: licences, cases, and in how many of them the image as well."""
    seen = {chapter["data_manifest_sha256"] for chapter in chapters if chapter.get("data_manifest_sha256")}
    if not seen:
        return {}
    if data is None or manifest_sha256(data) not in seen:
        raise ReleaseError("The run has learnt from real data: name their folder, with the manifest that it was given.")
    return sets_of(data)


def sets_of(data: Path) -> dict[str, dict[str, Any]]:
    """The sets that weights may be made of: licences, cases, and of how many of them the image as well."""
    sets: dict[str, dict[str, Any]] = {}
    for case in training_cases(data):
        words = sets.setdefault(case.name.partition("/")[0], {"licences": [], "cases": 0, "images": 0})
        words["cases"] += 1
        words["images"] += case.with_image
        if case.licence not in words["licences"]:
            words["licences"].append(case.licence)
    return sets


def _hold_out(results: Path, sha256: str) -> dict[str, Any]:
    """What the card tells of whole volumes of the hold-out."""
    try:
        words = json.loads(results.read_text(encoding="utf-8-sig"))
        figures, protocol = words["figures"]["all"], words["protocol"]
        told = {key: figures[key] for key in ("targets", "dice", "nsd", "prompted_dice")}
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise ReleaseError(f"{results} is no rounds.json of `memseg3d evaluate hold-out`.") from error
    if protocol.get("model_sha256") != sha256:
        raise ReleaseError(
            f"{results} tells of other weights: run `memseg3d evaluate hold-out` with those of this run."
        )
    return told


def _last_validation(log: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8-sig").splitlines()] if log.is_file() else []
    found: list[dict[str, float]] = [line["validation"] for line in lines if "validation" in line]
    return found[-1] if found else {}
