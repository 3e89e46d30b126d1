"""A thin base of scripted Segment Editor effects, as SegmentEditorEffects offers it: our own, no Slicer source."""

from __future__ import annotations

from typing import Any

import slicer


class AbstractScriptedSegmentEditorEffect:
    """What an effect inherits. The subclass defines clone, and whatever Slicer calls that it wants to hear of."""

    def __init__(self, scriptedEffect: Any) -> None:
        self.scriptedEffect = scriptedEffect

    def register(self) -> bool:
        """Make the effect known to every segment editor."""
        factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
        return bool(factory.registerEffect(self.scriptedEffect))
