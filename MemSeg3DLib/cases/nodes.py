"""The nodes of one case in the scene: its volume, and its segmentation with what was saved of it before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import MemSeg3DError, SceneError
from MemSeg3DLib.cases.files import CaseFiles, load_saved
from MemSeg3DLib.cases.listing import Case
from MemSeg3DLib.cases.template import CaseTemplate, apply_template
from MemSeg3DLib.prompts.markups import SEGMENTATION_ROLE
from MemSeg3DLib.prompts.pending_masks import ROLE as MASKS_ROLE
from MemSeg3DLib.rounds.history.scene_text import ROLE
from MemSeg3DLib.scene.nodes import add_segmentation, load_volume


@dataclass(frozen=True, eq=False)
class OpenedCase:
    """What a case has in the scene. sources: for DICOM, the file of each SOP instance UID."""

    volume: Any
    segmentation: Any
    sources: dict[str, Path]
    first_segment: str | None


def load_case(scene: Any, case: Case, files: CaseFiles, template: CaseTemplate | None) -> OpenedCase:
    """Load a case; segments that were saved come back, those of the template are added where they lack.

    Raises SceneError where the volume, or what was saved, cannot be read; then nothing of it is left in the scene.
    """
    sources: dict[str, Path] = {}
    nodes: list[Any] = []
    try:
        if case.is_dicom:
            # Here and not above: the DICOM libraries take long to load, and many queues have none.
            from MemSeg3DLib.cases.dicom_volume import load_series

            volume, sources = load_series(scene, case.files, case.name, case.part)
        else:
            volume = load_volume(scene, case.files[0], case.name)
        nodes.append(volume)
        segmentation = add_segmentation(scene, volume, case.name)
        nodes.append(segmentation)
        load_saved(segmentation, volume, files)
        # Reading names the node after the file.
        segmentation.SetName(case.name)
        if template is not None:
            apply_template(segmentation, template)
    except MemSeg3DError as error:
        for node in nodes:
            remove_with_parts(scene, node)
        raise SceneError(str(error)) from error
    ids = [str(one) for one in segmentation.GetSegmentation().GetSegmentIDs()]
    return OpenedCase(volume, segmentation, sources, ids[0] if ids else None)


def remove_with_parts(scene: Any, node: Any) -> None:
    """Remove a node with its display and storage nodes, its rounds and its prompts, which would stay behind."""
    parts = [
        prompts
        for prompts in _nodes_of(scene, "vtkMRMLMarkupsNode")
        if prompts.GetNodeReference(SEGMENTATION_ROLE) is node
    ]
    if node.IsA("vtkMRMLStorableNode"):
        parts += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    if node.IsA("vtkMRMLDisplayableNode"):
        parts += [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    parts += [node.GetNodeReference(ROLE), node.GetNodeReference(MASKS_ROLE)]
    scene.RemoveNode(node)
    for part in parts:
        if part is not None:
            remove_with_parts(scene, part)


def _nodes_of(scene: Any, kind: str) -> list[Any]:
    return [scene.GetNthNodeByClass(n, kind) for n in range(scene.GetNumberOfNodesByClass(kind))]
