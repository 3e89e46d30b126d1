"""`memseg3d tokens`: who may use a worker; a worker that runs sees every change at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from memseg3d.cli.early_checks import check_exists
from memseg3d.service.users.token_file import TokenFile, TokenFileError

app = typer.Typer(help="Who may use a worker: add, list and revoke users' own tokens.", no_args_is_help=True)

FileOption = Annotated[
    Path, typer.Option("--tokens", envvar="MEMSEG3D_TOKENS", help="The file that `memseg3d serve --tokens` reads.")
]
NameArgument = Annotated[str, typer.Argument(help="The user: letters, digits, dots, dashes, _ and @.")]


@app.command()
def add(
    name: NameArgument,
    tokens: FileOption,
    role: Annotated[
        Literal["user", "administrator"],
        typer.Option(help="Administrators also read the counts of all users; nobody reads another's work."),
    ] = "user",
) -> None:
    """Print a new token for a user. It is shown once: the file holds its hash alone.

    What a user had on the worker is opened by the next token of the same name; so give a name to one person only.
    """
    try:
        typer.echo(TokenFile(tokens).add(name, role))
    except TokenFileError as error:
        raise _refused(error) from error


@app.command("list")
def list_tokens(tokens: FileOption) -> None:
    """Who has a token, and who had one."""
    check_exists(tokens, "--tokens")
    try:
        entries = TokenFile(tokens).entries()
    except TokenFileError as error:
        raise _refused(error) from error
    for each in entries:
        ended = "" if each.revoked is None else f"  revoked {_day(each.revoked)}"
        typer.echo(f"{each.name:24} {each.role:13}  since {_day(each.since)}{ended}")


@app.command()
def revoke(name: NameArgument, tokens: FileOption) -> None:
    """End a user's token at once. What they have on the worker stays for its retention time."""
    try:
        TokenFile(tokens).revoke(name)
    except TokenFileError as error:
        raise _refused(error) from error
    typer.echo(f"The token of {name} counts no more.")


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _refused(error: TokenFileError) -> typer.Exit:
    typer.echo(f"memseg3d tokens: {error}", err=True)
    return typer.Exit(2)
