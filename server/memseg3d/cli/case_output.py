"""What `segment` and `refine` print, and where results go when their folder cannot take them."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from memseg3d.cases.progress import followed
from memseg3d.cases.results import NoRoom, Outcome, ResultFolder, Written
from memseg3d.cli.case_errors import ELSEWHERE, FAILED

if TYPE_CHECKING:
    from memseg3d.cases.documents import SessionDocument
    from memseg3d.cases.orders import Order
    from memseg3d.propagation.prompts.events import Event

WEAK = 0.5
"""Mean predicted quality below which a segment is told to be weak."""


class Talk:
    """How much a command says: words, one JSON object, or nothing but errors."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet

    @property
    def is_silent(self) -> bool:
        """True where no words are printed."""
        return self.as_json or self.quiet

    def say(self, sentence: str) -> None:
        """A sentence on stdout."""
        if not self.is_silent:
            typer.echo(sentence)

    def answer(self, sentence: str) -> None:
        """What was asked for itself, also by --quiet."""
        if not self.as_json:
            typer.echo(sentence)

    def warn(self, sentence: str) -> None:
        """A sentence on stderr."""
        if not self.is_silent:
            typer.echo(sentence, err=True)

    def result(self, words: Mapping[str, Any]) -> None:
        """What the command has found, for programs."""
        if self.as_json:
            typer.echo(json.dumps(words, ensure_ascii=False))


class Watch:
    """Follows rounds with a progress bar on stderr, and takes the times."""

    def __init__(self, talk: Talk) -> None:
        self.seconds: dict[str, float | None] = {"first_mask": None, "round": None}
        self._talk = talk

    def run(self, job: Callable[[Callable[[Event], None]], object]) -> None:
        """Run the job, which tells its events to what it is given."""
        self.seconds = followed(job, not self._talk.is_silent)


def leave(
    results: ResultFolder,
    outcome: Outcome,
    document: SessionDocument | None,
    pictures: Callable[[Outcome], Mapping[str, bytes]],
    talk: Talk,
    order: Order,
    notes: Sequence[str] = (),
) -> None:
    """Write the results, elsewhere where their folder cannot take them, and tell what they are. notes: of the image.

    Ends with exit code 4 where they lie elsewhere, and 1 where they lie nowhere.
    """
    shown = pictures(outcome)
    is_elsewhere = False
    while True:
        try:
            written = results.write(outcome, document, shown)
            break
        except NoRoom as error:
            is_elsewhere = True
            typer.echo(f"{error}; nothing there has changed.", err=True)
            if results.tried:
                with suppress(OSError):
                    results.folder.rmdir()
            results = _another(results)
    for note in notes:
        talk.warn(note)
    prompted = None if document is None else {document.names.get(each["object"]) for each in document.prompts()}
    _tell(written, outcome, talk, order, prompted)
    talk.result(
        {
            "folder": str(written.folder),
            "files": [path.name for path in written.paths],
            "segments": written.segments,
            "seconds": dict(outcome.seconds),
            "backend": outcome.model.get("backend"),
            "notes": list(notes),
        }
    )
    if is_elsewhere:
        typer.echo(f"What was computed lies in {written.folder}: move it where there is room.", err=True)
        raise typer.Exit(ELSEWHERE)


def _another(results: ResultFolder) -> ResultFolder:
    """Where else the results may go: where the user says on a terminal, else a new folder where there is room."""
    if sys.stdin.isatty():
        answer = typer.prompt("Another folder", err=True)
        return results.moved(Path(answer))
    tried = results.tried | {results.folder.parent}
    for place in (Path.cwd(), Path.home(), Path(tempfile.gettempdir())):
        if place not in tried:
            try:
                made = Path(tempfile.mkdtemp(prefix=f"{results.folder.name}-", dir=place))
            except OSError:
                tried = tried | {place}
                continue
            return results.moved(made, tried | {place})
    typer.echo("There is room nowhere: free some, and run the command again.", err=True)
    raise typer.Exit(FAILED)


def _tell(written: Written, outcome: Outcome, talk: Talk, order: Order, prompted: set[str | None] | None) -> None:
    """The table, and what is odd in it. prompted: segments that have prompts; None where nobody knows."""
    if talk.is_silent:
        return
    _print_table(written, outcome, order)
    empty = [segment["name"] for segment in written.segments if not segment["voxels"]]
    left = [] if prompted is None else [name for name in empty if name not in prompted]
    empty = [name for name in empty if name not in left]
    if left:
        talk.warn(f"No prompt is left for {', '.join(left)}.")
    if empty:
        talk.warn(f"Nothing was found for {', '.join(empty)}: add a point inside, or another --window.")
    for segment in written.segments:
        for sentence in (_weak(segment, outcome), *_overlaps(segment)):
            if sentence:
                talk.warn(sentence)
    talk.say(f"Wrote {', '.join(str(path) for path in written.paths)}")


def _weak(segment: Mapping[str, Any], outcome: Outcome) -> str:
    """What is said of a segment that the network does not trust itself; nothing where it does."""
    from memseg3d.propagation.prompts.prompts import PointPrompt

    told = segment.get("weak_prompt")
    if told is not None:
        return f"{segment['name']}, slice {told['index']} ({'kji'[told['axis']]}): {told['message']}"
    quality = _mean(segment)
    if quality is None or quality >= WEAK:
        return ""
    own = [prompt for prompt in outcome.prompts if prompt.object == segment["label"]]
    clicks = len(own) if all(isinstance(prompt, PointPrompt) for prompt in own) else 0
    by = {0: "It", 1: "One click"}.get(clicks, f"{clicks} clicks")
    advice = "draw a box or a stroke" if clicks else "correct the slice to look at next"
    return f"{segment['name']}: {by} found {segment['mL']:.1f} mL with quality {quality:.2f}: {advice}."


def _overlaps(segment: Mapping[str, Any]) -> list[str]:
    lost = segment.get("given_to", {})
    share = sum(lost.values()) / max(1, segment["voxels"] + sum(lost.values()))
    return [
        f"{segment['name']} overlaps {other}: {count} voxels went to {other}, which is surer of them "
        f"({segment['name']} keeps {100 * (1 - share):.0f} %). Write overlaps with --layers."
        for other, count in lost.items()
    ]


def _mean(segment: Mapping[str, Any]) -> float | None:
    qualities = [words["quality"] for words in segment["slices"]]
    return sum(qualities) / len(qualities) if qualities else None


def look_next(segment: Mapping[str, Any], outcome: Outcome, order: Order) -> str:
    """The slice to look at next, in voxels and, where the user works in it, in his own order."""
    place = segment["look_next"]
    if not place:
        return "-"
    axis, index = place["axis"], place["index"]
    words = f"slice {index} ({'kji'[axis]})"
    if order.in_mm:
        middle = [(size - 1) / 2 for size in outcome.geometry.shape]
        middle[axis] = index
        place_in_mm = ", ".join(f"{value:.1f}" for value in order.from_kji(middle, outcome.geometry))
        words += f", about {order.words} = {place_in_mm}"
    elif order.first:
        words = f"slice {index + order.first} ({order.letters[2 - axis]})"
    return words


def _print_table(written: Written, outcome: Outcome, order: Order) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("segment", "label", "mL", "slices", "mean quality", "look next at")
    for segment in written.segments:
        quality = _mean(segment)
        table.add_row(
            segment["name"],
            str(segment["label"]),
            f"{segment['mL']:.1f}",
            str(len(segment["slices"])),
            f"{quality:.2f}" if quality is not None else "-",
            look_next(segment, outcome, order),
        )
    Console().print(table)
