"""One script of prompts and propagations, played by the official predictor, by transformers and by our tracker.

Each run gives, slice by slice, what it saw: low-resolution logits, object score and pointer.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memseg3d.network.seam import BOX_END, BOX_START, Features, Memory, Network, Prompts
from memseg3d.propagation.memory.bank.policy import MemoryPolicy
from memseg3d.propagation.memory.tracker import Tracker

from .references import normalised


@dataclass(frozen=True)
class Seen:
    """logits: (1, 1, h, w); score: (1, 1); pointer: (1, dim)."""

    what: str
    logits: Tensor
    score: Tensor
    pointer: Tensor


@dataclass(frozen=True)
class Clicks:
    """All prompts of one slice: points as (x, y, label), and a box (x0, y0, x1, y1) that comes first."""

    points: tuple[tuple[float, float, int], ...] = ()
    box: tuple[float, float, float, float] | None = None


class SameThreshold:
    """Our network; pixels that lie at the threshold fall to the side that the reference's rounding gave them.

    The memory of a prompted slice is made from its mask as yes and no. A logit within the last bit of zero is either,
    whatever the processor, and one such pixel moves the slices that read the memory by up to 3e-4.
    references: the logits (1, 1, S, S) that the reference remembered, filled while it plays.
    """

    CLOSE = 1e-4

    def __init__(self, network: Network, references: list[Tensor]) -> None:
        self._network, self._references = network, references
        self.info = network.info

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def remember(
        self, features: Features, logits: Tensor, object_score: Tensor, pointer: Tensor | None, prompted: bool
    ) -> Memory:
        for theirs in self._references if prompted else ():
            ours = torch.nn.functional.interpolate(logits, size=theirs.shape[-2:], mode="bilinear")
            if bool(((ours > 0) != (theirs > 0)).any()) and torch.allclose(
                ours, theirs, atol=self.CLOSE, rtol=self.CLOSE
            ):
                logits = theirs
                break
        return self._network.remember(features, logits, object_score, pointer, prompted)


def noting_remembered(model: Any) -> list[Tensor]:
    """What a reference's `_encode_new_memory` is given from now on: logits (1, 1, S, S), object by object."""
    noted: list[Tensor] = []
    encode = type(model)._encode_new_memory

    def note_and_encode(*positional: Any, **named: Any) -> Any:
        given = signature(encode).bind(model, *positional, **named).arguments
        noted.extend(given["pred_masks_high_res"].split(1))
        return encode(model, *positional, **named)

    model._encode_new_memory = note_and_encode
    return noted


class OfficialRun:
    """The official predictor on slices (N, 1, S, S); its image features are computed once for all scripts."""

    def __init__(self, predictor: Any, images: Tensor, features: dict[int, Any], folder: Path) -> None:
        from PIL import Image

        size = predictor.image_size
        for index in range(len(images)):
            Image.new("RGB", (size, size)).save(folder / f"{index}.jpg")
        self.predictor = predictor
        self.state = predictor.init_state(str(folder))
        self.state["images"] = normalised(images)
        self.state["cached_features"] = features
        self.seen: list[Seen] = []
        self.remembered = noting_remembered(predictor)

    def click(self, index: int, clicks: Clicks, obj: int = 1) -> None:
        points = torch.tensor([[x, y] for x, y, _ in clicks.points]).reshape(-1, 2)
        labels = torch.tensor([label for *_, label in clicks.points], dtype=torch.int32)
        self.predictor.add_new_points_or_box(self.state, index, obj, points=points, labels=labels, box=clicks.box)
        self._note(f"click {index} of {obj}", index, obj)

    def mask(self, index: int, mask: Tensor, obj: int = 1) -> None:
        self.predictor.add_new_mask(self.state, index, obj, mask)
        self._note(f"mask {index} of {obj}", index, obj)

    def propagate(self, start: int, reverse: bool = False, count: int | None = None) -> None:
        for index, objects, _ in self.predictor.propagate_in_video(self.state, start, count, reverse=reverse):
            for obj in objects:
                self._note(f"{'back' if reverse else 'on'} to {index} of {obj}", index, obj)

    def reset(self) -> None:
        self.predictor.reset_state(self.state)

    def _note(self, what: str, index: int, obj: int) -> None:
        number = self.state["obj_id_to_idx"][obj]
        for outputs in (self.state["temp_output_dict_per_obj"][number], self.state["output_dict_per_obj"][number]):
            for kind in ("cond_frame_outputs", "non_cond_frame_outputs"):
                if index in outputs[kind]:
                    out = outputs[kind][index]
                    self.seen.append(Seen(what, out["pred_masks"], out["object_score_logits"], out["obj_ptr"]))
                    return


