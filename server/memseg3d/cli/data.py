"""`memseg3d data`: look through data sets, go between their layouts, split them by patient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from memseg3d.cli.early_checks import OverwriteOption, check_is_new

app = typer.Typer(help="Check, convert and split data sets.", no_args_is_help=True)

LayoutOption = Annotated[str | None, typer.Option(help="Read the folder as this layout (docs/data.md lists them).")]
ImagesOption = Annotated[Path | None, typer.Option(help="The folder of images, where its name is not a usual one.")]
LabelsOption = Annotated[Path | None, typer.Option(help="The folder of labels, with --images.")]


@app.callback()
def data() -> None:
    """Check, convert and split data sets."""


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder of the data set.", show_default=False)],
    layout: LayoutOption = None,
    images: ImagesOption = None,
    labels: LabelsOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Look at headers alone.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Notes count as broken.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say what a data set holds, and name every broken pair with the reason.

    Ends with 0 where nothing is broken, 1 where something is, 2 where the folder cannot be read as a data set.
    """
    import json

    from memseg3d.datasets.checking import check_case
    from memseg3d.datasets.door import open_data
    from memseg3d.datasets.report import Report

    with _sentences():
        found = open_data(path, layout, images, labels)
    checks = []
    for number, case in enumerate(found.cases, 1):
        if not as_json:
            _progress(f"{number} of {len(found.cases)}: {case.name}")
        checks.append(check_case(case, quick))
    report = Report(found, tuple(checks), quick)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1))
    else:
        _progress("")
        for line in report.words():
            typer.echo(line)
    if report.faults or (strict and report.remarks):
        raise typer.Exit(1)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Folder of the data set.", show_default=False)],
    destination: Annotated[
        Path, typer.Argument(help="A new folder, or one where this was stopped.", show_default=False)
    ],
    to: Annotated[str, typer.Option(help="Layout to write: folders, msd, cases, medical-sam2, mem3d, video, cvpr25.")],
    layout: LayoutOption = None,
    images: ImagesOption = None,
    labels: LabelsOption = None,
    splits: Annotated[Path | None, typer.Option(help="Take cases and splits from a file of `data split`.")] = None,
    label: Annotated[
        list[int] | None, typer.Option(help="Keep this label, numbered anew from 1; several times.")
    ] = None,
    channel: Annotated[str, typer.Option(help="Take this image of several, by its name or number.")] = "",
    frames: Annotated[Literal["png", "jpeg"] | None, typer.Option(help="How 2D images are kept.")] = None,
    scaling: Annotated[
        Literal["exact", "window", "slice"] | None, typer.Option(help="How grey values are kept in 2D images.")
    ] = None,
    window: Annotated[tuple[float, float] | None, typer.Option(help="Lowest and highest grey value.")] = None,
    threshold: Annotated[
        int | None, typer.Option(min=0, help="Of video: only slices between those with more labelled pixels.")
    ] = None,
    merge_labels: Annotated[bool, typer.Option("--merge-labels", help="Of video: all labels become 1.")] = False,
    published: Annotated[
        bool, typer.Option("--published", help="As the release of nii2video or Mem3D writes it, quirks included.")
    ] = False,
    task: Annotated[int, typer.Option(min=1, max=99, help="Of mem3d: the number in TaskNN.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of what the release draws at random.")] = 0,
) -> None:
    """Write a data set in another layout. Stopped, it goes on when it is called again.

    Ends with 0 where every case was written, 1 where broken ones were left out (each is named), 2 where nothing more
    could be written.
    """
    from memseg3d.datasets.conversion.converting import convert as convert_data
    from memseg3d.datasets.conversion.converting import target_name
    from memseg3d.datasets.conversion.options import Frames, Options, Scaling, settle
    from memseg3d.datasets.door import open_data
    from memseg3d.datasets.splits import read_splits, with_splits

    with _sentences():
        target = target_name(to)
        options = Options(
            Frames(frames) if frames else None,
            Scaling(scaling) if scaling else None,
            window,
            threshold,
            merge_labels,
            tuple(label or ()),
            published,
            task,
            seed,
            channel,
        )
        settled = settle(target, options)
        found = open_data(source, layout, images, labels)
        if splits is not None:
            found = with_splits(found, read_splits(splits), splits)
        if published and target == "video":
            # The release names its folder by the threshold.
            destination = destination.with_name(f"{destination.name}_{settled.threshold}")
        record = convert_data(found, destination, target, options, _progress)
    _progress("")
    typer.echo(f"{found.root} ({found.layout}): {len(record.cases)} cases are in {destination} as {target}.")
    for case, why in record.skipped.items():
        typer.echo(f"Left out: {case}: {why}")
    if record.skipped:
        raise typer.Exit(1)


@app.command()
def split(
    path: Annotated[Path, typer.Argument(help="Folder of the data set.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("splits.json"),
    validation: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the patients.")] = 0.2,
    test: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the patients.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same patients.")] = 0,
    patient: Annotated[
        str | None, typer.Option(help="Regular expression whose first group finds the patient in a case's name.")
    ] = None,
    layout: LayoutOption = None,
    images: ImagesOption = None,
    labels: LabelsOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Draw by patient which labelled cases train, validate and test, and write the names to a file."""
    from memseg3d.datasets.description import Split
    from memseg3d.datasets.door import open_data
    from memseg3d.datasets.splits import draw_splits, with_patients

    # Results are told by the patients of such a file: another draw in its place would mix train and test.
    check_is_new([out], overwrite, "--out")
    with _sentences():
        cases = list(open_data(path, layout, images, labels).cases)
        if patient is not None:
            cases = with_patients(cases, patient)
        splits = draw_splits(cases, seed, validation, test)
        splits.write(out)
    parts = (Split.TRAIN, Split.VALIDATION, Split.TEST)
    shown = ", ".join(f"{len(splits.names(part))} {part}" for part in parts)
    left = len(cases) - len(splits.by_case)
    without = f"; {left} without labels left out" if left else ""
    typer.echo(f"Wrote {out}: {shown} (of {len(set(splits.patients.values()))} patients{without}).")


@contextmanager
def _sentences() -> Iterator[None]:
    """What is wrong with a data set is a sentence on the terminal, and ends with 2."""
    from memseg3d.datasets.errors import DataSetError
    from memseg3d.files import UnreadableFile

    try:
        yield
    except (DataSetError, UnreadableFile) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _progress(words: str) -> None:
    """A line that the next one replaces, on terminals alone."""
    import sys

    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{words[:100]}")
        sys.stderr.flush()
