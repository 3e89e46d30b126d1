"""What a queue keeps of one case in its output folder: the segmentation, its rounds, and what is to be resumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from MemSeg3DLib.base.errors import ExportError, RoundError, SceneError
from MemSeg3DLib.base.output_files import FileSet, write_text
from MemSeg3DLib.export.seg_nrrd import SegNrrdJob, prepare_seg_nrrd
from MemSeg3DLib.prompts.as_json import drawn_from_json, drawn_to_json
from MemSeg3DLib.prompts.pending_masks import masks_text, store_masks
from MemSeg3DLib.prompts.store import PromptStore
from MemSeg3DLib.rounds.history.as_json import rounds_to_json
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.rounds.history.scene_text import ROLE
from MemSeg3DLib.scene.grids import content_stamp
from MemSeg3DLib.scene.nodes import volume_spacing

PREFIX = "MemSeg3D."
"""Attributes of a segmentation node that belong to its rounds: approved slices, the journal's name."""


@dataclass(frozen=True)
class CaseFiles:
    """Where a case is kept: `<case>.seg.nrrd`, and `<case>.history.json` from which one goes on as if never gone."""

    folder: Path
    name: str

    @property
    def segmentation(self) -> Path:
        """The segments; also what other programs read."""
        return self.folder / f"{self.name}.seg.nrrd"

    @property
    def history(self) -> Path:
        """Rounds, approved slices and drawn prompts, for going on later."""
        return self.folder / f"{self.name}.history.json"

    @property
    def rounds(self) -> Path:
        """Prompts and rounds, as `memseg3d segment --rounds` runs them again."""
        return self.folder / f"{self.name}.rounds.json"


@dataclass(frozen=True, eq=False)
class CaseSave:
    """A case as it was when it was copied out of the scene; `write` may run on any thread.

    rounds: as the scene stores them. kept: attributes of the segmentation. drawn: its prompts as they lie, those that
    wait for Run included; masks: those that wait, as the scene stores them. spacing: (k, j, i) in mm of the volume.
    """

    files: CaseFiles
    segmentation: SegNrrdJob
    rounds: str
    kept: dict[str, str]
    drawn: list[dict[str, Any]]
    masks: str
    spacing: tuple[float, float, float]

    def write(self) -> str | None:
        """Write everything; ExportError where the disk does not take it, and then the earlier save is still there.

        Returns a sentence where the rounds cannot be run again elsewhere; all that going on needs is saved even so.
        """
        self.segmentation.write()
        replayable, remark = self._replayable()
        with FileSet(overwrite=True) as files:
            history = {"version": 1, "rounds": self.rounds, "kept": self.kept, "drawn": self.drawn, "masks": self.masks}
            write_text(files.add(self.files.history), json.dumps(history))
            if replayable is not None:
                write_text(files.add(self.files.rounds), replayable)
        if replayable is None:
            # Those of an earlier save are no longer what is in the segments.
            self.files.rounds.unlink(missing_ok=True)
        return remark

    def _replayable(self) -> tuple[str | None, str | None]:
        """The applied rounds as a document of their own, or None and why not."""
        if not self.rounds:
            return None, None
        try:
            stored = json.loads(self.rounds)
            applied = [RoundRecord.from_json(one) for one in stored["rounds"][: stored["applied"]]]
            if not applied:
                return None, None
            return json.dumps(rounds_to_json(applied, spacing=self.spacing), indent=1) + "\n", None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None, f"{self.files.name}: the rounds stored in the scene cannot be read."
        except RoundError as error:
            return None, f"{self.files.name}: {error}"


def prepare_save(segmentation_node: Any, volume_node: Any, files: CaseFiles) -> CaseSave:
    """Copy a case out of the scene; main thread. Raises ExportError where a segment cannot be kept as it is."""
    job = prepare_seg_nrrd(segmentation_node, files.segmentation, overwrite=True)
    spacing = volume_spacing(volume_node)
    rounds, kept = _rounds_text(segmentation_node), _kept(segmentation_node)
    return CaseSave(files, job, rounds, kept, _drawn(segmentation_node), masks_text(segmentation_node), spacing)


def state_stamp(segmentation_node: Any) -> tuple[object, ...]:
    """A value that changes whenever something changes that a save would hold."""
    segmentation = segmentation_node.GetSegmentation()
    segments = tuple(
        (str(one), content_stamp(segmentation_node, one), int(segmentation.GetSegment(one).GetMTime()))
        for one in segmentation.GetSegmentIDs()
    )
    text_node = segmentation_node.GetNodeReference(ROLE)
    rounds = -1 if text_node is None else int(text_node.GetMTime())
    prompts = (json.dumps(_drawn(segmentation_node)), masks_text(segmentation_node))
    return (segments, rounds, tuple(sorted(_kept(segmentation_node).items())), prompts)


