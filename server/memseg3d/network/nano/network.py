"""The embedded network: image encoder, memory readout, guided U-Net decoder, quality and presence heads.

A memory network in the manner of STM and Mem3D (keys and values of finished slices, read by attention), with the
adjacent slice's features and mask joined densely, and SAM 2's prompts, object score and predicted quality.
Trained by `memseg3d train nano`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memseg3d.network.nano.blocks import Down, ResidualBlock, Up, norm
from memseg3d.network.nano.config import MAPS, NanoConfig
from memseg3d.network.nano.guidance import PREVIOUS, contradiction_maps, mask_map, prompt_maps
from memseg3d.network.nano.reader import MemoryReader
from memseg3d.network.parts import CompiledParts, Part
from memseg3d.network.seam import Conditioned, Decoded, Features, Memory, MemoryRead, NetworkInfo, Prompts

CHANNELS = 2
COARSE_SIZE = 64
"""Of the sides below the full one the smallest at which crops are told apart: at 48 a tenth of Dice was lost."""
USER_MASK_LOGIT = 10.0
"""Logit of a user's own mask, taken over as it is."""

FIRST_LAYER = "decoder.fuse2.weight"
"""The tensor that reads the guidance maps."""
ROOMY, ROOMY_PART = "roomy.", "decode a box with room"
"""What the names of the tensors of the decoder for boxes with room begin with, and its name among the parts."""


