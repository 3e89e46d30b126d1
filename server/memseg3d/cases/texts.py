"""Prompts as short texts: liver:60,40,30,60,110,120 is a box, liver:+60,70,80 or liver+:60,70,80 a point inside."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from memseg3d.cases.drafts import Draft, Kind
from memseg3d.cases.errors import CaseError
from memseg3d.cases.orders import KJI, Order, Point3


def box_form(order: Order = KJI) -> str:
    """How a box is written: NAME:k0,j0,i0,k1,j1,i1."""
    return "NAME:" + ",".join(f"{letter}{end}" for end in (0, 1) for letter in order.letters)


def point_form(order: Order = KJI) -> str:
    """How a point is written: NAME:+k,j,i."""
    place = ",".join(order.letters)
    if order.in_mm:
        return f"NAME+:{place} or NAME-:{place}"
    return f"NAME:+{place} or NAME:-{place}"


def line_form(order: Order = KJI) -> str:
    """How a stroke or lasso is written: NAME:+k,j,i;k,j,i;..."""
    place = ",".join(order.letters)
    return f"NAME+:{place};{place};..." if order.in_mm else f"NAME:+{place};{place};..."


def drafts_of(
    boxes: Sequence[str] = (),
    points: Sequence[str] = (),
    scribbles: Sequence[str] = (),
    lassos: Sequence[str] = (),
    extremes: Sequence[str] = (),
    order: Order = KJI,
    width: float | None = None,
) -> list[Draft]:
    """What the texts of a command line say, nothing of the volume being known yet. Raises `CaseError`.

    width: of the scribbles in mm; None: two voxels.
    """
    readers: list[tuple[Sequence[str], Callable[[str, Order], Draft]]] = [
        (boxes, _box),
        (scribbles, lambda text, order: _line(text, order, "scribble", width)),
        (lassos, lambda text, order: _line(text, order, "lasso")),
        (extremes, _extreme),
        (points, _point),
    ]
    return [read(text, order) for texts, read in readers for text in texts]


def _box(text: str, order: Order) -> Draft:
    name, numbers = _parts(text, "--box", box_form(order))
    a, b, c, d, e, f = _floats(numbers, 6, text, "--box", box_form(order))
    return Draft("box", name, ((a, b, c), (d, e, f)), order=order, said=text, option="--box")


def _point(text: str, order: Order) -> Draft:
    form = point_form(order)
    name, positive, numbers = _signed(text, "--point", form, order)
    a, b, c = _floats(numbers, 3, text, "--point", form)
    return Draft("point", name, ((a, b, c),), positive, order, text, "--point")


def _line(text: str, order: Order, kind: Kind, width: float | None = None) -> Draft:
    option, form = f"--{kind}", line_form(order)
    name, positive, numbers = _signed(text, option, form, order)
    return Draft(kind, name, _places(numbers, text, option, form), positive, order, text, option, width)


def _extreme(text: str, order: Order) -> Draft:
    form = "NAME:" + ";".join([",".join(order.letters)] * 4)
    name, numbers = _parts(text, "--extreme", form)
    return Draft("extreme_points", name, _places(numbers, text, "--extreme", form), True, order, text, "--extreme")


def _places(numbers: str, text: str, option: str, form: str) -> tuple[Point3, ...]:
    places = []
    for part in numbers.split(";"):
        a, b, c = _floats(part, 3, text, option, form)
        places.append((a, b, c))
    return tuple(places)


def _signed(text: str, option: str, form: str, order: Order) -> tuple[str, bool, str]:
    """Name, sign and numbers; the sign stands before the numbers, or before the colon where numbers may be negative."""
    name, numbers = _parts(text, option, form)
    if name[-1] in "+-" and name[:-1].strip() and numbers[:1] != "+":
        return name[:-1].strip(), name[-1] == "+", numbers
    if numbers[:1] not in ("+", "-") or order.in_mm:
        raise CaseError(f"{text}: put + (belongs to the segment) or - (does not) where it stands in {form}.", option)
    return name, numbers[0] == "+", numbers[1:]


def _parts(text: str, option: str, form: str) -> tuple[str, str]:
    name, colon, numbers = text.rpartition(":")
    if not colon or not name.strip():
        raise CaseError(f"{text}: write {form}.", option)
    return name.strip(), numbers.strip()


def _floats(text: str, count: int, whole: str, option: str, form: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise CaseError(f"{whole}: write {count} numbers, {form}.", option)
    return values
