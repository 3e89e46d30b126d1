"""The labels of a case as a conversion wants them: all, merged, or some numbered anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.datasets.conversion.options import Options
from memseg3d.datasets.description import Case
from memseg3d.datasets.errors import BrokenCase
from memseg3d.datasets.sources.base import as_labels


def read_labels(case: Case) -> NDArray[Any]:
    """Labels (k, j, i) as they are, uint8 or uint16. Raises `BrokenCase` where the case has none, `UnreadableFile`."""
    if case.labels is None:
        raise BrokenCase(f"{case.image.shown} has no labels.")
    return as_labels(case.labels.read(), case.labels.shown)


def chosen_labels(case: Case, options: Options) -> NDArray[Any]:
    """Labels (k, j, i), uint8 or uint16. Raises `BrokenCase` where the case has none, `UnreadableFile`."""
    labels = read_labels(case)
    if options.labels:
        table = np.zeros(int(np.iinfo(labels.dtype).max) + 1, np.uint16 if len(options.labels) > 255 else np.uint8)
        for number, label in enumerate(options.labels, 1):
            if label < len(table):
                table[label] = number
        labels = table[labels]
    return (labels > 0).astype(np.uint8) if options.merge_labels else labels


def chosen_channel(case: Case, options: Options) -> Case:
    """The case with the one image that was asked for. Raises `BrokenCase` where it has none of that name or number."""
    if not options.channel:
        return case
    names = [name.lower() for name in case.channels]
    if options.channel.lower() in names:
        place = names.index(options.channel.lower())
    elif options.channel.isdecimal() and int(options.channel) < len(case.images):
        place = int(options.channel)
    else:
        known = ", ".join(case.channels) or f"numbers below {len(case.images)}"
        raise BrokenCase(f"{case.image.shown} has no channel {options.channel}; the case has {known}.")
    return replace(case, images=(case.images[place],), channels=case.channels[place : place + 1])


def chosen_names(names: Mapping[int, str], options: Options) -> dict[int, str]:
    """Names by the numbers that labels have after the conversion."""
    if options.merge_labels:
        return {1: "all labels"} if names else {}
    if options.labels:
        return {number: names[label] for number, label in enumerate(options.labels, 1) if label in names}
    return dict(names)
