"""`memseg3d evaluate labelmap`: saved labelmaps against each other: Dice, NSD, HD95 and volumes of every label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memseg3d.cli.evaluate_extra import require_extra

if TYPE_CHECKING:
    import numpy as np

    from memseg3d.files import VolumeFile


def labelmap(
    prediction: Annotated[Path, typer.Argument(help="Labelmap to judge: NIfTI, NRRD or MetaImage.")],
    truth: Annotated[Path, typer.Argument(help="Labelmap to hold it against, on the same grid.")],
    pair: Annotated[
        list[str] | None,
        typer.Option(help="PREDICTED=TRUE: labels that mean the same; else equal numbers do. May be repeated."),
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Of the NSD, in mm.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Compare two labelmaps label by label: Dice, surface Dice (NSD), HD95 in mm, and volumes in mL."""
    for path, which in ((prediction, "PREDICTION"), (truth, "TRUTH")):
        if not path.exists():
            raise typer.BadParameter(f"{path} does not exist; check the path.", param_hint=which)
    pairs = [_pair(text) for text in pair or ()]
    require_extra()
    import numpy as np

    from memseg3d.evaluation.metrics import dice, surface_scores
    from memseg3d.files.geometry import SAME_PLACE

    first, second = _read(prediction, "PREDICTION"), _read(truth, "TRUTH")
    if first.geometry.shape != second.geometry.shape:
        raise typer.BadParameter(
            f"{prediction} has the shape (k, j, i) {first.geometry.shape}, {truth} {second.geometry.shape}: lay them "
            "on one grid.",
            param_hint="TRUTH",
        )
    if (apart := second.geometry.apart(first.geometry)) > SAME_PLACE:
        raise typer.BadParameter(
            f"{prediction} and {truth} lie on different grids, {apart:.2g} voxels apart; resample one.",
            param_hint="TRUTH",
        )
    held = ((prediction, _labels(first.voxels)), (truth, _labels(second.voxels)))
    _check_pairs(pairs, held)
    if not pairs:
        pairs = [(label, label) for label in sorted({label for _, labels in held for label in labels})]
    rows = []
    for mine, theirs in pairs:
        found, true = first.voxels == mine, second.voxels == theirs
        nsd, hd95 = surface_scores(true, found, second.spacing, tolerance)
        ml = second.geometry.voxel_volume / 1000
        rows.append(
            {
                "label": mine,
                "truth": theirs,
                "dice": round(dice(true, found), 4),
                "nsd": round(nsd, 4),
                "hd95_mm": None if hd95 is None else round(hd95, 2),
                "mL": round(int(np.count_nonzero(found)) * ml, 3),
                "truth_mL": round(int(np.count_nonzero(true)) * ml, 3),
            }
        )
    if as_json:
        typer.echo(json.dumps({"tolerance_mm": tolerance, "labels": rows}))
    elif rows:
        _print(rows)
    else:
        typer.echo("Neither file has a label.")


def _pair(text: str) -> tuple[int, int]:
    mine, equals, theirs = text.partition("=")
    if not (equals and mine.strip().isdecimal() and theirs.strip().isdecimal()):
        raise typer.BadParameter(f"{text}: write PREDICTED=TRUE, two numbers.", param_hint="--pair")
    if not int(mine) or not int(theirs):
        raise typer.BadParameter(f"{text}: 0 is the background; labels count from 1.", param_hint="--pair")
    return int(mine), int(theirs)


def _check_pairs(pairs: list[tuple[int, int]], held: tuple[tuple[Path, list[int]], tuple[Path, list[int]]]) -> None:
    """Refuse a pair that neither file holds, which would score 1; say where one of them lacks its label."""
    for pair in pairs:
        lacking = [
            f"{path} has no label {label} (it has {', '.join(map(str, labels)) or 'none'})"
            for label, (path, labels) in zip(pair, held, strict=True)
            if label not in labels
        ]
        if len(lacking) > 1:
            raise typer.BadParameter(f"{', and '.join(lacking)}.", param_hint="--pair")
        for sentence in lacking:
            typer.echo(f"{sentence}: its score is 0.", err=True)


def _read(path: Path, which: str) -> VolumeFile:
    from memseg3d.files import UnreadableFile
    from memseg3d.files.labels import read_labels

    try:
        return read_labels(path)
    except UnreadableFile as error:
        raise typer.BadParameter(str(error), param_hint=which) from error


def _labels(voxels: np.ndarray) -> list[int]:
    import numpy as np

    return [int(value) for value in np.unique(voxels) if value != 0]


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("label", "Dice", "NSD", "HD95 mm", "mL", "truth mL")
    for row in rows:
        name = str(row["label"]) if row["label"] == row["truth"] else f"{row['label']} = {row['truth']}"
        distance = "-" if row["hd95_mm"] is None else f"{row['hd95_mm']:.1f}"
        table.add_row(
            name, f"{row['dice']:.3f}", f"{row['nsd']:.3f}", distance, f"{row['mL']:.1f}", f"{row['truth_mL']:.1f}"
        )
    Console().print(table)
