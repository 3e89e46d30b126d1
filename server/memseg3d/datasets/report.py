"""What `memseg3d data check` says of a set: cases, labels, spacings, every broken pair."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from memseg3d.datasets.checking import CaseCheck
from memseg3d.datasets.description import DataSet, Fault

FAR_APART = 2.0
"""A case whose spacing is this many times the set's median, or less than its inverse, is named."""


@dataclass(frozen=True)
class Report:
    """The checks of a data set. is_quick: labels and grey values were not looked at."""

    data: DataSet
    checks: tuple[CaseCheck, ...]
    is_quick: bool = False

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Everything that is broken, those that the listing found first."""
        return (*self.data.faults, *(check.fault for check in self.checks if check.fault))

    @property
    def remarks(self) -> list[str]:
        """What is not broken and may still be wrong."""
        told = [*self.data.notes, *(remark for check in self.checks for remark in check.remarks)]
        return [*told, *self._mixed_spacings(), *self._labels_of_no_case()]

    def labels(self) -> dict[int, tuple[str, int, int]]:
        """Name, number of cases and voxels by label, in order."""
        cases: Counter[int] = Counter()
        voxels: Counter[int] = Counter()
        for check in self.checks:
            for value, number in check.labels.items():
                cases[value] += 1
                voxels[value] += number
        values = sorted(set(cases) | (set() if self.is_quick else set(self.data.label_names)))
        return {value: (self.data.label_names.get(value, ""), cases[value], voxels[value]) for value in values}

    def splits(self) -> dict[str, int]:
        """Cases by what they are for, those without labels apart; "no split" where nothing says it."""
        counts: Counter[str] = Counter()
        for check in self.checks:
            counts[(str(check.case.split) or "no split") + ("" if check.case.labels else ", without labels")] += 1
        return dict(counts)

    def spacings(self) -> dict[str, list[float]]:
        """Smallest, median and largest spacing (k, j, i) in mm; empty where none is known."""
        found = self._known_spacings()
        if not len(found):
            return {}
        return {
            "smallest": [float(s) for s in found.min(0)],
            "median": [float(s) for s in np.median(found, 0)],
            "largest": [float(s) for s in found.max(0)],
        }

    def words(self) -> list[str]:
        """The report in lines."""
        data = self.data
        lines = [f"{data.root}: {data.layout}, for {data.why}."]
        splits = ", ".join(f"{number} {name}" for name, number in self.splits().items())
        lines.append(f"{len(self.checks)} cases ({splits})." if splits else "No case that can be read.")
        shapes = sorted({check.shape for check in self.checks if check.shape})
        if shapes:
            ends = [min(shape[axis] for shape in shapes) for axis in range(3)]
            more = [max(shape[axis] for shape in shapes) for axis in range(3)]
            lines.append(f"Voxels (k x j x i): {_range(ends, more)}.")
        if spacing := self.spacings():
            shown = " x ".join(f"{s:.3g}" for s in spacing["median"])
            ranges = _range(spacing["smallest"], spacing["largest"])
            lines.append(f"Spacing (k x j x i): median {shown} mm, from {ranges} mm.")
        for value, (name, cases, voxels) in self.labels().items():
            lines.append(f"Label {value}{f' ({name})' if name else ''}: in {cases} cases, {voxels:,} voxels.")
        lines += [f"Note: {remark}" for remark in self.remarks]
        lines += [f"Broken: {fault.case}: {fault.reason}. {fault.sentence}" for fault in self.faults]
        looked = "headers were looked at" if self.is_quick else "everything was read"
        lines.append(f"{len(self.faults)} broken." if self.faults else f"Nothing is broken ({looked}).")
        return lines

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "root": str(self.data.root),
            "layout": self.data.layout,
            "why": self.data.why,
            "cases": [
                {
                    "name": check.case.name,
                    "split": str(check.case.split),
                    "patient": check.case.patient_or_name,
                    "modality": check.case.modality,
                    "shape": list(check.shape) if check.shape else None,
                    "spacing": list(check.spacing) if check.spacing else None,
                    "labels": {str(value): number for value, number in check.labels.items()},
                }
                for check in self.checks
            ],
            "labels": {str(v): {"name": n, "cases": c, "voxels": x} for v, (n, c, x) in self.labels().items()},
            "spacings": self.spacings(),
            "faults": [{"case": f.case, "reason": str(f.reason), "sentence": f.sentence} for f in self.faults],
            "notes": self.remarks,
        }

    def _known_spacings(self) -> np.ndarray:
        return np.array([check.spacing for check in self.checks if check.spacing], dtype=float).reshape(-1, 3)

    def _mixed_spacings(self) -> list[str]:
        """Cases far from the set's median; a set of two has none."""
        found = self._known_spacings()
        if len(found) < 3:
            return []
        median = np.median(found, 0)
        told = []
        for check in self.checks:
            if check.spacing and (np.abs(np.log(np.array(check.spacing) / median)) > np.log(FAR_APART)).any():
                shown = " x ".join(f"{s:.3g}" for s in check.spacing)
                told.append(f"Mixed spacings: {check.case.image.shown} has {shown} mm, far from the set's median.")
        return told

    def _labels_of_no_case(self) -> list[str]:
        return [
            f"Label {value} ({name}) is named by the set and occurs in no case."
            for value, (name, cases, _) in self.labels().items()
            if cases == 0 and any(check.labels for check in self.checks)
        ]


def _range(low: list[Any], high: list[Any]) -> str:
    return " x ".join(f"{a:.4g}" if a == b else f"{a:.4g} to {b:.4g}" for a, b in zip(low, high, strict=True))
