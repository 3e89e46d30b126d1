"""Mem3D behind the seam of the networks: memory network, quality head, and interaction networks for prompted slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memseg3d.network.mem3d.guides import guide_of
from memseg3d.network.mem3d.interaction import InteractionNetwork
from memseg3d.network.mem3d.memory_network import MemoryNetwork, Seen, read
from memseg3d.network.mem3d.prompted import CERTAIN, Drawn, answering, guess, run, taken_away
from memseg3d.network.mem3d.shapes import InteractionShape, MemoryShape, Sight
from memseg3d.network.seam import Conditioned, Decoded, Features, Memory, MemoryRead, NetworkInfo, Prompts
from memseg3d.network.signs import INTERACTION

MEMORY_SLOTS = 7
"""STM reads every fifth slice, however many there are; so many are read at most besides the prompted ones."""
FEWEST_PIXELS = 10
"""A slice with fewer pixels of 512 x 512 shows nothing of the object."""


class Mem3dNetwork(nn.Module):
    """A memory network, interaction networks by kind, or both (`memseg3d.network.seam.Network`).

    Without a memory network tracked slices are prompted anew by the mask of the slice beside them; without interaction
    networks a prompted slice reads a first guess at its own mask as if it were memory.
    """

    def __init__(
        self,
        memory: MemoryNetwork | None,
        interaction: Mapping[str, InteractionNetwork] | None = None,
        sight: Sight | None = None,
    ) -> None:
        """Raises ValueError without any network."""
        super().__init__()
        if memory is None and not interaction:
            raise ValueError("Mem3D needs its memory network, or an interaction network at least.")
        self.memory = memory
        self.interaction = nn.ModuleDict(dict(interaction or {}))
        self.sight = sight or Sight()
        self.info = NetworkInfo(
            name="mem3d",
            image_size=self.sight.image_size,
            logit_size=self.sight.image_size,
            memory_slots=MEMORY_SLOTS,
            pointer_slots=0,
            prefers_crop=self.sight.crop,
            memory_rule="stm",
            reads_drawings=True,
        )

    @property
    def networks(self) -> dict[str, InteractionNetwork]:
        """The interaction networks by kind."""
        return {kind: each for kind, each in self.interaction.items() if isinstance(each, InteractionNetwork)}

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def encode(self, images: Tensor) -> Features:
        """The slice itself (B, 1 or 3, S, S), for memory and interaction, and what the query encoder makes of it."""
        images = images.to(self._dtype)
        return Features((images,) if self.memory is None else (images, *self.memory.see(images)))

    def attend(self, features: Features, reads: Sequence[MemoryRead], slice_count: int) -> Conditioned:
        """Read keys and values of the memories; without a memory network the mask of the nearest one."""
        memories = [(each.slot, each.memory.tensors) for each in reads if each.slot is not None]
        if not memories:
            return Conditioned(features, is_initial=True)
        if self.memory is None:
            # The slice beside is in slot 1, or it is the prompted one in slot 0, which comes last.
            beside = next((tensors for slot, tensors in memories if slot == 1), memories[-1][1])
            return Conditioned(features, {"probability": beside["probability"]})
        seen = _seen(features)
        keys, values = ([tensors[name] for _, tensors in memories] for name in ("key", "value"))
        return Conditioned(features, {"found": read(seen.key, seen.value, keys, values)})

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        """One candidate at S x S. A user's mask without clicks is taken over as it is."""
        if prompts is None:
            return self._tracked(conditioned)
        if prompts.mask is not None:
            given = (prompts.mask.float() * 2 - 1) * CERTAIN
            if prompts.count == 0:
                return _decoded(given, torch.ones(len(given), 1, device=given.device), 1)
            prior = given if prior is None else prior
        rows = [self._prompted(conditioned, prompts, prior, row) for row in range(len(conditioned.features.levels[0]))]
        logits = torch.stack(rows)
        # What the user has prompted is what is wanted.
        return _decoded(logits, torch.ones(len(logits), 1, device=logits.device), self._fewest)

    def remember(
        self, features: Features, logits: Tensor, object_score: Tensor, pointer: Tensor | None, prompted: bool
    ) -> Memory:
        """Key and value of a finished slice: of its mask where it was prompted, else of its soft probabilities."""
        size = self.sight.image_size
        logits = logits.float()
        if logits.shape[-1] != size:
            logits = F.interpolate(logits, size=(size, size), mode="bilinear", align_corners=False)
        probability = (logits > 0).float() if prompted else logits.sigmoid()
        probability = probability.to(self._dtype)
        if self.memory is None:
            return Memory({"probability": probability})
        key, value = self.memory.memorise(features.levels[0], probability)
        return Memory({"key": key, "value": value})

    @property
    def _fewest(self) -> float:
        return FEWEST_PIXELS * (self.sight.image_size / 512) ** 2

    def _tracked(self, conditioned: Conditioned) -> Decoded:
        """A slice that nobody prompted, from memory; without any, nothing."""
        images, tensors = conditioned.features.levels[0], conditioned.tensors
        batch, size = images.shape[0], images.shape[-1]
        unknown = torch.full((batch, 1), 0.5, device=images.device)
        if self.memory is not None and "found" in tensors:
            seen = _seen(conditioned.features)
            logits = self.memory.decoded(seen, tensors["found"])
            quality = self.memory.judged(seen, tensors["found"], logits)
            return _decoded(logits, _sureness(logits) if quality is None else quality.sigmoid(), self._fewest)
        if "probability" in tensors:
            followed = [self._followed(image, each) for image, each in zip(images, tensors["probability"], strict=True)]
            logits = torch.stack(followed)
            return _decoded(logits, _sureness(logits), self._fewest)
        return _decoded(torch.full((batch, 1, size, size), -CERTAIN, device=images.device), unknown, self._fewest)

    def _followed(self, image: Tensor, probability: Tensor) -> Tensor:
        """Logits (1, S, S): an interaction network is prompted as it would have been for the mask beside."""
        network = next(iter(self.networks.values()))
        guide = guide_of(network.shape.kind, probability[0] > 0.5)
        if guide is None:
            return torch.full_like(probability, -CERTAIN, dtype=torch.float32)
        return run(network, image, guide, self.sight.image_size)

    def _prompted(self, conditioned: Conditioned, prompts: Prompts, prior: Tensor | None, row: int) -> Tensor:
        """Logits (1, S, S) of one row: what was drawn, or what stands and clicks correct."""
        image = conditioned.features.levels[0][row]
        side = image.shape[-1]
        drawn = Drawn.of(prompts, row)
        stands = None if drawn.outlines else self._standing(conditioned, prior, row)
        before = None if stands is None else stands[0] > 0
        logits = stands
        missed = [point for point in drawn.positive if before is None or not _holds(before, point)]
        stroke = drawn.kind == "scribble"
        if drawn.kind is not None and (drawn.outlines or stroke or missed or stands is None):
            network = answering(drawn.kind, self.networks)
            if network is not None:
                guide = drawn.guide(network.shape.kind, side, before)
                found = run(network, image, guide, self.sight.image_size)
            else:
                found = self._from_guess(conditioned, guess(drawn, side, before, image.device), row)
            logits = found if stands is None else torch.maximum(found, stands)
        if logits is None:
            logits = torch.full((1, side, side), -CERTAIN, device=image.device)
        return taken_away(logits, drawn)

    def _standing(self, conditioned: Conditioned, prior: Tensor | None, row: int) -> Tensor | None:
        """Logits (1, S, S) that clicks correct: the last result, or what memory says of the slice."""
        size = self.sight.image_size
        if prior is not None:
            each = prior[row : row + 1].float()
            return F.interpolate(each, size=(size, size), mode="bilinear", align_corners=False)[0]
        if conditioned.is_initial or not conditioned.tensors:
            return None
        return self._tracked(_row(conditioned, row)).logits[0]

    def _from_guess(self, conditioned: Conditioned, mask: Tensor, row: int) -> Tensor:
        """The memory network reads a guess at the slice's own mask as if it had been a slice before."""
        assert self.memory is not None
        features = _row(conditioned, row).features
        key, value = self.memory.memorise(features.levels[0], mask[None, None].to(self._dtype))
        return self.memory.segment(_seen(features), [key], [value])[0][0]


