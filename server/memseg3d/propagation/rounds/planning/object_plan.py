"""One object's plan for a round: its prompts, the session's options, boxes in space and the round's limits together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.limits import SliceLimits, box_limits
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import Prompt, is_drawing
from memseg3d.propagation.prompts.sets import by_slice, excluding_slices, within_limits
from memseg3d.propagation.rounds.planning.plan import Plan, plan_round, plan_within_ends, plan_within_limits
from memseg3d.propagation.rounds.records.object_states import ObjectState, waiting_slices
from memseg3d.propagation.rules.reach import within_reach
from memseg3d.propagation.sight.other_axes import crossing_drawings, redrawn_slices
from memseg3d.propagation.volume.volume import Volume


def plan_object(
    prompts: Sequence[Prompt],
    axis: int,
    before: ObjectState | None,
    labels: LabelVolume,
    volume: Volume,
    options: Options,
    bounds: SliceLimits | None,
) -> Plan:
    """What the round computes of an object whose prompts then are `prompts`, propagated along `axis`.

    before: the object as the last round left it along the same axis, None where it is computed afresh; labels: its
    labelmap; bounds: the round's limits. Raises `PromptError`.
    """
    whole = options.limits(volume.shape[axis])
    said = within_limits(by_slice(prompts, axis), whole)
    content = set() if before is None else set(labels.slices_with_content(axis).tolist())
    exclusions = excluding_slices(said, content.__contains__)
    slices = {index: each for index, each in said.items() if index not in exclusions}
    known = {} if before is None else within_limits(before.slices, whole)
    known = {index: each for index, each in known.items() if index not in exclusions or each != said[index]}
    if before is not None:
        known = {index: each for index, each in known.items() if index not in before.waiting}
    stored = {} if before is None else before.stored
    for index in waiting_slices(before, prompts, axis, bounds) - stored.keys() - content:
        # Remembered as it is, the slice would say that the object is absent there.
        slices.pop(index, None)
    reached = within_reach(slices, whole, axis, options.reach, volume)
    confined = box_limits(prompts, axis, volume.shape[axis])
    moved = (False, False)
    if before is not None:
        # What a prompt that is taken back had carried further is left out below; what is new must be walked to.
        earlier = within_reach(known, whole, axis, options.reach, volume)
        earlier_box = box_limits(before.prompts, axis, volume.shape[axis]) or whole
        low, high = (here != there for here, there in zip(confined or whole, earlier_box, strict=True))
        moved = low or reached[0] < earlier[0], high or reached[1] > earlier[1]
    limits = max(reached[0], (confined or whole)[0]), min(reached[1], (confined or whole)[1])
    crossed = crossing_drawings(prompts, axis, volume.shape)
    earlier_crossed = crossed if before is None else crossing_drawings(before.prompts, axis, volume.shape)
    plan = plan_round(known, slices, limits, before is None, moved, redrawn_slices(earlier_crossed, crossed, axis))
    outlined = any(is_drawing(prompt) for prompt in plan.added)
    if before is not None and content and not plan.withdrew and not outlined:
        # Clicks correct ends that the user has seen; what is outlined anew may be larger than all that was found.
        plan = plan_within_ends(plan, min(content), max(content), before.cuts)
    confined_to = None if limits == (0, volume.shape[axis] - 1) else limits
    places = {id(prompt): place for place, prompt in enumerate(prompts)}
    newest_prompts = {index: max(places[id(each)] for each in slices[index]) for index in slices}
    plan = replace(plan, confined_to=confined_to, exclusions={index: said[index] for index in exclusions})
    plan = replace(plan, crossings=crossed, newest_prompts=newest_prompts, session_limits=whole)
    if bounds is not None:
        plan = plan_within_limits(plan, bounds, axis, lambda index: bool(labels.slice(axis, index).any()))
    return plan if before is None else _with_waiting(plan, before)


def _with_waiting(plan: Plan, before: ObjectState) -> Plan:
    """The plan with the prompts of slices that waited for this round among those that it adds."""
    late = [prompt for index in plan.decode if index in before.waiting for prompt in plan.slices[index]]
    added = {prompt.id: prompt for prompt in (*plan.added, *late)}
    return replace(plan, added=tuple(added.values()))
