"""The command `memseg3d`: a table of its subcommands, each imported and built when it is asked for."""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from memseg3d import __version__

log = logging.getLogger(__name__)

REFUSED = 2
"""Exit code of what was asked for wrongly, as in `case_errors`, which takes longer to import."""
PLAIN = None
"""Help and errors without boxes: drawing these takes longer than all else that `--help` does."""


@dataclass(frozen=True)
class Entry:
    """Where a subcommand lies: a function, or a `Typer` of several, in a module of `memseg3d.cli`; and what it does."""

    module: str
    name: str
    summary: str
    """What the list of commands says of it: the first sentence of its own help."""
    context: dict[str, Any] | None = None
    """Settings of its context."""

    def built(self, name: str) -> Any:
        """The command itself, as typer makes it."""
        found = getattr(import_module(f"memseg3d.cli.{self.module}"), self.name)
        if isinstance(found, typer.Typer):
            found.rich_markup_mode = PLAIN
            command: Any = typer.main.get_group(found)
        else:
            alone = typer.Typer(add_completion=False, rich_markup_mode=PLAIN)
            alone.command(name, context_settings=self.context)(found)
            command = typer.main.get_command(alone)
        command.name = name
        return command


# Its own arguments, --help among them, are the plug-in's.
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
ENTRIES = {
    "serve": Entry("serve", "serve", "Serve the wire protocol."),
    "segment": Entry("segment", "segment", "Segment a volume from prompts, one round; every NAME is one segment."),
    "refine": Entry("refine", "refine", "Correct a segmentation: add prompts as another round, or take one back."),
    "batch": Entry("batch", "batch", "Segment many volumes by their own prompts, in one process."),
    "export": Entry("plugins", "export", "Write a labelmap as DICOM-SEG", _PASSED_ON),
    "about": Entry("about", "about", "Print one JSON object: version, protocols, python, torch, machine"),
    "tokens": Entry("tokens", "app", "Who may use a worker: add, list and revoke users' own tokens."),
    "sessions": Entry("sessions", "app", "What a worker keeps: list its sessions, end a round that runs, delete."),
    "models": Entry("models", "app", "The models that are found by name; fetch public ones, add one from a file"),
    "evaluate": Entry("evaluate", "app", "Judge a model on volumes with truth."),
    "train": Entry("train", "app", "Train networks."),
    "data": Entry("data", "app", "Check, convert and split data sets."),
}


class Table(TyperGroup):
    """The subcommands; building them all would take longer than most of them do."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the help."""
        return list(ENTRIES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The subcommand of a name; None where there is none."""
        if cmd_name in ENTRIES and cmd_name not in self.commands:
            self.commands[cmd_name] = ENTRIES[cmd_name].built(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of them, from the table: none is imported for that."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in ENTRIES.items()])

    def invoke(self, ctx: Any) -> Any:
        """Run it. What no command expects of the computer (a full disk, too little memory) is a sentence, code 1; so is
        what it expects of no file, code 2.
        """
        try:
            return super().invoke(ctx)
        except ValueError as error:
            # Those of this package are sentences for the user, such as UnreadableFile's.
            if type(error).__module__.partition(".")[0] != "memseg3d":
                raise
            log.debug("a command failed", exc_info=True)
            typer.echo(f"memseg3d: {error}", err=True)
            raise typer.Exit(REFUSED) from error
        except (OSError, MemoryError) as error:
            # A reader that went away (`| head`) is no failure; the library ends on it quietly.
            if isinstance(error, BrokenPipeError):
                raise
            log.debug("a command failed", exc_info=True)
            typer.echo(f"memseg3d: {_said(error)}", err=True)
            raise typer.Exit(1) from error


def _said(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return "The memory does not suffice; take a smaller volume, or a computer with more."
    where = error.filename or "a file"
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG):
        return f"The disk is full: {where} could not be written; make room and run it again."
    return f"{where} cannot be read or written ({error.strerror or error}); check the path and who may use it."


app = typer.Typer(
    name="memseg3d",
    cls=Table,
    help="Interactive 3D segmentation by SAM 2 memory propagation: the worker and its tools.",
    no_args_is_help=True,
    rich_markup_mode=PLAIN,
    pretty_exceptions_show_locals=False,  # locals would show voxels and names of files
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"memseg3d {__version__}")
        raise typer.Exit()


@app.callback()
def memseg3d(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Interactive 3D segmentation by SAM 2 memory propagation: the worker and its tools."""


if __name__ == "__main__":
    app()
