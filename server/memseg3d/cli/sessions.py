"""`memseg3d sessions`: what a worker keeps of its users' work: listed, a round that runs ended, a session deleted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memseg3d.cases.errors import CaseError
from memseg3d.cli.case_errors import FAILED

if TYPE_CHECKING:
    from memseg3d.cases.http import Connection

app = typer.Typer(help="What a worker keeps: list its sessions, end a round that runs, delete.", no_args_is_help=True)

TOKEN = "MEMSEG3D_TOKEN"
MOST_BYTES = 1 << 16
"""Read of the file of a token."""
WorkerOption = Annotated[
    str, typer.Option("--worker", metavar="URL", help="Address, such as https://worker.hospital:8443.")
]
TokenOption = Annotated[
    Path | None,
    typer.Option("--token", metavar="FILE", help=f"File that holds the worker's token; else {TOKEN} is taken."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
IdsArgument = Annotated[list[str], typer.Argument(metavar="ID...", help="As listed; its first letters are enough.")]


@app.command("list")
def list_sessions(worker: WorkerOption, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """List the sessions, the one used last first. Looking at them keeps none of them longer."""
    with _worker(worker, token) as connection:
        found = connection.json("GET", "/v1/sessions")["sessions"]
        hours = connection.info()["retention_hours"]
    if as_json:
        typer.echo(json.dumps(found))
    elif not found:
        typer.echo("The worker keeps no session.")
    else:
        _print_table(found, hours)


@app.command()
def end(ids: IdsArgument, worker: WorkerOption, token: TokenOption = None) -> None:
    """End the round that a session computes; the session stays as it was before it."""
    for connection, session in _each(worker, token, ids):
        if session["running"] is None:
            typer.echo(f"{session['id']}: nothing runs.")
            continue
        try:
            connection.json("POST", f"/v1/sessions/{session['id']}/rounds/{session['running']}/cancel")
        except CaseError:
            # It may have closed between the two requests.
            if connection.json("GET", f"/v1/sessions/{session['id']}")["running"] == session["running"]:
                raise
            typer.echo(f"{session['id']}: nothing runs any more.")
            continue
        typer.echo(f"{session['id']}: its round has ended.")


@app.command()
def delete(
    ids: IdsArgument,
    worker: WorkerOption,
    token: TokenOption = None,
    volume: Annotated[
        bool, typer.Option("--volume", help="Its volume too, with every other session on that volume.")
    ] = False,
) -> None:
    """Delete sessions with everything that the worker has of them."""
    gone: set[str] = set()
    for connection, session in _each(worker, token, ids):
        if volume and session["volume"]:
            if session["volume"] not in gone:
                connection.json("DELETE", f"/v1/volumes/{session['volume']}")
                gone.add(session["volume"])
            typer.echo(f"{session['id']}: deleted, with its volume.")
        else:
            connection.json("DELETE", f"/v1/sessions/{session['id']}")
            typer.echo(f"{session['id']}: deleted.")


@contextmanager
def _worker(url: str, token: Path | None) -> Iterator[Connection]:
    """The worker; its refusals as errors of the command line."""
    from memseg3d.cases.http import Connection

    try:
        connection = Connection(url, _token(token))
        connection.info()
        yield connection
    except CaseError as error:
        typer.echo(f"memseg3d sessions: {error}", err=True)
        raise typer.Exit(FAILED) from error


def _each(url: str, token: Path | None, ids: list[str]) -> Iterator[tuple[Connection, dict[str, Any]]]:
    """The sessions of these ids; nothing is done where one of them names none, or several."""
    with _worker(url, token) as connection:
        listed = connection.json("GET", "/v1/sessions")["sessions"]
        chosen = {found["id"]: found for found in (_of_id(listed, each) for each in ids)}
        for session in chosen.values():
            yield connection, session


def _of_id(listed: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    found = [session for session in listed if session["id"].startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    raise typer.BadParameter(
        f"{wanted} begins the ids of {len(found)} sessions: write more of it."
        if found
        else f"The worker has no session {wanted}; `memseg3d sessions list` shows those it has.",
        param_hint="ID",
    )


def _token(file: Path | None) -> str | None:
    """From a file or the environment; on a command line everybody on the computer could read it."""
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        # A device, or another file in its place, could be read without end.
        with file.open("rb") as stream:
            lines = stream.read(MOST_BYTES).decode().split()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f"No such file can be read: name the one that holds the token, or put the token into {TOKEN}. It is "
            "never written on a command line, where others could read it.",
            param_hint="--token",
        ) from error
    if not lines:
        raise typer.BadParameter(f"{file} is empty.", param_hint="--token")
    return lines[0]


def _print_table(sessions: list[dict[str, Any]], hours: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("session", "volume", "state", "used", "kept for")
    for one in sessions:
        idle, state = one["idle_seconds"], "damaged" if one["damaged"] else "computing" if one["running"] else "at rest"
        left = max(0.0, hours * 3600 - idle)
        table.add_row(one["id"], one["volume"][:12], state, f"{_span(idle)} ago", _span(left))
    Console().print(table)


def _span(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.0f} h"
