"""`make demo`: from a box on one slice to segments on disk, with a picture and a table."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo.cases import own_case, phantom_case
from demo.export import write_dicom
from demo.overview import draw_overview
from demo.results import Case, DemoError, TargetResult
from demo.story import Desk, open_desk, segment_case
from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.export.nifti import Overlap, write_nifti
from MemSeg3DLib.export.seg_nrrd import write_seg_nrrd
from MemSeg3DLib.segments.measurements import measure
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 where everything was written, 1 with a sentence on stderr where something failed."""
    options = _parser().parse_args(arguments)
    try:
        _run(options, Console())
    except MemSeg3DError as error:
        print(f"The demo stopped: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace, console: Console) -> None:
    began = time.monotonic()
    out: Path = options.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"The folder {out} cannot be made ({error.strerror}); name another one by OUT=...") from error
    if (options.truth or options.box) and not options.volume:
        raise DemoError("TRUTH and BOX belong to a volume of your own: name it by VOLUME=...")
    console.print("[bold]MemSeg3D demo[/bold]  (research use only, not for clinical use)")
    if options.volume:
        case = own_case(options.volume, options.truth, options.box or [], out)
    else:
        console.print("Making a torso phantom ...")
        case = phantom_case(out)
    console.print(f"Volume: {case.name}, {' x '.join(str(n) for n in case.voxels.shape)} voxels (k, j, i)")
    console.print("Starting the worker ...")
    # The log is this run's alone, so that its last words are not those of an earlier one.
    log = out / "worker.log"
    log.unlink(missing_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="memseg3d-") as scratch,
        LocalWorker.start(
            model=options.model, device=options.device, data_folder=Path(scratch), log_file=log
        ) as worker,
    ):
        client = worker.connect()
        about = client.info()
        client.close()
        desk = open_desk(case)
        with _bar(console) as bar:
            task = bar.add_task("preparing", total=None)

            def show(words: str, done: int, total: int) -> None:
                bar.update(task, description=words, completed=done, total=total or None)

            results, seconds = segment_case(case, desk, worker, show)
    words = f"{about['model']['name']} on {about['device']}"
    _write(case, desk, results, out, words, console)
    console.print(_table(desk, results, seconds))
    console.print(f"Look at [bold]{out / 'overview.png'}[/bold]. Everything took {time.monotonic() - began:.0f} s.")


def _write(case: Case, desk: Desk, results: list[TargetResult], out: Path, words: str, console: Console) -> None:
    console.print(f"Writing to {out} ...")
    write_nifti(desk.segmentation, desk.volume, out / "segmentation.nii.gz", desk.segment_ids, overlap=Overlap.LATER)
    write_seg_nrrd(desk.segmentation, out / "segmentation.seg.nrrd")
    report = write_dicom(case, desk, out)
    for sentence in report.left_out:
        console.print(sentence)
    subtitle = f"one box on one slice{', then one click,' if len(results[0].rounds) > 1 else ','} {words}"
    draw_overview(case, results, out / "overview.png", f"{subtitle}  ·  research use only")


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>16}"),
        BarColumn(bar_width=48),
        TextColumn("{task.completed:.0f} of {task.total:.0f}" if console.is_terminal else "{task.completed:.0f}"),
        TimeElapsedColumn(),
        console=console,
    )


def _table(desk: Desk, results: list[TargetResult], seconds: list[float]) -> Table:
    """Segment, mL, Dice after each round where truth is known, seconds to the first mask, seconds of all rounds."""
    table = Table("segment", "mL")
    known = all(result.target.truth is not None for result in results)
    rounds = max(len(result.rounds) for result in results)
    if known:
        for number in range(rounds):
            table.add_column("Dice, box" if number == 0 else f"Dice, + {number} click", justify="right")
        if rounds > 1:
            table.add_column("gained", justify="right")
    table.add_column("first mask, s", justify="right")
    table.add_column("all rounds, s", justify="right")
    for result, segment_id in zip(results, desk.segment_ids, strict=True):
        volume = measure(desk.segmentation, segment_id, desk.volume).millilitres
        row = [result.target.segment.name, f"{volume:.1f}"]
        if known:
            scores = [result.dice(number) for number in range(len(result.rounds))]
            row += ["-" if score is None else f"{score:.3f}" for score in scores] + ["-"] * (rounds - len(scores))
            first_score, last_score = scores[0], scores[-1]
            gained = None if first_score is None or last_score is None else last_score - first_score
            row += ["-" if gained is None else f"{gained:+.3f}"] if rounds > 1 else []
        first = result.rounds[0].first_seconds
        row += ["-" if first is None else f"{first:.2f}", f"{sum(seconds):.1f}"]
        table.add_row(*row)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--volume", type=Path, help="NIfTI, NRRD, MetaImage or a DICOM folder; else the phantom")
    parser.add_argument(
        "--truth", type=Path, help="labelmap on the volume's grid: its two largest labels are segmented"
    )
    parser.add_argument("--box", action="append", help="name:k0,j0,i0,k1,j1,i1 where there is no truth; repeatable")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder of the results")
    parser.add_argument("--model", help="name or path of a checkpoint; else the embedded model")
    parser.add_argument("--device", help="cpu, cuda, mps or auto")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
