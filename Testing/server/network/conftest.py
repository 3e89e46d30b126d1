"""Fixtures: official networks and ours with the same random weights, and the slices that both look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from memseg3d.network.loading import load_network
from memseg3d.network.sam2 import Sam2Network
from memseg3d.network.seam import Features

from .references import (
    IMAGE_SIZE,
    OCCLUDED,
    PRESENT,
    grey_slices,
    normalised,
    official_predictor,
    set_object_score,
)
from .runs import OfficialRun, TrackerRun

LONG = 20
"""Slices of the longest sequence: more than SAM 2 reads pointers of."""


@dataclass
class Pair:
    """The official predictor and our network with its weights, read from an official checkpoint file."""

    version: str
    official: Any
    ours: Sam2Network
    images: Tensor
    official_features: dict[int, Any]
    our_features: list[Features]

    def runs(self, folder: Path, slices: int) -> tuple[OfficialRun, TrackerRun]:
        """Both sides at the first slices of the volume."""
        theirs = OfficialRun(self.official, self.images[:slices], self.official_features, folder)
        return theirs, TrackerRun(self.ours, self.our_features[:slices], theirs.remembered)


def load_copy(official: Any, folder: Path, image_size: int = IMAGE_SIZE) -> Sam2Network:
    """Our network with the predictor's weights, by way of a file in the official layout."""
    path = folder / "official.pt"
    torch.save({"model": official.state_dict()}, path)
    network = load_network(path, image_size)
    path.unlink()
    assert isinstance(network, Sam2Network)
    return network


@dataclass
class Reference:
    """SAM 2.1 tiny of the reference, and what its image encoder and ours make of the slices."""

    official: Any
    images: Tensor
    official_features: dict[int, Any]
    our_features: list[Features]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """SAM 2.1 tiny, on slices enough for the longest sequence."""
    official = official_predictor("tiny", "2.1")
    ours = load_copy(official, tmp_path_factory.mktemp("reference"))
    images = grey_slices(LONG)
    with torch.inference_mode():
        official_features = {
            index: (image[None], official.forward_image(image[None])) for index, image in enumerate(normalised(images))
        }
        our_features = [ours.encode(image[None]) for image in images]
    return Reference(official, images, official_features, our_features)


@pytest.fixture(scope="session")
def make_pair(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """The pair of a version, made once, in whatever order the tests come."""

    @cache
    def made(version: str) -> Pair:
        official = reference.official
        if version == "2.0":
            official = official_predictor("tiny", "2.0")
            shared = {name: reference.official.state_dict()[name] for name in official.state_dict()}
            official.load_state_dict(shared, strict=True)
        ours = load_copy(official, tmp_path_factory.mktemp("official"))
        return Pair(version, official, ours, reference.images, reference.official_features, reference.our_features)

    return made


@pytest.fixture(scope="session", params=["2.0", "2.1"])
def pair(request: pytest.FixtureRequest, make_pair: Callable[[str], Pair]) -> Pair:
    """SAM 2 or SAM 2.1 tiny; 2.0 has the weights of 2.1 where it has any, so that image features serve both."""
    return make_pair(request.param)


@pytest.fixture(params=["present", "occluded"])
def object_score(request: pytest.FixtureRequest, pair: Pair) -> Iterator[str]:
    """The object is found present on slices without a mask prompt, or occluded."""
    for network in (pair.official, pair.ours):
        set_object_score(network, PRESENT if request.param == "present" else OCCLUDED)
    yield request.param
    for network in (pair.official, pair.ours):
        set_object_score(network, PRESENT)


@pytest.fixture
def both(pair: Pair, tmp_path: Path) -> Iterator[Callable[[int], tuple[OfficialRun, TrackerRun]]]:
    """Starts the official predictor and our tracker on so many slices."""
    with torch.inference_mode():
        yield lambda slices: pair.runs(tmp_path, slices)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch computes by one thread meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
