"""SAM 2 with MemRefine's modules behind the seam: CPGF before and after the decoder's transformer, LGFF after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from memseg3d.network.memrefine.config import MemRefineConfig
from memseg3d.network.memrefine.cpgf import AttentionCpgf, Cpgf, ReleaseCpgf
from memseg3d.network.memrefine.lgff import SPEED, Lgff, LgffGate, release_boost, release_ratio
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.sam2.mask_decoder import Refinement
from memseg3d.network.seam import Conditioned, Features, MemoryRead

RELEASE_FUSED = 0.65
"""Share of the memory-boosted features beside the refined ones in the published decoder."""
OWN = ("cpgf_", "lgff")
"""How the names of MemRefine's own weights begin; all others are SAM 2's."""


class MemRefineNetwork(Sam2Network):
    """SAM 2 that reads wide memories once more, and refines what its decoder enlarges.

    A memory also keeps "embedding": (B, dim, S/16, S/16), the memory encoder's features before they are narrowed. With
    new modules every answer is SAM 2's own to the bit (blend "gated"): what they add starts at zero.
    """

    def __init__(self, config: Sam2Config, refine: MemRefineConfig) -> None:
        super().__init__(config)
        self.refine = refine
        kind = AttentionCpgf if refine.cpgf_mode == "attn" else ReleaseCpgf
        if refine.cpgf:
            self.cpgf_pre: Cpgf = kind(config.dim, refine)
            self.cpgf_post: Cpgf = kind(config.dim, refine)
        if refine.use_lgff:
            self.lgff = Lgff(config.dim, norm="batch" if refine.blend == "release" else "group")
            if refine.blend == "gated":
                self.lgff_gate = LgffGate(config.dim)
                self.lgff_start = nn.Parameter(torch.zeros(()))

    @classmethod
    def of(cls, network: Sam2Network, refine: MemRefineConfig, seed: int = 0) -> MemRefineNetwork:
        """With the weights of a SAM 2 and new modules."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = cls(network.config, refine)
        missing, unknown = made.load_state_dict(network.state_dict(), strict=False)
        assert not unknown
        assert all(name.startswith(OWN) for name in missing)
        made.info = replace(made.info, licence=network.info.licence)
        return made.train(network.training)

    def unfilled(self, config: Sam2Config) -> MemRefineNetwork:
        """A network of this kind whose weights are still to be filled in."""
        return type(self)(config, self.refine)

    def attend(self, features: Features, reads: Sequence[MemoryRead], slice_count: int) -> Conditioned:
        """As SAM 2; then the features are guided by up to `cpgf_topk` of the memories."""
        if (other := self._sides.seeing(features)) is not None:
            return other.attend(features, reads, slice_count)
        conditioned = super().attend(features, reads, slice_count)
        chosen = self._chosen(reads) if self.refine.cpgf else []
        if not chosen:
            return conditioned
        dtype = self.dtype
        memories = torch.stack([read.memory.tensors["embedding"].detach().to(dtype) for read in chosen], 1)
        offsets = torch.tensor([_distance(read) for read in chosen])
        guided = self.cpgf_pre(conditioned.features.levels[-1], memories, offsets.tolist())
        return Conditioned(
            Features((*conditioned.features.levels[:-1], guided)),
            {**conditioned.tensors, "memories": memories, "offsets": offsets},
        )

    def _memorised(self, raw: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The wide features beside the narrow ones."""
        if not self.refine.cpgf:
            return super()._memorised(raw, mask)
        wide = self.memory_encoder.fuse(raw, mask)
        return {"spatial": self.memory_encoder.out_proj(wide), "embedding": wide}

    def _refinement(self, conditioned: Conditioned) -> Refinement | None:
        """CPGF once more, then LGFF."""
        memories, offsets = conditioned.tensors.get("memories"), conditioned.tensors.get("offsets")

        def refine(image: Tensor, token: Tensor) -> Tensor:
            guided = image
            if memories is not None and offsets is not None:
                rows = memories.expand(image.shape[0], -1, -1, -1, -1)
                guided = self.cpgf_post(image, rows, offsets.tolist())
            if self.refine.blend == "release":
                return self._release_blend(image, guided)
            if not self.refine.use_lgff:
                return guided
            return guided + SPEED * self.lgff_start * self.lgff_gate(token) * (self.lgff(guided, guided) - guided)

        return refine if self.refine.use_lgff or memories is not None else None

    def _release_blend(self, image: Tensor, guided: Tensor) -> Tensor:
        """The published decoder's fixed shares; memory counts twice there, as its CPGF already adds the features."""
        epoch = self.refine.epoch
        boosted = image if guided is image else image + release_boost(epoch) * guided
        refined = self.lgff(image, image) if self.refine.use_lgff else image
        fused = RELEASE_FUSED * boosted + (1 - RELEASE_FUSED) * refined
        ratio = release_ratio(epoch)
        return ratio * fused + (1 - ratio) * image

    def _chosen(self, reads: Sequence[MemoryRead]) -> list[MemoryRead]:
        """The spatial reads that guide: prompted slices first, then the nearest."""
        wide = [read for read in reads if read.slot is not None and "embedding" in read.memory.tensors]
        return sorted(wide, key=lambda read: read.slot or 0)[: self.refine.cpgf_topk]


def _distance(read: MemoryRead) -> float:
    """Slices to a memory, as far as the read tells it: its slot is its rank."""
    return float(read.slot or 0) if read.pointer_offset is None else float(read.pointer_offset)
