"""Image features that a round is going to need, computed before it is asked for: outward from where the user draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.prompts import Prompt
from memseg3d.propagation.prompts.sets import PromptsBySlice
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.sight.feature_shelf import size_of
from memseg3d.propagation.sight.framing import Framing
from memseg3d.propagation.sight.regions import Extent, Region
from memseg3d.propagation.sight.view import View, first_region

SHARE = 0.5
"""Part of the store that may be filled ahead of need: what is needed must not be pushed out."""
CROPPED_SLICES = 8
"""A crop follows its object, so that slices further away are hardly seen through the first one."""


def whole_slices_ahead(session: Session) -> Iterator[None]:
    """Whole slices outward from the middle one, a slice a step; nothing for networks that look through crops or that
    must know the object first.
    """
    volume, options, info = session.volume, session.options, session.store.network.info
    crops = options.region == "crop" or (options.region == "auto" and info.prefers_crop)
    if crops or info.channels != 1:
        return iter(())
    axis = options.axis or 0
    first, last = options.limits(volume.shape[axis])
    framing = Framing(volume.slice_shape(axis), volume.slice_spacing(axis), info.image_size, crop=False)
    view = View(volume, axis, framing, (session.window,), session.store)
    region = Region.whole(view.slice_shape, framing.size)
    return _computed(view, [(index, region) for index in outward((first + last) // 2, first, last)])


def slices_ahead(session: Session, prompts: Sequence[Prompt]) -> Iterator[None]:
    """What a round with `prompts`, which may still be drawn, would look at first; a slice a step.

    First the prompted slices, then their neighbours outward. Raises `PromptError`, at once; changes nothing.
    """
    steps: list[Iterator[None]] = []
    for number, (view, slices) in session.foresee(prompts).items():
        known = session.labels(number) if number in session.objects else None
        steps.append(_computed(view, _wanted(session, view, slices, known)))
    return (each for walk in steps for each in walk)


def _wanted(
    session: Session, view: View, slices: PromptsBySlice, known: LabelVolume | None
) -> Iterator[tuple[int, Region]]:
    """Slices and regions that an object's prompted `slices` will need. One at a time: a stroke may touch them all."""
    first, last = session.options.limits(session.volume.shape[view.axis])
    for start, own in slices.items():
        mask = None if known is None else Extent.of_mask(known.slice(view.axis, start))
        region, _ = first_region(view.framing, view.axis, start, own, mask)
        reach = CROPPED_SLICES if view.framing.crop else last - first
        for index in outward(start, first, last, reach):
            yield index, region


def outward(start: int, first: int, last: int, reach: int | None = None) -> Iterator[int]:
    """`start`, then the slices on either side in turn, within `first` to `last` and at most `reach` away."""
    yield start
    for distance in range(1, (last - first if reach is None else reach) + 1):
        for index in (start + distance, start - distance):
            if first <= index <= last:
                yield index


def _computed(view: View, wanted: Iterable[tuple[int, Region]]) -> Iterator[None]:
    room = SHARE * view.store.capacity
    for index, region in wanted:
        if view.store.holds(view.volume, view.axis, index, region, view.windows):
            continue
        room -= size_of(view.features(index, region))
        yield
        if room <= 0:
            return
