"""The video predictor: prompts on frames, propagation both ways, removal, as the `sam2` package's predictor has them.

Results are those of sam2 1.1.0 (facebookresearch/sam2, SAM2VideoPredictor) in single precision; holes in masks are not
filled, as its filling needs an extension that PyPI's package lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.seam import BOX_END, BOX_START, Network, Prompts
from memseg3d.propagation.memory.bank.entries import BACKWARD, FORWARD, MemoryEntry, Visit
from memseg3d.propagation.memory.bank.policy import MemoryPolicy
from memseg3d.propagation.memory.policies import default_policy
from memseg3d.video.frames import load_frames
from memseg3d.video.state import VideoObject, VideoState

NO_OBJECT = -1024.0
"""Logit of an object that has no result on a frame."""

Shown = tuple[int, list[int], Tensor]
"""Frame, numbers of the objects, their logits (objects, 1, height, width) at the size of the frames."""


class VideoPredictor:
    """Tracks objects through frames. Every object has its own memory; a second pass reads what the first has left.

    corrects_as_conditioning: a correction of a tracked frame makes it a conditioning one (the package's
    `add_all_frames_to_correct_as_cond`); without, propagating again overwrites it, as in the package.
    apart: masks of several objects do not overlap (`non_overlap_masks`). policy: None: that of the network's training.
    """

    def __init__(
        self,
        network: Network,
        corrects_as_conditioning: bool = False,
        apart: bool = False,
        policy: MemoryPolicy | None = None,
    ) -> None:
        self.network = network
        self.image_size = network.info.image_size
        self.corrects_as_conditioning, self.apart = corrects_as_conditioning, apart
        self.policy = policy or default_policy(network.info)
        first = next(network.parameters(), None) if isinstance(network, torch.nn.Module) else None
        self.device = torch.device("cpu") if first is None else first.device

    @torch.inference_mode()
    def init_state(
        self,
        video_path: str | Path | NDArray[Any] | Tensor,
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
    ) -> VideoState:
        """A state for a folder of JPEG files, an npz, a volume file or an array (see `load_frames`).

        The three switches are taken and change nothing: frames wait as bytes on the CPU.
        """
        return VideoState(self.network, load_frames(video_path, self.image_size), self.device)

    @torch.inference_mode()
    def add_new_points_or_box(
        self,
        inference_state: VideoState,
        frame_idx: int,
        obj_id: int,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: Any = None,
    ) -> Shown:
        """Points (N, 2) as (x, y) with labels (N,), 1 or 0, and a box (x0, y0, x1, y1), in pixels of the frames.

        normalize_coords: False where coordinates are parts of the frame's sides already. Raises ValueError for points
        without labels, nothing at all, or a box beside old points.
        """
        if (points is None) != (labels is None):
            raise ValueError("points and labels must be provided together")
        if points is None and box is None:
            raise ValueError("at least one of points or box must be provided as input")
        if box is not None and not clear_old_points:
            raise ValueError("cannot add a box without clearing old points, as a box comes before the points")
        where = torch.zeros(0, 2) if points is None else _tensor(points, torch.float32).reshape(-1, 2)
        what = torch.zeros(0, dtype=torch.int32) if labels is None else _tensor(labels, torch.int32).reshape(-1)
        if box is not None:
            where = torch.cat([_tensor(box, torch.float32).reshape(2, 2), where])
            what = torch.cat([torch.tensor([BOX_START, BOX_END], dtype=torch.int32), what])
        if normalize_coords:
            where = where / torch.tensor([inference_state.frames.width, inference_state.frames.height])
        where, what = (where * self.image_size)[None].to(self.device), what[None].to(self.device)
        known = inference_state.object(obj_id)
        if not clear_old_points and frame_idx in known.points:
            old_where, old_what = known.points[frame_idx]
            where, what = torch.cat([old_where, where], 1), torch.cat([old_what, what], 1)
        known.points[frame_idx] = (where, what)
        known.masks.discard(frame_idx)
        return self._prompted(inference_state, known, frame_idx, Prompts(where, what))

    def add_new_points(self, *args: Any, **words: Any) -> Shown:
        """The older name of `add_new_points_or_box`."""
        return self.add_new_points_or_box(*args, **words)

    @torch.inference_mode()
    def add_new_mask(self, inference_state: VideoState, frame_idx: int, obj_id: int, mask: Any) -> Shown:
        """A mask (rows, columns) as the object's result on a frame."""
        given = _tensor(mask, torch.bool)
        if given.ndim != 2:
            raise ValueError(f"A mask is (rows, columns), not {tuple(given.shape)}.")
        square = given[None, None].float().to(self.device)
        size = (self.image_size, self.image_size)
        if square.shape[-2:] != size:
            square = F.interpolate(square, size=size, mode="bilinear", align_corners=False, antialias=True)
            square = (square >= 0.5).float()
        known = inference_state.object(obj_id)
        known.masks.add(frame_idx)
        known.points.pop(frame_idx, None)
        return self._prompted(inference_state, known, frame_idx, Prompts(mask=square))

    @torch.inference_mode()
    def propagate_in_video(
        self,
        inference_state: VideoState,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Shown]:
        """Track all objects from frame to frame, and give each frame's masks as they come.

        start_frame_idx: by default the first prompted frame. Raises RuntimeError where an object has no prompt.
        """
        self.propagate_in_video_preflight(inference_state)
        objects = inference_state.objects
        count = len(inference_state.frames)
        if start_frame_idx is None:
            start_frame_idx = min(frame for each in objects.values() for frame in each.bank.conditioning)
        most = count if max_frame_num_to_track is None else max_frame_num_to_track
        if reverse:
            # the package has nothing to do backwards from frame 0
            order = range(start_frame_idx, max(start_frame_idx - most, 0) - 1, -1) if start_frame_idx > 0 else range(0)
        else:
            order = range(start_frame_idx, min(start_frame_idx + most, count - 1) + 1)
        for frame in order:
            logits = [self._tracked(inference_state, each, frame, reverse) for each in objects.values()]
            yield frame, list(objects), self._at_frame_size(inference_state, torch.cat(logits))

    @torch.inference_mode()
    def propagate_in_video_preflight(self, inference_state: VideoState) -> None:
        """Make memory of what was prompted since the last pass."""
        if not inference_state.objects:
            raise RuntimeError("No points, box or mask was given for any object: add prompts first.")
        for obj_id, known in inference_state.objects.items():
            for conditioning in (False, True):
                for frame, entry in known.waiting[conditioning].items():
                    known.bank.put(self._remembered(inference_state, frame, entry, prompted=True))
                known.waiting[conditioning].clear()
            if not known.bank.conditioning:
                raise RuntimeError(f"No points, box or mask was given for object {obj_id}: add prompts first.")

    @torch.inference_mode()
    def clear_all_prompts_in_frame(
        self, inference_state: VideoState, frame_idx: int, obj_id: int, need_output: bool = True
    ) -> Shown | None:
        """Take back an object's prompts on a frame; what it showed there stays as a tracked result."""
        known = inference_state.object(obj_id)
        known.points.pop(frame_idx, None)
        known.masks.discard(frame_idx)
        for waiting in known.waiting.values():
            waiting.pop(frame_idx, None)
        entry = known.bank.conditioning.pop(frame_idx, None)
        if entry is not None:
            known.bank.tracked[frame_idx] = replace(entry, conditioning=False)
            known.walked.pop(frame_idx, None)
        return self._shown(inference_state, frame_idx) if need_output else None

    @torch.inference_mode()
    def reset_state(self, inference_state: VideoState) -> None:
        """Forget every object; frames and their features stay."""
        inference_state.objects.clear()

    @torch.inference_mode()
    def remove_object(
        self, inference_state: VideoState, obj_id: int, strict: bool = False, need_output: bool = True
    ) -> tuple[list[int], list[tuple[int, Tensor]]]:
        """Forget one object. Returns the objects left, and (frame, masks) of the frames on which it was prompted.

        strict: raise RuntimeError where there is no such object.
        """
        known = inference_state.objects.get(obj_id)
        if known is None:
            if strict:
                left = list(inference_state.objects)
                raise RuntimeError(f"There is no object {obj_id} to remove; there are {left}.")
            return list(inference_state.objects), []
        frames = {*known.points, *known.masks}
        del inference_state.objects[obj_id]
        if not inference_state.objects or not need_output:
            return list(inference_state.objects), []
        return list(inference_state.objects), [(frame, self._shown(inference_state, frame)[2]) for frame in frames]

    def _prompted(self, state: VideoState, known: VideoObject, frame: int, prompts: Prompts) -> Shown:
        """Decode the prompts of a frame; the result waits until propagation makes memory of it."""
        direction = known.walked.get(frame)
        conditioning = direction is None or self.corrects_as_conditioning
        last = known.shown(frame, conditioning)
        features = state.features(frame)
        visit = Visit(frame, direction, features, prompted=True)
        reads = self.policy.select(known.bank, visit) if direction is not None else []
        conditioned = self.network.attend(features, reads, len(state.frames))
        prior = last.logits if last is not None and prompts.mask is None else None
        decoded = self.policy.choose(self.network.decode(conditioned, prompts, prior), known.bank, visit)
        known.waiting[conditioning][frame] = self._entry(decoded, visit, known, conditioning)
        return self._shown(state, frame, conditioning)

    def _tracked(self, state: VideoState, known: VideoObject, frame: int, reverse: bool) -> Tensor:
        """Logits (1, 1, h, w) of an object on a frame that propagation comes by."""
        direction = BACKWARD if reverse else FORWARD
        entry = known.bank.conditioning.get(frame)
        if entry is None:
            features = state.features(frame)
            visit = Visit(frame, direction, features)
            conditioned = self.network.attend(features, self.policy.select(known.bank, visit), len(state.frames))
            decoded = self.policy.choose(self.network.decode(conditioned, None), known.bank, visit)
            entry = self._remembered(state, frame, self._entry(decoded, visit, known, False), prompted=False)
            known.bank.put(replace(entry, admitted=self.policy.admit(entry)))
        known.walked[frame] = direction
        return entry.logits

    def _entry(self, decoded: Any, visit: Visit, known: VideoObject, conditioning: bool) -> MemoryEntry:
        """The chosen mask of a frame, without its memory."""
        chosen = int(decoded.chosen[0])
        return MemoryEntry(
            index=visit.index,
            conditioning=conditioning,
            logits=decoded.logits[:, chosen : chosen + 1],
            quality=decoded.quality[:, chosen],
            object_score=decoded.object_score,
            pointer=None if decoded.pointers is None else decoded.pointers[:, chosen],
            direction=visit.direction,
            note=self.policy.note(decoded, known.bank, visit),
        )

    def _remembered(self, state: VideoState, frame: int, entry: MemoryEntry, prompted: bool) -> MemoryEntry:
        if entry.memory is not None:
            return entry
        features = state.features(frame)
        memory = self.network.remember(features, entry.logits, entry.object_score, entry.pointer, prompted)
        return replace(entry, memory=memory)

    def _shown(self, state: VideoState, frame: int, conditioning: bool | None = None) -> Shown:
        """All objects' masks of a frame; one without a result there has `NO_OBJECT` everywhere."""
        if conditioning is None:
            conditioning = any(frame in each.waiting[True] for each in state.objects.values())
        size = (state.frames.height, state.frames.width)
        whole = torch.full((len(state.objects), 1, *size), NO_OBJECT, device=self.device)
        for place, known in enumerate(state.objects.values()):
            entry = known.shown(frame, conditioning)
            if entry is not None:
                whole[place : place + 1] = _resized(entry.logits, size)
        return frame, list(state.objects), self._parted(whole)

    def _at_frame_size(self, state: VideoState, logits: Tensor) -> Tensor:
        return self._parted(_resized(logits, (state.frames.height, state.frames.width)))

    def _parted(self, logits: Tensor) -> Tensor:
        """Where several objects claim a pixel, the strongest alone keeps it."""
        if not self.apart or logits.shape[0] == 1:
            return logits
        strongest = logits.argmax(dim=0, keepdim=True)
        own = torch.arange(logits.shape[0], device=logits.device)[:, None, None, None]
        return torch.where(strongest == own, logits, logits.clamp(max=-10.0))


def _resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


def _tensor(values: Any | Sequence[Any], dtype: torch.dtype) -> Tensor:
    """Numbers of a script as a tensor on the CPU."""
    return torch.as_tensor(values).to("cpu", dtype)
