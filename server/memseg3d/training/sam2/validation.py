"""The validation of MemRefine's release, and volumetric Dice beside it, which it must never be taken for.

The release looks at the first quarter of a case's labelled slices, gives boxes of the truth on every `prompt_freq`-th
of them, and averages Dice per slice and object over five thresholds of raw logits; both masks empty counts 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.datasets.description import Case
from memseg3d.network.sam2 import Sam2Network
from memseg3d.training.cases.clips import CaseClips
from memseg3d.training.sam2.rollout import ClipRollout, objects_of
from memseg3d.training.sam2.settings import Sam2Settings

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""On logits, as the release has it: a probability of 0.5 is the logit 0."""


@torch.no_grad()
def validate(
    network: Sam2Network, cases: Sequence[Case], clips: CaseClips, settings: Sam2Settings, device: torch.device
) -> dict[str, float]:
    """dice, iou: the release's; volume_dice: of the same slices at logit 0, a mean over objects. Empty: no cases."""
    was_training = network.training
    network.eval()
    rows: list[tuple[float, float]] = []
    volumes: list[float] = []
    generator = torch.Generator().manual_seed(settings.seed)
    kind = "click" if settings.prompt == "click" else "bbox"
    for case in cases:
        low, high = clips.labelled_range(case)
        count = max(1, (high - low + 1) // 4)
        clip = clips.cut(case, low, count)
        prompted = list(range(0, count, settings.prompt_freq))
        objects = objects_of(clip, prompted)
        if not objects:
            continue
        rollout = ClipRollout(network, clip, objects, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            answers = rollout.run(prompted, kind, generator, learns_encoder=False)  # type: ignore[arg-type]
        logits = torch.stack([_enlarged(answers.logits[t], clips.image_size) for t in range(count)])
        rows += [slice_scores(logits[t, o], rollout.truth[t, o]) for t in range(count) for o in range(len(objects))]
        volumes += [_dice(logits[:, o] > 0, rollout.truth[:, o]) for o in range(len(objects))]
    network.train(was_training)
    if not rows:
        return {}
    count = len(rows)
    return {
        "dice": sum(dice for dice, _ in rows) / count,
        "iou": sum(iou for _, iou in rows) / count,
        "volume_dice": sum(volumes) / len(volumes),
    }


def slice_scores(logits: Tensor, truth: Tensor) -> tuple[float, float]:
    """Dice and IoU of one object on one slice (S, S), the mean over the thresholds; 1 where both are empty."""
    pairs = [(_dice(logits > at, truth), _iou(logits > at, truth)) for at in THRESHOLDS]
    return sum(dice for dice, _ in pairs) / len(pairs), sum(iou for _, iou in pairs) / len(pairs)


def _dice(mask: Tensor, truth: Tensor) -> float:
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


def _iou(mask: Tensor, truth: Tensor) -> float:
    union = int((mask | truth).sum())
    return int((mask & truth).sum()) / union if union else 1.0


def _enlarged(logits: Tensor, size: int) -> Tensor:
    return F.interpolate(logits.float(), size=(size, size), mode="bilinear", align_corners=False)[:, 0]
