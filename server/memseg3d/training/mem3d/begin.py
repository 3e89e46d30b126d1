"""From options to a stage that can run: early checks, widths, weights to begin from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from memseg3d.datasets.description import DataSet
from memseg3d.network.mem3d.checkpoint import backbone_names, begin_from, read_mem3d
from memseg3d.network.mem3d.interaction import InteractionNetwork
from memseg3d.network.mem3d.memory_network import MemoryNetwork
from memseg3d.network.mem3d.shapes import SMALL_INTERACTION, SMALL_MEMORY, InteractionShape, MemoryShape
from memseg3d.network.mem3d.shapes import Quality as QualityName
from memseg3d.network.signs import INTERACTION
from memseg3d.training.mem3d.clips import CaseClips, SyntheticClips
from memseg3d.training.mem3d.objects import Objects
from memseg3d.training.mem3d.run import part_file, state_file
from memseg3d.training.mem3d.settings import InteractionSettings, MemorySettings, Norms, Widths
from memseg3d.training.mem3d.stages import CaseSlices, InteractionStage, MemoryStage, SyntheticSlices
from memseg3d.training.running.parallel import Processes

Say = Callable[[str], None]
SIZES: dict[str, Widths] = {
    "published": Widths(),
    "small": Widths(SMALL_MEMORY, *SMALL_INTERACTION),
    "tiny": Widths(MemoryShape(4, (1, 1, 1), 8, 8, 8, quality_blocks=1, quality_hidden=8), 4, (1, 1, 1, 1)),
}
"""published; small: the memory network at about 2 million parameters; tiny: to see a command run to its end."""


@dataclass(frozen=True)
class Sources:
    """Weights to begin from. initial: a file of STM or Mem3D; backbone: a residual network of torchvision's names."""

    initial: Path | None = None
    backbone: Path | None = None


def memory_stage(
    name: str,
    folder: Path,
    data: DataSet | None,
    settings: MemorySettings,
    widths: Widths,
    sources: Sources,
    processes: Processes,
    quality: QualityName = "release",
    aspp: bool = True,
    say: Say = lambda _: None,
) -> MemoryStage:
    """The stages `memory` (without quality head) and `quality` (with one, after the folder's memory network if it is
    there). data: None for synthetic volumes. Raises `DataSetError`, `UnreadableFile`, `UnknownCheckpoint`.
    """
    torch.manual_seed(settings.seed)
    has_head = name == "quality"
    shape = replace(widths.memory, quality=quality if has_head else "", aspp=aspp)
    before = part_file(folder, "memory")
    if has_head and before.is_file() and sources.initial is None and (known := read_mem3d(before).memory) is not None:
        shape = replace(known.shape, quality=quality, quality_blocks=shape.quality_blocks)
        shape = replace(shape, quality_hidden=widths.memory.quality_hidden)
        sources = replace(sources, initial=before)
    module = MemoryNetwork(shape)
    taken = 0
    if sources.backbone is not None:
        for renamed in backbone_names(("Encoder_M.", "Encoder_Q."), layers=False):
            taken += begin_from(module, sources.backbone, renamed)
    if sources.initial is not None:
        taken += begin_from(module, sources.initial)
    if taken:
        say(f"{taken} tensors were taken over; the others begin anew.")
    clips: CaseClips | SyntheticClips
    held_out = None
    if data is None:
        clips = SyntheticClips(settings.sampled_frames, settings.train_batch, settings.input_size, settings.seed)
    else:
        objects = Objects(data, folder / "cache", settings.label, settings.input_size, say)
        counts = settings.sampled_frames, settings.samples_per_video, settings.train_batch, settings.seed
        clips = CaseClips(objects, objects.training, *counts)
        if objects.validation:
            held_out = CaseClips(objects, objects.validation, settings.sampled_frames, 1, settings.train_batch, 0)
    frozen = _frozen(settings.norms, taken or (state_file(folder, name).is_file() and sources != Sources()))
    return MemoryStage(name, module, clips, held_out, settings, frozen, processes)


def interaction_stage(
    folder: Path,
    data: DataSet | None,
    settings: InteractionSettings,
    widths: Widths,
    sources: Sources,
    processes: Processes,
    say: Say = lambda _: None,
) -> InteractionStage:
    """The stage of one interaction network. data: None for synthetic volumes. Raises as `memory_stage` does."""
    torch.manual_seed(settings.seed)
    shape = InteractionShape(settings.kind, widths.interaction_base, widths.interaction_blocks)
    module = InteractionNetwork(shape)
    taken = 0
    if sources.backbone is not None:
        taken += begin_from(module.backbone, sources.backbone)
    if sources.initial is not None:
        # The release begins every kind from the two-point network: all but the first layer fits.
        found = {f"{INTERACTION}{kind}.": "" for kind in ("dextr", "inter", "two_point", "scribble", "hybrid")}
        taken += begin_from(module, sources.initial, found)
    frozen = _frozen(settings.norms, taken)
    if data is None:
        clips = SyntheticClips(2, settings.batch, settings.input_size, settings.seed)
        return InteractionStage(module, SyntheticSlices(clips), None, settings, frozen, processes)
    objects = Objects(data, folder / "cache", settings.label, settings.input_size, say)
    if settings.kind in ("scribble", "hybrid") and not objects.has_scribbles:
        say(f"{data.root} has no drawn scribbles (TaskNN_mask2) for every case: strokes within the label stand in.")
    slices = CaseSlices(objects, objects.training, settings.batch, settings.seed)
    held_out = CaseSlices(objects, objects.validation, settings.batch, None) if objects.validation else None
    return InteractionStage(module, slices, held_out, settings, frozen, processes)


def _frozen(norms: Norms, taken: int | bool) -> bool:
    return bool(taken) if norms == "auto" else norms == "frozen"
