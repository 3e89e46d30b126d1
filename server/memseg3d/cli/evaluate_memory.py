"""`memseg3d evaluate memory`: every memory policy and bank mode on the same targets, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memseg3d.cli.early_checks import check_has_manifest, check_model
from memseg3d.cli.evaluate_extra import require_extra
from memseg3d.cli.folders import check_folder, make_folder
from memseg3d.cli.networks import DeviceOption, ModelOption, ModelsOption, PrecisionOption, ThreadsOption, open_network

if TYPE_CHECKING:
    from memseg3d.evaluation.ablation import Variant


def memory(
    data: Annotated[
        Path,
        typer.Option(envvar="MEMSEG3D_DATA", help="Folder of MANIFEST.json and <case>/image.nii.gz, label.nii.gz."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results; targets found there are not run again.")],
    policies: Annotated[
        list[str] | None,
        typer.Option("--policy", help="Only this memory policy; may be repeated. The first is compared with."),
    ] = None,
    banks: Annotated[
        list[str] | None, typer.Option("--bank", help="Only this bank mode, independent or shared; may be repeated.")
    ] = None,
    corrections: Annotated[int, typer.Option(min=0, max=50, help="Clicks after the box.")] = 1,
    cases: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    every_target: Annotated[
        bool, typer.Option("--every-target", help="All targets of a case, not only the one of median size.")
    ] = False,
    model: ModelOption = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """The robot user (a box, then clicks) with every memory policy, directions independent and with one shared bank.

    Writes memory.md (a table, with differences to the first variant in pairs) and memory.json. The folder that
    `evaluate hold-out` makes is a folder of cases as well.
    """
    require_extra()
    check_model(model, models)
    check_folder(out)
    check_has_manifest(data, "--data")
    from memseg3d.evaluation.ablation import run_ablation, write_ablation
    from memseg3d.evaluation.targets import find_cases
    from memseg3d.files import UnreadableFile
    from memseg3d.propagation.volume.errors import PropagationError

    variants = _variants(policies, banks)
    try:
        find_cases(data, cases)  # a wrong path is told before a network is loaded
        network = open_network(model, models, device, threads, precision=precision)
        make_folder(out)
        results = run_ablation(data, out, network, variants, corrections, cases, every_target, typer.echo)
    except (UnreadableFile, PropagationError) as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    if not results[variants[0]]:
        raise typer.BadParameter(f"No case of {data} has a target: nothing was compared.", param_hint="--data")
    report = write_ablation(out, results, network, corrections)
    typer.echo(report.read_text(encoding="utf-8"))
    typer.echo(f"Wrote {report}")


def _variants(policies: list[str] | None, banks: list[str] | None) -> list[Variant]:
    """Every policy in every bank mode, each once; the first of both comes first."""
    from typing import cast, get_args

    from memseg3d.evaluation.ablation import Variant
    from memseg3d.propagation.memory.policies import POLICIES
    from memseg3d.propagation.prompts.options import BankMode

    named = _known(policies, POLICIES, "--policy")
    modes = cast("list[BankMode]", _known(banks, get_args(BankMode), "--bank"))
    return [Variant(name, mode) for mode in modes for name in named]


def _known(wanted: list[str] | None, known: tuple[str, ...], option: str) -> list[str]:
    wrong = [name for name in wanted or () if name not in known]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is not one of {', '.join(known)}.", param_hint=option)
    return list(dict.fromkeys(wanted or known))
