"""The command `memseg3d`: a table of its subcommands. What is heavy is imported inside them."""

from __future__ import annotations

from typing import Annotated

import typer

from memseg3d import __version__
from memseg3d.cli import about, batch, data, evaluate, models, plugins, refine, segment, serve, sessions, tokens, train

app = typer.Typer(
    name="memseg3d",
    help="Interactive 3D segmentation by SAM 2 memory propagation: the worker and its tools.",
    no_args_is_help=True,
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


app.command("serve")(serve.serve)
app.command("segment")(segment.segment)
app.command("refine")(refine.refine)
app.command("batch")(batch.batch)
# Its own arguments, --help among them, are the plug-in's.
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
app.command("export", context_settings=_PASSED_ON)(plugins.export)
app.command("about")(about.about)
app.add_typer(tokens.app, name="tokens")
app.add_typer(sessions.app, name="sessions")
app.add_typer(models.app, name="models")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(train.app, name="train")
app.add_typer(data.app, name="data")


if __name__ == "__main__":
    app()