def load_saved(segmentation_node: Any, volume_node: Any, files: CaseFiles) -> bool:
    """Read what was saved into a new segmentation node of a volume; False where nothing was.

    Raises SceneError where something was that cannot be read: it must not be written over.
    """
    if not files.segmentation.is_file():
        return False
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetScene(segmentation_node.GetScene())
    storage.SetFileName(str(files.segmentation))
    if not storage.ReadData(segmentation_node):
        raise SceneError(f"{files.segmentation.name} cannot be read: move it elsewhere to begin the case anew.")
    if files.history.is_file():
        _restore_history(segmentation_node, volume_node, files.history)
    return True


def _restore_history(segmentation_node: Any, volume_node: Any, path: Path) -> None:
    try:
        stored = json.loads(path.read_text("utf-8"))
        rounds, kept = stored["rounds"], stored["kept"]
        # Earlier versions left the prompts out: those that the rounds still hold are brought back.
        drawn = stored["drawn"] if "drawn" in stored else _standing(rounds)
        masks = stored.get("masks", "")
        is_right = (
            isinstance(rounds, str)
            and isinstance(masks, str)
            and isinstance(kept, dict)
            and all(isinstance(one, dict) for one in drawn)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        is_right = False
    if not is_right:
        raise SceneError(f"{path.name} is damaged: move it elsewhere to go on with the segments alone.")
    for name, value in kept.items():
        if str(name).startswith(PREFIX):
            segmentation_node.SetAttribute(str(name), str(value))
    if rounds:
        text_node = segmentation_node.GetScene().AddNewNodeByClass("vtkMRMLTextNode", "rounds")
        text_node.SetHideFromEditors(True)
        text_node.SetText(rounds)
        segmentation_node.SetNodeReferenceID(ROLE, text_node.GetID())
    store_masks(segmentation_node, masks)
    segmentation = segmentation_node.GetSegmentation()
    store = PromptStore(segmentation_node.GetScene())
    for prompt in map(drawn_from_json, drawn):
        if segmentation.GetSegment(prompt.segment_id) is not None:
            store.add(segmentation_node, volume_node, prompt)
    store.close()


def _standing(rounds: str) -> list[dict[str, Any]]:
    """The drawn prompts that applied rounds hold and that no later one has taken back."""
    stored: dict[str, Any] = json.loads(rounds) if rounds else {"rounds": [], "applied": 0}
    standing: dict[str, dict[str, Any]] = {}
    for record in stored["rounds"][: stored["applied"]]:
        # Some drawn prompts become several on the wire, whose ids begin with theirs.
        gone = [name for name in standing if any(one.startswith(name) for one in record.get("removed", []))]
        for name in gone:
            del standing[name]
        standing |= {str(one["id"]): one for one in record.get("drawn", [])}
    return list(standing.values())


def _drawn(segmentation_node: Any) -> list[dict[str, Any]]:
    """The prompts of a segmentation as they lie in the scene."""
    store = PromptStore(segmentation_node.GetScene())
    found = [drawn_to_json(one.prompt) for one in store.of(segmentation_node)]
    store.close()
    return [one for one in found if one is not None]


def _rounds_text(segmentation_node: Any) -> str:
    text_node = segmentation_node.GetNodeReference(ROLE)
    return "" if text_node is None else str(text_node.GetText() or "")


def _kept(segmentation_node: Any) -> dict[str, str]:
    names = [str(name) for name in segmentation_node.GetAttributeNames() or ()]
    return {name: str(segmentation_node.GetAttribute(name)) for name in names if name.startswith(PREFIX)}


@dataclass(frozen=True)
class QueueState:
    """What is known of a queue between two sessions: cases that are done, and the one that was open."""

    done: frozenset[str] = frozenset()
    current: str | None = None

    @staticmethod
    def read(path: Path) -> QueueState:
        """The stored state, or a new one. Raises SceneError where the file is damaged: it is not written over."""
        if not path.is_file():
            return QueueState()
        try:
            stored = json.loads(path.read_text("utf-8"))
            done, current = stored["done"], stored["current"]
            is_right = all(isinstance(one, str) for one in done) and isinstance(current, str | None)
        except (OSError, ValueError, KeyError, TypeError):
            is_right = False
        if not is_right:
            raise SceneError(
                f"{path.name} is damaged: move it elsewhere; the segmentations beside it stay as they are."
            )
        return QueueState(frozenset(done), current)

    def write(self, path: Path) -> None:
        """Store the state. Raises ExportError where the disk does not take it."""
        content = {"version": 1, "done": sorted(self.done), "current": self.current}
        with FileSet(overwrite=True) as files:
            write_text(files.add(path), json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def check_folder(folder: Path) -> None:
    """Make the output folder and prove that it can be written to, before any work is put into a case."""
    probe = folder / ".memseg3d-probe.txt"
    with FileSet(overwrite=True) as files:
        write_text(files.add(probe), "")
    try:
        probe.unlink()
    except OSError as error:
        raise ExportError(f"{folder.name} cannot be written to ({error.strerror}): choose another folder.") from error