class TransformersRun:
    """Sam2VideoModel on slices (N, 1, S, S); it decodes prompts when propagation reaches them."""

    def __init__(self, model: Any, images: Tensor, features: dict[int, Any]) -> None:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        size = images.shape[-1]
        self.model = model
        self.session = Sam2VideoInferenceSession(
            normalised(images), size, size, dtype=torch.float32, max_vision_features_cache_size=len(images)
        )
        self.session.cache._vision_features = features
        self.seen: list[Seen] = []
        self.remembered = noting_remembered(model)

    def click(self, index: int, clicks: Clicks, obj: int = 1) -> None:
        prompts = as_prompts(clicks)
        assert prompts.points is not None
        assert prompts.labels is not None
        number = self.session.obj_id_to_idx(obj)
        inputs = {"point_coords": prompts.points[None], "point_labels": prompts.labels[None]}
        self.session.add_point_inputs(number, index, inputs)
        self.session.obj_with_new_inputs = [obj]
        self.model(self.session, frame_idx=index)
        self._note(f"click {index} of {obj}", index, obj)

    def propagate(self, start: int, reverse: bool = False) -> None:
        for out in self.model.propagate_in_video_iterator(self.session, start, reverse=reverse):
            for obj in out.object_ids:
                self._note(f"{'back' if reverse else 'on'} to {out.frame_idx} of {obj}", out.frame_idx, obj)

    def _note(self, what: str, index: int, obj: int) -> None:
        outputs = self.session.output_dict_per_obj[self.session.obj_id_to_idx(obj)]
        out = outputs["cond_frame_outputs"].get(index) or outputs["non_cond_frame_outputs"][index]
        self.seen.append(
            Seen(
                what,
                out["pred_masks"],
                out["object_score_logits"].reshape(1, 1),
                out["object_pointer"].reshape(1, -1),
            )
        )


class TrackerRun:
    """Our tracker, one an object, on image features computed once for all scripts.

    references: what a reference that plays the same script remembered, as `SameThreshold` wants it.
    """

    def __init__(self, network: Network, features: list[Features], references: list[Tensor] | None = None) -> None:
        self.network: Network = SameThreshold(network, references) if references is not None else network
        self.features = features
        self.policy: MemoryPolicy | None = None
        self.trackers: dict[int, Tracker] = {}
        self.seen: list[Seen] = []

    def click(self, index: int, clicks: Clicks, obj: int = 1) -> None:
        self._tracker(obj).prompt(index, self.features[index], as_prompts(clicks))
        self._note(f"click {index} of {obj}", index, obj)

    def mask(self, index: int, mask: Tensor, obj: int = 1) -> None:
        self._tracker(obj).prompt(index, self.features[index], Prompts(mask=mask[None, None].float()))
        self._note(f"mask {index} of {obj}", index, obj)

    def propagate(self, start: int, reverse: bool = False, count: int | None = None) -> None:
        slices = list(range(start, -1, -1) if reverse else range(start, len(self.features)))
        for index in slices if count is None else slices[: count + 1]:
            for obj, tracker in self.trackers.items():
                tracker.track(index, self.features[index], -1 if reverse else 1)
                self._note(f"{'back' if reverse else 'on'} to {index} of {obj}", index, obj)

    def reset(self) -> None:
        self.trackers.clear()

    def _tracker(self, obj: int) -> Tracker:
        return self.trackers.setdefault(obj, Tracker(self.network, self.policy, len(self.features)))

    def _note(self, what: str, index: int, obj: int) -> None:
        entry = self.trackers[obj].entries[index]
        assert entry.pointer is not None
        self.seen.append(Seen(what, entry.logits, entry.object_score, entry.pointer))


def as_prompts(clicks: Clicks) -> Prompts:
    """Points in network pixels, the box's two corners first."""
    rows = list(clicks.points)
    if clicks.box:
        x0, y0, x1, y1 = clicks.box
        rows = [(x0, y0, BOX_START), (x1, y1, BOX_END), *rows]
    points = torch.tensor([[[x, y] for x, y, _ in rows]])
    return Prompts(points, torch.tensor([[label for *_, label in rows]]))


def assert_same(ours: list[Seen], theirs: list[Seen]) -> None:
    """Same slices in the same order, numbers within 1e-4, masks of IoU above 0.999."""
    assert [seen.what for seen in ours] == [seen.what for seen in theirs]
    for our, their in zip(ours, theirs, strict=True):
        for name in ("logits", "score", "pointer"):
            torch.testing.assert_close(
                getattr(our, name), getattr(their, name), atol=1e-4, rtol=1e-4, msg=lambda m, s=our: f"{s.what}: {m}"
            )
        assert mask_iou(our.logits > 0, their.logits > 0) > 0.999, our.what


def mask_iou(ours: Tensor, theirs: Tensor) -> float:
    """Intersection over union; 1 where both are empty."""
    union = (ours | theirs).sum()
    return float((ours & theirs).sum() / union) if union else 1.0