class ImageEncoder(nn.Module):
    """(B, 2, S, S) -> features at strides 2, 4 and 8."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        c2, c4, c8, _ = config.widths
        self.stem = nn.Conv2d(4 * CHANNELS, c2, 3, padding=1)
        self.block2 = ResidualBlock(c2)
        self.down4, self.block4 = Down(c2, c4), ResidualBlock(c4)
        self.down8, self.block8 = Down(c4, c8), nn.Sequential(ResidualBlock(c8), ResidualBlock(c8))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        level2 = self.block2(self.stem(F.pixel_unshuffle(images - 0.5, 2)))
        level4 = self.block4(self.down4(level2))
        return level2, level4, self.block8(self.down8(level4))


class GuidedDecoder(nn.Module):
    """A U-Net over the current slice, the adjacent slice, the guidance maps and what memory gave.

    Maps, joined at full resolution: box, positive, negative; prior and its presence; adjacent mask and its presence;
    with `NanoConfig.maps` 9 also the clicks that contradict the prior, narrow and wide.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        c2, c4, c8, c16 = config.widths
        self.fuse2 = nn.Conv2d(2 * c2 + 4 * config.maps, c2, 3, padding=1)
        self.block2 = ResidualBlock(c2)
        self.down4, self.fuse4, self.block4 = Down(c2, c4), nn.Conv2d(3 * c4, c4, 1), ResidualBlock(c4)
        self.down8, self.fuse8 = Down(c4, c8), nn.Conv2d(3 * c8, c8, 1)
        self.block8 = nn.Sequential(ResidualBlock(c8), ResidualBlock(c8))
        self.down16, self.block16 = Down(c8, c16), nn.Sequential(ResidualBlock(c16), ResidualBlock(c16))
        self.up8, self.up4, self.up2 = Up(c16, c8, c8), Up(c8, c4, c4), Up(c4, c2, c2)
        self.mask = nn.Sequential(norm(c2), nn.SiLU(), nn.Conv2d(c2, 4, 1))
        self.presence = nn.Sequential(nn.Linear(2 * c16, 64), nn.SiLU(), nn.Linear(64, 1))
        self.quality = nn.Sequential(nn.Linear(c16 + 2 * c8 + 2, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(
        self, levels: Sequence[Tensor], adjacent: Sequence[Tensor], found: Tensor, maps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, 1, S, S), presence logit (B, 1) and quality logit (B, 1). maps: all, or `PREVIOUS` alone where the
        others are nought.
        """
        x2 = self.block2(self._fused2(torch.cat([levels[0], adjacent[0], F.pixel_unshuffle(maps, 2)], 1)))
        x4 = self.block4(self.fuse4(torch.cat([self.down4(x2), levels[1], adjacent[1]], 1)))
        x8 = self.block8(self.fuse8(torch.cat([self.down8(x4), levels[2], found], 1)))
        x16 = self.block16(self.down16(x8))
        y8 = self.up8(x16, x8)
        y2 = self.up2(self.up4(y8, x4), x2)
        logits = F.pixel_shuffle(self.mask(y2), 2).float()
        pooled = x16.float().mean((2, 3))
        presence = self.presence(torch.cat([pooled, x16.float().amax((2, 3))], 1).to(x16.dtype))
        # The heads judge the mask, they must not bend it.
        probability = logits.detach().sigmoid()
        weight = F.avg_pool2d(probability, 8)
        total = weight.sum((2, 3)) + 1e-3
        inside = (y8.float().detach() * weight).sum((2, 3)) / total
        edge = 4 * F.avg_pool2d(probability * (1 - probability), 8)
        around = (y8.float().detach() * edge).sum((2, 3)) / (edge.sum((2, 3)) + 1e-3)
        shares = torch.cat([weight.mean((2, 3)), edge.sum((2, 3)) / total], 1)
        quality = self.quality(torch.cat([pooled.detach(), inside, around, shares], 1).to(x16.dtype))
        return logits, presence.float(), quality.float()

    def _fused2(self, x: Tensor) -> Tensor:
        """The first layer; where it is given fewer maps than it reads, without the weights of those that are nought."""
        weight = self.fuse2.weight
        if x.shape[1] == weight.shape[1]:
            return self.fuse2(x)
        first = 2 * self.down4.conv.in_channels
        told = slice(first + 4 * PREVIOUS.start, first + 4 * PREVIOUS.stop)
        return self.fuse2._conv_forward(x, torch.cat([weight[:, :first], weight[:, told]], 1), self.fuse2.bias)


class NanoNetwork(nn.Module):
    """The embedded network behind the seam (`memseg3d.network.seam.Network`)."""

    calls_at_once = True
    """As `joint.CallsAtOnce` has it: nothing is kept between calls."""

    def __init__(self, config: NanoConfig | None = None, sha256: str = "") -> None:
        super().__init__()
        self.config = config or NanoConfig()
        self.encoder = ImageEncoder(self.config)
        self.reader = MemoryReader(self.config)
        self.decoder = GuidedDecoder(self.config)
        self.roomy = None if self.config.boxes is None else GuidedDecoder(self.config)
        """Decodes boxes that leave room about their object, before anything else is known of it."""
        self.compiled = CompiledParts()
        self.ranges: Mapping[str, tuple[float, float, float, float]] | None = None
        self.info = NetworkInfo(
            name=self.config.name,
            image_size=self.config.image_size,
            logit_size=self.config.image_size,
            memory_slots=self.config.memory_slots,
            pointer_slots=0,
            prefers_crop=True,
            coarse_size=COARSE_SIZE if self.config.image_size > COARSE_SIZE else None,
            channels=CHANNELS,
            tracks_with_prior=False,
            corrects_with_prior=True,
            ending=self.config.ending,
            calibration=self.config.calibration,
            clicks=self.config.clicks,
            tracked=self.config.tracked,
            boxes=self.config.boxes,
            sha256=sha256,
            licence="Apache-2.0",
        )

    @property
    def _dtype(self) -> torch.dtype:
        return self.encoder.stem.weight.dtype

    def encode(self, images: Tensor) -> Features:
        """Features of (B, 2, S, S) images in [0, 1] at strides 2, 4, 8; one channel is repeated."""
        if images.shape[1] == 1:
            images = images.repeat(1, CHANNELS, 1, 1)
        return Features(self.compiled.run("encode", self._encoded, images.to(self._dtype)))

    def _encoded(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.encoder(images.contiguous(memory_format=torch.channels_last)))

    def attend(self, features: Features, reads: Sequence[MemoryRead], slice_count: int) -> Conditioned:
        """Read keys and values of the memories; the one with slot 1 is also the adjacent slice of the dense path."""
        spatial = [(r.memory.tensors, min(r.slot, self.config.memory_slots - 1)) for r in reads if r.slot is not None]
        if not spatial:
            return Conditioned(features, {"found": torch.zeros_like(features.levels[2])}, is_initial=True)
        keys, values = [m["key"] for m, _ in spatial], [m["value"] for m, _ in spatial]
        told = self.reader.told(keys, values, [slot for _, slot in spatial])
        found = self.compiled.run("read", self.reader.read, features.levels[2], *told)[0]
        tensors = {"found": found}
        for memory, slot in spatial:
            if slot == 1:
                tensors |= {name: memory[name] for name in ("level2", "level4", "probability")}
        return Conditioned(features, tensors)

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        """One candidate mask (M = 1) at S x S. A user's mask without clicks is returned as it is."""
        if prompts is not None and prompts.mask is not None:
            given = (prompts.mask.float() * 2 - 1) * USER_MASK_LOGIT
            if prompts.count == 0:
                return self._taken_over(given)
            prior = given if prior is None else prior
        return self._decode(conditioned, prompts, prior)

    def decode_some(
        self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None, shown: Tensor
    ) -> Decoded:
        """`decode` for training: only the rows of which `shown` (B,) bool is true have a prior."""
        return self._decode(conditioned, prompts, prior, shown)

    def _decode(
        self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None, shown: Tensor | None = None
    ) -> Decoded:
        levels, tensors = conditioned.features.levels, conditioned.tensors
        batch, size, device = levels[0].shape[0], 2 * levels[0].shape[-1], levels[0].device
        if "probability" in tensors:
            probability = tensors["probability"].float()
            previous = torch.cat([probability, torch.ones_like(probability)], 1)
            adjacent = (tensors["level2"], tensors["level4"])
        else:
            previous = torch.zeros(batch, 2, size, size, device=device)
            adjacent = (torch.zeros_like(levels[0]), torch.zeros_like(levels[1]))
        if prior is None and (prompts is None or prompts.count == 0) and not torch.is_grad_enabled():
            maps = previous
        else:
            told = [mask_map(prior, batch, size, device)]
            if self.config.maps == MAPS:
                told.append(contradiction_maps(prompts, prior, batch, size, device))
            if shown is not None:
                told = [each * shown[:, None, None, None] for each in told]
            maps = torch.cat([prompt_maps(prompts, batch, size, device), told[0], previous, *told[1:]], dim=1)
        name, function = ("decode", self._decoded)
        if self.roomy is not None and prompts is not None and prompts.roomy:
            name, function = ROOMY_PART, self._decoded_roomy
        logits, presence, quality = self.compiled.run(
            name, function, *levels, *adjacent, tensors["found"], maps.to(levels[0].dtype)
        )
        chosen = torch.zeros(batch, dtype=torch.long, device=device)
        return Decoded(logits, quality.sigmoid(), presence, chosen, extras={"quality_logit": quality})

    def _decoded(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return _told(self.decoder, *tensors)

    def _decoded_roomy(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        assert self.roomy is not None
        return _told(self.roomy, *tensors)

    def parts(self) -> list[Part]:
        """What one slice asks of the network: its image, memories, with and without prompts."""
        (_, _, c8, _), keys, maps = self.config.widths, self.config.key_width, self.config.maps
        size, some = self.config.image_size, self._some
        decoded = [self._decoding(size, PREVIOUS.stop - PREVIOUS.start), self._decoding(size, maps)]
        read = [
            Part("read", self.reader.read, (some(size, c8, 8), some(size, keys, 8, count), some(size, c8, 8, count)))
            # Two conditioning slices fill one slot.
            for count in range(1, self.config.memory_slots + 2)
        ]
        written = Part("write", self.reader.write, (some(size, c8, 8), some(size, 1, 1)))
        sides = [size, *([self.info.coarse_size] if self.info.coarse_size else [])]
        encoded = [Part("encode", self._encoded, (some(side, CHANNELS, 1),)) for side in sides]
        roomy = [] if self.roomy is None else [replace(decoded[1], name=ROOMY_PART, function=self._decoded_roomy)]
        return [*encoded, *decoded, *read, written, *(self._decoding(side, maps) for side in sides[1:]), *roomy]

    def _decoding(self, size: int, maps: int) -> Part:
        """The decoder over a square of so many pixels, told so many maps."""
        c2, c4, c8, _ = self.config.widths
        seen = [self._some(size, *each) for each in ((c2, 2), (c4, 4), (c8, 8), (c2, 2), (c4, 4), (c8, 8))]
        return Part("decode", self._decoded, (*seen, self._some(size, maps, 1)))

    @staticmethod
    def _some(size: int, channels: int, stride: int, high: int = 1) -> Tensor:
        """An example of a tensor over `high` squares, one below the other."""
        random = torch.Generator().manual_seed(channels)
        return torch.rand(1, channels, high * size // stride, size // stride, generator=random)

    def _taken_over(self, logits: Tensor) -> Decoded:
        present = (logits > 0).flatten(1).any(1, keepdim=True)
        score = torch.where(present, USER_MASK_LOGIT, -USER_MASK_LOGIT).to(logits.dtype)
        chosen = torch.zeros(logits.shape[0], dtype=torch.long, device=logits.device)
        return Decoded(logits, torch.ones_like(score), score, chosen)

    def remember(
        self, features: Features, logits: Tensor, object_score: Tensor, pointer: Tensor | None, prompted: bool
    ) -> Memory:
        """Key, value, probability and high-resolution features of the finished slice."""
        size = self.config.image_size
        probability = logits.float().clamp(-20, 20).sigmoid()
        if probability.shape[-1] != size:
            probability = F.interpolate(probability, size=(size, size), mode="bilinear", align_corners=False)
        probability = probability.to(features.levels[2].dtype)
        key, value = self.compiled.run("write", self.reader.write, features.levels[2], probability)
        level2, level4 = features.levels[0], features.levels[1]
        return Memory({"key": key, "value": value, "probability": probability, "level2": level2, "level4": level4})


def _told(decoder: GuidedDecoder, *tensors: Tensor) -> tuple[Tensor, ...]:
    *seen, found, maps = tensors
    maps = maps.contiguous(memory_format=torch.channels_last)
    return tuple(decoder(seen[:3], seen[3:], found, maps))


def with_more_maps(state: Mapping[str, Tensor], config: NanoConfig) -> dict[str, Tensor]:
    """Tensors of a network of fewer guidance maps for one of `config.maps`: the new ones count nothing at first."""
    weight = state[FIRST_LAYER]
    missing = 2 * config.widths[0] + 4 * config.maps - weight.shape[1]
    if missing < 0:
        raise ValueError(f"{-missing // 4} guidance maps would be lost.")
    return {**state, FIRST_LAYER: F.pad(weight, (0, 0, 0, 0, 0, missing))}


def from_state(config_json: str, state: Mapping[str, Tensor], sha256: str = "") -> NanoNetwork:
    """The network of a checkpoint: its configuration (JSON) and tensors; raises ValueError where they do not fit."""
    network = NanoNetwork(NanoConfig.from_json(config_json), sha256)
    if network.roomy is None:
        # Without the rule that says when it is meant a decoder for boxes with room is of no use.
        state = {name: tensor for name, tensor in state.items() if not name.startswith(ROOMY)}
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except RuntimeError as error:
        raise ValueError(f"The tensors do not fit the configuration in this checkpoint: {error}") from error
    return network.eval()
