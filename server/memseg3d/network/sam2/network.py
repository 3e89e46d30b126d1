"""SAM 2 behind the seam of the networks: encode, attend, decode, remember (arXiv 2408.00714)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..seam import Conditioned, Decoded, Features, Memory, MemoryRead, NetworkInfo, Prompts
from .config import Sam2Config
from .layers import Mlp
from .mask_decoder import MaskDecoder, Refinement
from .memory_attention import MemoryAttention
from .memory_encoder import MemoryEncoder
from .memory_keys import MemoryKeys
from .memory_tokens import pointer_tokens, spatial_tokens
from .neck import ImageEncoder
from .other_sides import OtherSides
from .positions import FixedTable, sine_grid
from .prompt_encoder import PADDING_LABEL, PromptEncoder

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
ABSENT_LOGIT = -1024.0
"""Every logit of a slice in which the object is absent."""
MASK_SCALE, MASK_BIAS = 20.0, -10.0
"""A probability p enters the memory, and a user's mask becomes logits, as 20 p - 10."""
PRIOR_LIMIT = 32.0
MEMORY_DTYPE = torch.bfloat16
"""SAM 2 keeps its spatial memories in bfloat16, in single precision runs too."""


class Sam2Network(nn.Module):
    """SAM 2 or 2.1. Its state dict has the names of the official checkpoints, so those load strictly.

    A slice's features are three levels: (B, dim / 8, S/4, S/4), (B, dim / 4, S/8, S/8), (B, dim, S/16, S/16).
    A memory's tensor "spatial" is (B, memory_dim, S/16, S/16).
    """

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.config = config
        self.info = NetworkInfo(
            name=config.name,
            image_size=config.image_size,
            logit_size=config.logit_size,
            memory_slots=config.memory_slots,
            pointer_slots=config.pointer_slots,
            prefers_crop=False,
            smaller_sides=config.smaller_sides,
        )
        dim, memory_dim = config.dim, config.memory_dim
        self.image_encoder = ImageEncoder(config)
        self.memory_attention = MemoryAttention(config)
        self.memory_encoder = MemoryEncoder(config)
        self.sam_prompt_encoder = PromptEncoder(config)
        self.sam_mask_decoder = MaskDecoder(config)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.obj_ptr_proj = Mlp(dim, dim, dim, 3, "relu")
        self.maskmem_tpos_enc = nn.Parameter(torch.randn(config.memory_slots, 1, 1, memory_dim) * 0.02)
        self.no_mem_embed = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.no_mem_pos_enc = nn.Parameter(torch.randn(1, 1, dim) * 0.02)  # in every checkpoint, read by none
        self.no_obj_ptr = nn.Parameter(torch.randn(1, dim) * 0.02)
        if config.version == "2.1":
            self.no_obj_embed_spatial = nn.Parameter(torch.randn(1, memory_dim) * 0.02)
            self.obj_ptr_tpos_proj = nn.Linear(dim, memory_dim)
        self.feature_positions = FixedTable(lambda: sine_grid(dim, config.feature_size))
        self.memory_positions = FixedTable(lambda: sine_grid(memory_dim, config.feature_size))
        self._memory_keys = MemoryKeys(self.memory_attention)
        self._sides = OtherSides(self)
        self.image_mean = FixedTable(lambda: torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1))
        self.image_std = FixedTable(lambda: torch.tensor(IMAGE_STD).view(1, 3, 1, 1))

    @classmethod
    def random(cls, config: Sam2Config, seed: int = 0) -> Sam2Network:
        """A network with random weights, for tests and for timing; ready for inference, without gradients."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = cls(config)
        # an untrained object score would declare half of all objects absent
        nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.last_bias, 3.0)
        return network.eval().requires_grad_(False)

    def unfilled(self, config: Sam2Config) -> Sam2Network:
        """A network of this kind whose weights are still to be filled in."""
        return type(self)(config)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.no_mem_embed.dtype

    def encode(self, images: Tensor) -> Features:
        """Features of images (B, 1 or 3, S, S) in [0, 1], S: `image_size` or a smaller side that the network is told to
        take, which it does not learn at. Raises ValueError for another shape.
        """
        if images.shape[-1] in self.info.smaller_sides and not self.training:
            return self._sides.of(images.shape[-1]).encode(images)
        size = self.config.image_size
        if images.ndim != 4 or images.shape[1] not in (1, 3) or images.shape[2:] != (size, size):
            raise ValueError(f"This SAM 2 takes images (B, 1 or 3, {size}, {size}), not {tuple(images.shape)}.")
        normalised = (images - self.image_mean.table) / self.image_std.table
        decoder = self.sam_mask_decoder
        return Features(self.image_encoder(normalised.to(self.dtype), decoder.conv_s0, decoder.conv_s1))

    def attend(self, features: Features, reads: Sequence[MemoryRead], slice_count: int) -> Conditioned:
        """Features that have read the memories, in the order of `reads`; spatial memories before pointers.

        Features of one slice (B = 1) may read the memories of B objects. Raises ValueError for a slot that the
        network does not have.
        """
        if (other := self._sides.seeing(features)) is not None:
            return other.attend(features, reads, slice_count)
        raw = features.levels[-1]
        if not reads:
            initial = raw + self.no_mem_embed.view(1, -1, 1, 1)
            return Conditioned(Features((*features.levels[:-1], initial)), {"raw": raw}, is_initial=True)
        spatial = spatial_tokens(reads, self.memory_positions.table, self.maskmem_tpos_enc)
        projection = self.obj_ptr_tpos_proj if self.config.version == "2.1" else None
        slots = min(slice_count, self.config.pointer_slots)
        pointers = pointer_tokens(reads, slots, self.config.memory_dim, projection)
        memory = torch.cat([part.values for part in (spatial, pointers)], dim=1).to(self.dtype)
        code, grid = self.feature_positions.table, self.memory_positions.table
        if torch.is_grad_enabled():
            positions = torch.cat([part.positions for part in (spatial, pointers)], dim=1).to(self.dtype)
            read = self.memory_attention(raw, code, memory, positions, pointers.values.shape[1])
        else:
            keys = self._memory_keys.layerwise(reads, pointers, grid, self.maskmem_tpos_enc)
            read = self.memory_attention.read(raw, code, memory, keys)
        return Conditioned(Features((*features.levels[:-1], read)), {"raw": raw})

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        """Masks of the slice: three candidates for at most one point, else one.

        A mask alone is taken over as it is, of quality 1. A mask with points is what the points correct: it takes the
        place of `prior`.
        """
        if (other := self._sides.seeing(conditioned.features)) is not None:
            return other.decode(conditioned, prompts, prior)
        if prompts is not None and prompts.mask is not None:
            if prompts.count == 0:
                return self._take_over(conditioned, prompts.mask)
            prior = self._shrink(prompts.mask.float() * MASK_SCALE + MASK_BIAS)
        if prior is not None:
            prior = prior.clamp(-PRIOR_LIMIT, PRIOR_LIMIT)
        ambiguous = prompts is None or prompts.count <= 1
        return self._decode(conditioned.features.levels, prompts, prior, ambiguous, self._refinement(conditioned))

    def remember(
        self, features: Features, logits: Tensor, object_score: Tensor, pointer: Tensor | None, prompted: bool
    ) -> Memory:
        """Memory of a finished slice: its raw features with its mask, made binary where the user prompted it."""
        if (other := self._sides.seeing(features)) is not None:
            return other.remember(features, logits, object_score, pointer, prompted)
        size = self.config.image_size
        if logits.shape[-1] != size:
            logits = F.interpolate(logits.float(), size=(size, size), mode="bilinear", align_corners=False)
        probability = (logits > 0).float() if prompted else logits.float().sigmoid()
        mask = (probability * MASK_SCALE + MASK_BIAS).to(self.dtype)
        raw = features.levels[-1].expand(mask.shape[0], -1, -1, -1)
        tensors = self._memorised(raw, mask)
        if self.config.version == "2.1":
            absent = (object_score <= 0).to(mask.dtype)
            tensors["spatial"] = tensors["spatial"] + (absent * self.no_obj_embed_spatial)[..., None, None]
        return Memory({name: tensor.to(MEMORY_DTYPE) for name, tensor in tensors.items()}, pointer)

    def _memorised(self, raw: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """What a memory consists of; networks that are made of this one add to it."""
        return {"spatial": self.memory_encoder(raw, mask)}

    def _refinement(self, conditioned: Conditioned) -> Refinement | None:
        """What the decoder's image goes through; nothing in SAM 2 itself."""
        return None

    def _decode(
        self,
        levels: Sequence[Tensor],
        prompts: Prompts | None,
        prior: Tensor | None,
        ambiguous: bool,
        refine: Refinement | None = None,
    ) -> Decoded:
        """Masks of features (B or 1, C, h, w); without points a padding point stands in, as in training."""
        if prompts is not None and prompts.points is not None and prompts.labels is not None:
            points, labels = prompts.points, prompts.labels
        else:
            batch = levels[-1].shape[0] if prior is None else prior.shape[0]
            points = torch.zeros(batch, 1, 2, device=levels[-1].device)
            labels = torch.full((batch, 1), PADDING_LABEL, device=points.device)
        fine, middle, coarse = (level.expand(points.shape[0], -1, -1, -1) for level in levels)
        raw = self.sam_mask_decoder(
            (fine, middle, coarse),
            self.sam_prompt_encoder.grid_positions(),
            self.sam_prompt_encoder.embed_points(points, labels),
            self.sam_prompt_encoder.embed_mask(prior),
            ambiguous,
            refine,
        )
        present = raw.object_score > 0
        return Decoded(
            logits=torch.where(present[..., None, None], raw.logits.float(), ABSENT_LOGIT),
            quality=raw.quality.float(),
            object_score=raw.object_score.float(),
            chosen=raw.quality.argmax(dim=1),
            pointers=self._without_absent(self.obj_ptr_proj(raw.tokens), present),
        )

    def _take_over(self, conditioned: Conditioned, mask: Tensor) -> Decoded:
        """The user's mask (B, 1, S, S) in [0, 1] as the result, with the pointer that the decoder gives it."""
        mask = mask.float()
        levels = (*conditioned.features.levels[:-1], conditioned.tensors["raw"])
        dense = self.mask_downsample(mask.to(self.dtype))
        decoded = self._decode(levels, None, dense, ambiguous=False)
        present = (mask > 0).flatten(1).any(dim=1, keepdim=True)
        assert decoded.pointers is not None
        return Decoded(
            logits=self._shrink(mask * MASK_SCALE + MASK_BIAS),
            quality=mask.new_ones(mask.shape[0], 1),
            object_score=present.float() * MASK_SCALE + MASK_BIAS,
            chosen=torch.zeros(mask.shape[0], dtype=torch.long, device=mask.device),
            pointers=self._without_absent(decoded.pointers, present),
        )

    def _without_absent(self, pointers: Tensor, present: Tensor) -> Tensor:
        """Pointers (B, M, dim), replaced by the learned one where the object is not `present` (B, 1)."""
        return torch.where(present[..., None], pointers, self.no_obj_ptr)

    def _shrink(self, logits: Tensor) -> Tensor:
        """(B, 1, S, S) to (B, 1, S/4, S/4)."""
        size = (self.config.logit_size, self.config.logit_size)
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False, antialias=True)
