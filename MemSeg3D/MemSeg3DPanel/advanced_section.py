"""How rounds are computed: memory, key slices, crops, three axes' vote, and a segment computed anew; folded away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from MemSeg3DLib.worker.session_options import MEMORIES, SessionChoice
from MemSeg3DPanel.section import Context, Section


class AdvancedSection(Section):
    """The group "Advanced" below the tools. What it says goes into the Workbench's options, and is kept."""

    def __init__(self, context: Context, host: Any) -> None:
        super().__init__(context, "Advanced.ui", host)
        self._settings = context.application.settings
        self._choice = SessionChoice.read(self._settings)
        self._words = memories()
        for name in MEMORIES:
            self.ui.memorySelector.addItem(self._words[name][0])
        self.on(self.ui.memorySelector, "activated(int)", self._choose_memory)
        self.on(self.ui.keySlicesBox, "clicked()", self._choose_key_slices)
        self.on(self.ui.cropsBox, "clicked()", self._choose_crops)
        self.on(self.ui.consensusBox, "clicked()", self._choose_consensus)
        self.on(self.ui.recomputeButton, "clicked()", self.workbench.recompute)

    def show(self) -> None:
        """Bring widgets up to date; what the worker does not know is not offered."""
        known = self.context.application.source.features
        choice = self._choice
        self.ui.memorySelector.setCurrentIndex(MEMORIES.index(choice.memory))
        self.ui.memoryLabel.setText(self._words[choice.memory][1])
        self.ui.keySlicesBox.setChecked(choice.key_slices)
        self.ui.cropsBox.setChecked(choice.crops)
        self.ui.consensusBox.setChecked(choice.consensus)
        knows = {name: known is None or name in known for name in ("memory", "key_slices", "consensus", "full")}
        # What was chosen for another worker can be taken back.
        self.ui.memorySelector.setEnabled(knows["memory"] or choice.memory != MEMORIES[0])
        self.ui.keySlicesBox.setEnabled(knows["key_slices"] or choice.key_slices)
        self.ui.consensusBox.setEnabled(knows["consensus"] or choice.consensus)
        segment = self.workbench.segment_id
        computed = segment is not None and self.workbench.quality(segment) is not None
        self.ui.recomputeButton.setEnabled(knows["full"] and computed and not self.workbench.busy)
        older = _("MemSeg3D is older where it runs and does not know all of this: what is grey needs a newer one.")
        self.ui.olderLabel.setText("" if all(knows.values()) else older)

    def _choose_memory(self, index: int) -> None:
        self._use(replace(self._choice, memory=MEMORIES[index]))

    def _choose_key_slices(self) -> None:
        self._use(replace(self._choice, key_slices=bool(self.ui.keySlicesBox.checked)))

    def _choose_crops(self) -> None:
        self._use(replace(self._choice, crops=bool(self.ui.cropsBox.checked)))

    def _choose_consensus(self) -> None:
        self._use(replace(self._choice, consensus=bool(self.ui.consensusBox.checked)))

    def _use(self, choice: SessionChoice) -> None:
        self._choice = choice
        choice.keep(self._settings)
        choice.put_into(self.workbench.options)
        self.show()


def memories() -> dict[str, tuple[str, str]]:
    """Title and one sentence for each memory; made anew, so that they speak the user's language."""
    return {
        "default": (_("As trained"), _("Remembers slices as the network was trained to.")),
        "stm": (
            _("Every fifth slice (STM)"),
            _("Also remembers every fifth slice on the way, further back than usual."),
        ),
        "self_sorting": (
            _("Self-sorting (Medical SAM 2)"),
            _("Keeps sure slices that differ most from each other, and reads those that resemble the slice at hand."),
        ),
        "quality": (_("Sure slices only (Mem3D)"), _("Does not remember slices of low predicted quality.")),
        "distractor": (
            _("Look-alikes (DAM4SAM)"),
            _("Also keeps slices on which something similar lay beside the object, to tell the two apart."),
        ),
        "motion": (
            _("Steady course (SAMURAI)"),
            _("Expects the outline to move on as it did, and does not remember slices on which it jumps."),
        ),
        "tree": (
            _("Several paths (SAM2Long)"),
            _("Follows up to three courses where it is unsure, and keeps the best; takes up to three times as long."),
        ),
    }
