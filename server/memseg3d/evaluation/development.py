"""The development set: real targets in groups, on which candidates are compared; never trained on, never the judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from memseg3d.datasets.training_data import DevelopmentTarget, development_groups, read_development_case
from memseg3d.evaluation.results import Protocol, TargetResult
from memseg3d.evaluation.rounds import Start, run_cases
from memseg3d.evaluation.targets import Case, Target

Groups = Mapping[str, Sequence[DevelopmentTarget]]
Values = Mapping[str, Mapping[str, Sequence[float]]]
"""Numbers of targets by group and case."""
DRAWS = 4000


def chosen_groups(data: Path, half: bool = False) -> dict[str, list[DevelopmentTarget]]:
    """The groups of the development set in folder `data`. half: of each group every second case, the first among them.

    Raises `UnreadableFile`.
    """
    groups = development_groups(data)
    if not half:
        return groups
    kept = {name: set(sorted({each.case for each in targets})[::2]) for name, targets in groups.items()}
    return {name: [each for each in targets if each.case in kept[name]] for name, targets in groups.items()}


def run_development(
    data: Path, groups: Groups, out: Path, start: Start, protocol: Protocol, say: Callable[[str], None] = lambda _: None
) -> list[TargetResult]:
    """Run the robot over the targets of groups; resumes as `run_cases` does. Raises `UnreadableFile`."""
    return run_cases(development_cases(data, groups), out, start, protocol, say)


def development_cases(data: Path, groups: Groups) -> Iterator[tuple[Case, list[Target]]]:
    """Every case with a target of the groups, and these, read one after the other. Raises `UnreadableFile`."""
    wanted: dict[str, list[DevelopmentTarget]] = {}
    for target in (each for targets in groups.values() for each in targets):
        wanted.setdefault(target.case, []).append(target)
    for name, targets in wanted.items():
        image, labels = read_development_case(data, name)
        sizes = {target.label: int(np.count_nonzero(labels == target.label)) for target in targets}
        case = Case(name, targets[0].modality, image, labels)
        yield case, [Target(name, label, targets[0].modality, voxels) for label, voxels in sizes.items()]


def grouped(values: Mapping[str, float], groups: Groups) -> dict[str, dict[str, list[float]]]:
    """Numbers by "case/label" as numbers by group and case; targets without one are left out."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, targets in groups.items():
        for target in targets:
            key = f"{target.case}/{target.label}"
            if key in values:
                found.setdefault(name, {}).setdefault(target.case, []).append(values[key])
    return found


def mean_of_groups(values: Values) -> float:
    """Mean over groups of the mean over their targets."""
    return float(np.mean([np.mean([each for case in cases.values() for each in case]) for cases in values.values()]))


def interval_by_case(values: Values, draws: int = DRAWS) -> tuple[float, float]:
    """95 % interval of `mean_of_groups` when the cases of every group are drawn with replacement; seeded.

    A group of one case has no spread of its own: the interval tells of new cases of these groups, not of new groups.
    """
    rng = np.random.default_rng(0)
    total = np.zeros(draws)
    for cases in values.values():
        sums = np.array([sum(case) for case in cases.values()])
        counts = np.array([len(case) for case in cases.values()])
        drawn = rng.integers(0, len(cases), (draws, len(cases)))
        total += sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(total / len(values), [2.5, 97.5])
    return float(low), float(high)
