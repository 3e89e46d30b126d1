"""All prompts of a session as a set: adding, removing, sorting them by object and by slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from memseg3d.propagation.prompts.checks import check_prompt
from memseg3d.propagation.prompts.prompts import (
    MaskPrompt,
    Prompt,
    PromptError,
    StrokePrompt,
    is_drawing,
    is_positive,
    slices_of,
    with_id,
)

PromptsBySlice = Mapping[int, Sequence[Prompt]]
"""Prompts of each conditioning slice."""

PromptSet = dict[str, Prompt]
"""Prompts by id, in the order in which they were given."""


def with_ids(prompts: Sequence[Prompt], round_id: str) -> list[Prompt]:
    """The prompts, each with an id: its own, or one made of the round's id and its place."""
    return [
        prompt if prompt.id is not None else with_id(prompt, f"{round_id}/{place}")
        for place, prompt in enumerate(prompts)
    ]


def updated_set(
    current: Mapping[str, Prompt],
    added: Sequence[Prompt],
    removed: Sequence[str],
    shape: tuple[int, int, int],
    may_be_empty: bool = False,
) -> PromptSet:
    """The set after a round: `removed` ids go, `added` prompts (with ids) come. Raises `PromptError`.

    may_be_empty: the round does something else as well.
    """
    if not added and not removed and not may_be_empty:
        raise PromptError("The round has no prompt and removes none; add a point or a drawing.")
    unknown = [each for each in removed if each not in current]
    if unknown:
        raise PromptError(f"There is no prompt {unknown[0]!r} to remove; it may have been removed before.")
    gone = set(removed)
    result = {name: prompt for name, prompt in current.items() if name not in gone}
    for prompt in added:
        check_prompt(prompt, shape)
        name = str(prompt.id)
        if name in result:
            raise PromptError(f"The prompt id {name!r} is used twice; give every prompt its own.")
        result[name] = prompt
    for number in {prompt.object for prompt in added}:
        _check_axes([prompt for prompt in added if prompt.object == number], number)
    for number, prompts in by_object(result).items():
        if not any(is_positive(prompt) for prompt in prompts):
            raise PromptError(
                f"Object {number} has negative points only, or what says as little; add a positive point or a box."
            )
    return result


def by_object(prompts: Mapping[str, Prompt]) -> dict[int, list[Prompt]]:
    """Prompts of each object, in order."""
    result: dict[int, list[Prompt]] = {}
    for prompt in prompts.values():
        result.setdefault(prompt.object, []).append(prompt)
    return result


def propagation_axis(prompts: Sequence[Prompt], default: int | None) -> int:
    """The axis of the newest box, mask or other outline; without one, `default` or else that of the first prompt."""
    drawn = [prompt.axis for prompt in prompts if is_drawing(prompt)]
    if drawn:
        return drawn[-1]
    return prompts[0].axis if default is None else default


def by_slice(prompts: Sequence[Prompt], axis: int) -> dict[int, list[Prompt]]:
    """Prompts of each slice across `axis`: clicks and strokes on every slice that they touch, what outlines the object
    where it was drawn across this axis. In the order of the prompts, but slices that show the object come first: where
    it only is not can be told of an object that is known.
    """
    result: dict[int, list[Prompt]] = {}
    for prompt in prompts:
        for index in slices_of(prompt, axis):
            result.setdefault(index, []).append(prompt)
    return dict(sorted(result.items(), key=lambda each: not any(is_positive(prompt) for prompt in each[1])))


def lost_slices(before: Sequence[Prompt], now: Sequence[Prompt], axis: int, count: int) -> set[int]:
    """Slices across `axis` that lost a prompt of `before`: all `count` of them if it was drawn across another axis."""
    # Most are the very same objects; comparing each with all takes seconds for some thousands of clicks.
    same = {id(prompt) for prompt in now}
    gone = [prompt for prompt in before if id(prompt) not in same and prompt not in now]
    if any(is_drawing(prompt) and prompt.axis != axis for prompt in gone):
        return set(range(count))
    return {index for prompt in gone for index in slices_of(prompt, axis)}


def within_limits(slices: Mapping[int, list[Prompt]], limits: tuple[int, int]) -> dict[int, list[Prompt]]:
    """The prompted slices without what a stroke on another view says beyond the session's first and last slice.

    Raises `PromptError` where all that a prompt says lies beyond them.
    """
    kept = {index: prompts for index, prompts in slices.items() if limits[0] <= index <= limits[1]}
    inside = {prompt.id for prompts in kept.values() for prompt in prompts}
    for index in sorted(slices.keys() - kept.keys()):
        if any(prompt.id not in inside for prompt in slices[index]):
            raise PromptError(
                f"Slice {index} lies beyond the session's limits {limits[0]} to {limits[1]}; prompt within them."
            )
    return kept


def excluding_slices(slices: Mapping[int, Sequence[Prompt]], has_content: Callable[[int], bool]) -> set[int]:
    """Slices with nothing but negative strokes where the object is not yet: these tell what to leave out there, and not
    how the object looks.
    """
    return {
        index
        for index, prompts in slices.items()
        if all(isinstance(prompt, StrokePrompt) and not prompt.positive for prompt in prompts)
        and not has_content(index)
    }


def check_seen(added: Sequence[Prompt], axis: int) -> None:
    """Raise `PromptError` where a new mask says nothing on the slices along which its object is propagated."""
    for prompt in added:
        if isinstance(prompt, MaskPrompt) and not prompt.mask.any() and prompt.axis != axis:
            raise PromptError(
                f"Object {prompt.object} runs along axis {axis}: say on a slice across this axis that it is absent."
            )


def _check_axes(prompts: Sequence[Prompt], number: int) -> None:
    if len({prompt.axis for prompt in prompts if is_drawing(prompt)}) > 1:
        raise PromptError(f"Object {number} has boxes or masks on two axes in one round; send them in two rounds.")
