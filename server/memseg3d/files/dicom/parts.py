"""What belongs together in a DICOM folder: series, and the parts of a series that could each be one volume."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from memseg3d.files.dicom.headers import Plane

SAME_DIRECTION = 1e-3
"""How far cosines may differ within a part: scanners and anonymisers write them with noise."""
SAME_SPACING = 1e-3
"""Relative."""
SAME_PLACE = 0.1
"""In shares of the mean distance between planes, never more than half a pixel."""
UNITS = {"echo time": " ms", "inversion time": " ms", "trigger time": " ms", "flip angle": " degrees"}


@dataclass(frozen=True)
class Part:
    """Planes of one series on grids of one kind, at most one a position where the headers tell them apart.

    label: what sets them apart from others of the same series; empty where there are none.
    """

    planes: tuple[Plane, ...]
    label: str = ""

    @property
    def series(self) -> str:
        """Its Series Instance UID."""
        return self.planes[0].series

    @property
    def name(self) -> str:
        """How messages name the part, without the number of its images."""
        first = self.planes[0]
        words = f"{first.modality or 'Image'} series {first.number or first.series or 'without a number'}"
        words += f" '{first.description}'" if first.description else ""
        return f"{words}{f', {self.label}' if self.label else ''}"

    @property
    def title(self) -> str:
        """The name with the number of images."""
        count = len(self.planes)
        return f"{self.name} ({count} {'image' if count == 1 else 'images'})"


def named(parts: Sequence[Part], wanted: str) -> list[Part]:
    """Those that `wanted` names: by UID, number, description, title or label, else by words that the title holds."""
    name = _plain(wanted)
    exact = [one for one in parts if name in _names(one)]
    return exact or [one for one in parts if len(name) > 2 and name in _plain(one.title)]


def _names(part: Part) -> set[str]:
    first = part.planes[0]
    names = {first.series, first.number, first.description, part.name, part.title, part.label}
    for piece in part.label.split(", "):
        names |= {piece, piece.rpartition(" ")[2]}
    return {_plain(one) for one in names} - {""}


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("\\", " ").split())


def parts_of(planes: Iterable[Plane]) -> list[Part]:
    """Every part, the one with the most planes first."""
    series = _groups(planes, lambda one: one.series)
    parts = [part for members in series for part in _parts_of_series(members)]
    return sorted(parts, key=lambda part: (-len(part.planes), _number(part.planes[0].number), part.series))


def _parts_of_series(planes: list[Plane]) -> list[Part]:
    parts = []
    owners = sorted(_groups(planes, lambda one: one.owner), key=lambda group: group[0].owner)
    patients = sorted({group[0].owner[0] for group in owners})
    for number, group in enumerate(owners, 1):
        owner = ""
        if len(owners) > 1:
            owner = f"patient {patients.index(group[0].owner[0]) + 1}" if len(patients) > 1 else f"study {number}"
        grids = _grids(group)
        for grid, members in zip(_grid_labels(grids), grids, strict=True):
            for mark, separate in separated(members):
                label = ", ".join(word for word in (owner, grid, mark) if word)
                parts.append(Part(tuple(separate), label))
    return parts


def _groups(planes: Iterable[Plane], key: Callable[[Plane], Hashable]) -> list[list[Plane]]:
    found: dict[Hashable, list[Plane]] = {}
    for one in planes:
        found.setdefault(key(one), []).append(one)
    return list(found.values())


def _grids(planes: list[Plane]) -> list[list[Plane]]:
    """Planes of one size, pixel spacing, direction and frame of reference, by distance: nothing is rounded."""
    groups: list[list[Plane]] = []
    for one in planes:
        group = next((group for group in groups if _alike(group[0], one)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def _alike(one: Plane, other: Plane) -> bool:
    plain = (one.size, one.components, one.reference, one.unplaced_frames, bool(one.position))
    if plain != (other.size, other.components, other.reference, other.unplaced_frames, bool(other.position)):
        return False
    return _near(one.orientation, other.orientation, SAME_DIRECTION, 0) and _near(
        one.spacing, other.spacing, 0, SAME_SPACING
    )


def _near(one: tuple[float, ...], other: tuple[float, ...], absolute: float, relative: float) -> bool:
    return len(one) == len(other) and bool(np.allclose(one, other, rtol=relative, atol=absolute))


def _grid_labels(groups: list[list[Plane]]) -> list[str]:
    """What sets the grids of a series apart, in words that are all different."""
    if len(groups) == 1:
        return [""]
    firsts = [group[0] for group in groups]
    kinds: list[list[str]] = [
        [f"{one.size[1]} x {one.size[0]}" for one in firsts],
        [_direction(one.orientation) for one in firsts],
        [f"pixels of {one.spacing[1]:g} x {one.spacing[0]:g} mm" if one.spacing else "" for one in firsts],
        ["colour" if one.components > 1 else "" for one in firsts],
        ["without a position" if not one.position else "" for one in firsts],
    ]
    telling = [kind for kind in kinds if len(set(kind)) > 1]
    labels = [", ".join(word for word in words if word) for words in zip(*telling, strict=True)] or [""] * len(groups)
    return [
        label if labels.count(label) == 1 else ", ".join(word for word in (label, f"stack {number}") if word)
        for number, label in enumerate(labels, 1)
    ]


def _direction(orientation: tuple[float, ...]) -> str:
    if not orientation:
        return ""
    normal = np.abs(np.cross(orientation[:3], orientation[3:]))
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def separated(group: list[Plane]) -> list[tuple[str, list[Plane]]]:
    """Planes of several time points, echoes or the like apart, with a label each, so that one is left a position."""
    most = _most_at_one_position(group)
    if most < 2:
        return [("", group)]
    telling = [name for name in group[0].marks if len({one.marks.get(name, "") for one in group}) > 1]
    for count in (1, 2, 3):
        for names in itertools.combinations(telling, count):
            split = _groups(group, lambda one, names=names: tuple(one.marks.get(name, "") for name in names))  # type: ignore[misc]
            if len(split) <= most and all(_most_at_one_position(members) < 2 for members in split):
                split.sort(key=lambda members: [_number(members[0].marks.get(name, "")) for name in names])
                return list(zip(_mark_labels(split, names), split, strict=True))
    return _by_time(group, most)


def _mark_labels(split: list[list[Plane]], names: tuple[str, ...]) -> list[str]:
    columns = []
    for name in names:
        values = [members[0].marks.get(name, "") for members in split]
        words = [value.split("\\") for value in values]
        if len({len(one) for one in words}) == 1 and len(words[0]) > 1:
            # Of a list of values only those that differ.
            differ = [n for n in range(len(words[0])) if len({one[n] for one in words}) > 1]
            values = ["\\".join(one[n] for n in differ) for one in words]
        columns.append([f"{name} {value or 'unknown'}{UNITS.get(name, '') if value else ''}" for value in values])
    return [", ".join(words) for words in zip(*columns, strict=True)]


def _by_time(group: list[Plane], most: int) -> list[tuple[str, list[Plane]]]:
    """Phases in the order of their times, where every position has as many images and their times differ."""
    places = _places(group)
    telling = len({len(place) for place in places}) == 1 and all(
        len({one.times for one in place}) == len(place) for place in places
    )
    if not telling:
        return [("", group)]
    ordered = [sorted(place, key=lambda one: [_number(time) for time in one.times]) for place in places]
    return [(f"phase {n + 1}", [place[n] for place in ordered]) for n in range(most)]


def _most_at_one_position(group: list[Plane]) -> int:
    return max(len(place) for place in _places(group))


def _places(group: list[Plane]) -> list[list[Plane]]:
    """Planes by their height along the normal; those without a place are each alone."""
    first = group[0]
    if len(first.position) != 3 or len(first.orientation) != 6:
        return [[one] for one in group]
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    heights = np.array([one.position for one in group]) @ normal
    order = np.argsort(heights, kind="stable")
    extent = float(heights[order[-1]] - heights[order[0]])
    near = SAME_PLACE * extent / max(1, len(group) - 1)
    if first.spacing:
        near = min(near, 0.5 * min(first.spacing))
    places = [[group[order[0]]]]
    for before, here in itertools.pairwise(order):
        if heights[here] - heights[before] <= near:
            places[-1].append(group[here])
        else:
            places.append([group[here]])
    return places


def _number(text: str) -> tuple[int, float, str]:
    """A key by which numbers go before words, and in their own order."""
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text
