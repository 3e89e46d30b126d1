"""What a run on SAM 2 is asked to do; command line, state and card speak of these names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["memrefine", "finetune"]
PromptKind = Literal["bbox", "click", "mixed"]


@dataclass(frozen=True)
class Sam2Settings:
    """method: whose losses, learning rates and parts that learn. epochs: times that a clip of every case is seen.

    video_length: slices of a clip. prompt_freq: every so many of its slices are prompted. most_objects: of a clip;
    0: all. val_freq: epochs between two validations. learning_rate, encoder_rate: of fine-tuning; MemRefine's are the
    published schedule. freeze_encoder: the image encoder does not learn (it never does in MemRefine).
    average_decay: of the averaged weights; 0: none. checkpointing: less memory, more time.
    """

    method: Method
    epochs: int = 100
    video_length: int = 2
    prompt: PromptKind = "bbox"
    prompt_freq: int = 2
    most_objects: int = 0
    val_freq: int = 5
    seed: int = 42
    learning_rate: float = 5e-5
    encoder_rate: float = 3e-5
    freeze_encoder: bool = False
    clip_norm: float = 0.1
    average_decay: float = 0.0
    precision: Literal["bf16", "fp32"] = "fp32"
    checkpointing: bool = False
    save_minutes: float = 10.0
    tensorboard: bool = True

    def __post_init__(self) -> None:
        if min(self.epochs, self.video_length, self.prompt_freq, self.val_freq) < 1:
            raise ValueError("epochs, video_length, prompt_freq and val_freq are 1 or more.")
