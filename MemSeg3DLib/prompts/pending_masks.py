"""Mask prompts that were collected and not run yet: kept in the scene beside their segmentation, saved with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Iterable
from typing import Any

from MemSeg3DLib.base.packing import pack_bits, unpack_bits
from MemSeg3DLib.prompts.prompts import MaskPrompt

log = logging.getLogger(__name__)

ROLE = "MemSeg3D.Masks"
"""Role of the reference from a segmentation node to the text node with its pending masks."""

_LARGEST = 2**31


class PendingMasks:
    """The pending masks of every segmentation. Main thread only; the scene holds the only copy, read once a change."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Any, int, list[MaskPrompt]]] = {}

    def of(self, segmentation_node: Any) -> list[MaskPrompt]:
        """In the order in which they were given; those that cannot be read are left out."""
        text_node = segmentation_node.GetNodeReference(ROLE)
        if text_node is None:
            return []
        known = self._read.get(text_node.GetID())
        if known is None or known[0] is not text_node or known[1] != text_node.GetMTime():
            known = (text_node, text_node.GetMTime(), masks_from_text(str(text_node.GetText() or "")))
            self._read[text_node.GetID()] = known
        return list(known[2])

    def add(self, segmentation_node: Any, masks: Iterable[MaskPrompt]) -> None:
        """Keep some more."""
        store_masks(segmentation_node, masks_to_text([*self.of(segmentation_node), *masks]))

    def remove(self, segmentation_node: Any, ids: Container[str]) -> None:
        """Let those with these ids go."""
        held = self.of(segmentation_node)
        left = [one for one in held if one.id not in ids]
        if len(left) != len(held):
            store_masks(segmentation_node, masks_to_text(left))


def masks_to_text(masks: Iterable[MaskPrompt]) -> str:
    """Masks as JSON; empty for none."""
    stored = [
        {
            "id": one.id,
            "segment": one.segment_id,
            "axis": one.axis,
            "index": one.index,
            "shape": [int(n) for n in one.mask.shape],
            "bits": pack_bits(one.mask),
        }
        for one in masks
    ]
    return json.dumps({"version": 1, "masks": stored}, separators=(",", ":")) if stored else ""


def masks_from_text(text: str) -> list[MaskPrompt]:
    """The inverse of `masks_to_text`; a mask that cannot be read is left out, so that the scene still opens."""
    try:
        stored = json.loads(text)["masks"] if text else []
        return [one for words in stored if (one := _mask(words)) is not None]
    except (ValueError, KeyError, TypeError):
        log.warning("the pending masks of a segmentation cannot be read and are ignored")
        return []


def _mask(words: dict[str, Any]) -> MaskPrompt | None:
    try:
        rows, columns = (int(n) for n in words["shape"])
        if rows < 1 or columns < 1 or rows * columns > _LARGEST:
            raise ValueError("no shape of a slice")
        mask = unpack_bits(words["bits"], (rows, columns))
        return MaskPrompt(str(words["segment"]), mask, int(words["index"]), int(words["axis"]), str(words["id"]))
    except (ValueError, KeyError, TypeError):
        log.warning("a pending mask of a segmentation cannot be read and is ignored")
        return None


def masks_text(segmentation_node: Any) -> str:
    """The pending masks of a segmentation as the scene keeps them; empty where it has none."""
    text_node = segmentation_node.GetNodeReference(ROLE)
    return "" if text_node is None else str(text_node.GetText() or "")


def store_masks(segmentation_node: Any, text: str) -> None:
    """Keep the pending masks of a segmentation in the scene; an empty text lets go of all."""
    text_node = segmentation_node.GetNodeReference(ROLE)
    if not text:
        if text_node is not None:
            text_node.GetScene().RemoveNode(text_node)
        return
    if text_node is None:
        name = f"{segmentation_node.GetName()} masks"
        text_node = segmentation_node.GetScene().AddNewNodeByClass("vtkMRMLTextNode", name)
        text_node.SetHideFromEditors(True)
        segmentation_node.SetNodeReferenceID(ROLE, text_node.GetID())
    text_node.SetText(text)