def from_tensors(tensors: Mapping[str, Tensor], sight: Sight) -> Mem3dNetwork:
    """The network whose parts a state dict holds. Raises KeyError, ValueError or RuntimeError for another's."""
    own = {name: each.float() if each.is_floating_point() else each for name, each in tensors.items()}
    parts: dict[str, dict[str, Tensor]] = {}
    for name in [name for name in own if name.startswith(INTERACTION)]:
        kind, _, rest = name.removeprefix(INTERACTION).partition(".")
        parts.setdefault(kind, {})[rest] = own.pop(name)
    memory = None
    networks: dict[str, InteractionNetwork] = {}
    # Tensors of the file take the places of weights that are never drawn.
    with torch.device("meta"):
        if own:
            memory = MemoryNetwork(MemoryShape.of(own))
        for kind, state in parts.items():
            networks[kind] = InteractionNetwork(InteractionShape.of(kind, state))
    if memory is not None:
        # Image statistics are constants here; STM keeps them in its file.
        _take(memory, {name: each for name, each in own.items() if not name.endswith((".mean", ".std"))})
    for kind, state in parts.items():
        _take(networks[kind], state)
    return Mem3dNetwork(memory, networks, sight)


def to_tensors(network: Mem3dNetwork) -> dict[str, Tensor]:
    """The state dict that `from_tensors` reads: STM's names for the memory network."""
    tensors = {} if network.memory is None else dict(network.memory.state_dict())
    for kind, each in network.networks.items():
        tensors |= {f"{INTERACTION}{kind}.{name}": tensor for name, tensor in each.state_dict().items()}
    return tensors


