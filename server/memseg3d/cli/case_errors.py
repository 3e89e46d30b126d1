"""How commands end: sentences of cases as errors of the command line, questions on a terminal, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from memseg3d.cases.errors import CaseError

FAILED, REFUSED, QUESTIONED, ELSEWHERE = 1, 2, 3, 4
"""Exit codes: it failed; it was asked for wrongly; it looks like a mistake; results lie in another folder."""


@contextmanager
def told() -> Iterator[None]:
    """Errors of cases become errors of the command line, with the option that they are about."""
    try:
        yield
    except CaseError as error:
        raise typer.BadParameter(str(error), param_hint=error.about) from error


def ask(questions: Sequence[str], is_sure: bool) -> None:
    """Go on only where the user is sure: by --yes, or by an answer on a terminal; else end with exit code 3."""
    if not questions or is_sure:
        return
    for question in questions:
        typer.echo(question, err=True)
    if sys.stdin.isatty():
        if typer.confirm("Go on?", err=True):
            return
    else:
        typer.echo("Nothing was computed; --yes goes on.", err=True)
    raise typer.Exit(QUESTIONED)