def _take(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Take over a whole state dict; how many batches a norm has seen counts nothing. Raises KeyError, RuntimeError."""
    uncounted = [name for name in module.state_dict() if name.endswith("num_batches_tracked")]
    counted = {name: torch.zeros((), dtype=torch.long) for name in uncounted} | state
    found = module.load_state_dict(counted, strict=False, assign=True)
    if found.missing_keys:
        raise KeyError(found.missing_keys[0])
    if found.unexpected_keys:
        raise RuntimeError(f"{len(found.unexpected_keys)} tensors are unknown ({found.unexpected_keys[0]}, ...)")


def _seen(features: Features) -> Seen:
    return Seen(*features.levels[1:])


def _row(conditioned: Conditioned, row: int) -> Conditioned:
    at = slice(row, row + 1)
    features = Features(tuple(level[at] for level in conditioned.features.levels))
    return Conditioned(features, {name: each[at] for name, each in conditioned.tensors.items()}, conditioned.is_initial)


def _sureness(logits: Tensor) -> Tensor:
    """(B, 1): mean confidence within the mask, where no head judges it; 0.5 without a mask."""
    probability = logits.sigmoid()
    inside = (probability > 0.5).float()
    total = inside.sum((2, 3))
    return torch.where(total > 0, (probability * inside).sum((2, 3)) / total.clamp(min=1), torch.full_like(total, 0.5))


def _holds(mask: Tensor, point: tuple[float, float]) -> bool:
    row, column = (min(max(round(at), 0), mask.shape[0] - 1) for at in point)
    return bool(mask[row, column])


def _decoded(logits: Tensor, quality: Tensor, fewest: float) -> Decoded:
    """fewest: pixels below which the object is absent."""
    logits = logits.float()
    present = (logits > 0).flatten(1).sum(1, keepdim=True) >= fewest
    logits = torch.where(present[:, :, None, None], logits, logits.clamp(max=-CERTAIN))
    score = torch.where(present, CERTAIN, -CERTAIN).to(logits.dtype)
    chosen = torch.zeros(logits.shape[0], dtype=torch.long, device=logits.device)
    return Decoded(logits, quality.float(), score, chosen)
