"""Parity with transformers' Sam2VideoModel, and of the two checkpoint layouts with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from memseg3d.network.loading import load_network
from memseg3d.network.sam2 import Sam2Network

from .conftest import Pair
from .references import IMAGE_SIZE, OCCLUDED, hugging_face_model, hugging_face_state, set_object_score
from .runs import TrackerRun, TransformersRun, assert_same
from .test_parity_sequences import BOX, BOX_AND_NEGATIVE, CLICK, SLICES

pytestmark = pytest.mark.parity

Run = TransformersRun | TrackerRun


@pytest.fixture(scope="module")
def transformers_model(pair: Pair) -> Any:
    """Sam2VideoModel with the weights of the pair."""
    return hugging_face_model(pair.official.state_dict(), pair.version)


@pytest.fixture(scope="module")
def image_features() -> dict[int, Any]:
    """The model's image features by slice, filled by the first script and used by the next ones."""
    return {}


@pytest.fixture
def occluded(pair: Pair, transformers_model: Any) -> Iterator[None]:
    """The object is found absent on every slice."""
    bias = transformers_model.mask_decoder.pred_obj_score_head.proj_out.bias
    present = bias.clone()
    bias.data.fill_(OCCLUDED)
    set_object_score(pair.ours, OCCLUDED)
    yield
    bias.data.copy_(present)
    set_object_score(pair.ours, float(present))


@torch.inference_mode()
def play(script: Callable[[Run], None], pair: Pair, model: Any, features: dict[int, Any]) -> None:
    theirs = TransformersRun(model, pair.images[:SLICES], features)
    ours = TrackerRun(pair.ours, pair.our_features[:SLICES], theirs.remembered)
    script(theirs)
    script(ours)
    assert_same(ours.seen, theirs.seen)


def click_forward_then_reverse(run: Run) -> None:
    run.click(2, CLICK)
    run.propagate(2)
    run.propagate(2, reverse=True)


def box_of_one_object_and_clicks_of_another(run: Run) -> None:
    run.click(0, BOX, obj=1)
    run.click(0, BOX_AND_NEGATIVE, obj=2)
    run.propagate(0)


@pytest.mark.parametrize(
    "script",
    [click_forward_then_reverse, box_of_one_object_and_clicks_of_another],
    ids=lambda script: script.__name__,
)
def test_parity_with_transformers(
    script: Callable[[Run], None], pair: Pair, transformers_model: Any, image_features: Any
) -> None:
    play(script, pair, transformers_model, image_features)


@pytest.mark.usefixtures("occluded")
def test_parity_with_transformers_where_the_object_is_occluded(
    pair: Pair, transformers_model: Any, image_features: Any
) -> None:
    play(click_forward_then_reverse, pair, transformers_model, image_features)


@torch.inference_mode()
def test_parity_of_the_official_and_the_hugging_face_layout(
    pair: Pair, transformers_model: Any, tmp_path: Path
) -> None:
    """Both layouts load to the same tensors and so to equal outputs."""
    path = tmp_path / "model.safetensors"
    save_file(hugging_face_state(pair.official.state_dict(), list(transformers_model.state_dict())), path)
    network = load_network(path, IMAGE_SIZE)
    path.unlink()
    assert isinstance(network, Sam2Network)
    assert network.config == pair.ours.config
    for name, tensor in pair.ours.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name
    ours, theirs = (TrackerRun(n, pair.our_features[:3]) for n in (network, pair.ours))
    for run in (ours, theirs):
        run.click(0, BOX)
        run.propagate(0)
    for one, other in zip(ours.seen, theirs.seen, strict=True):
        assert torch.equal(one.logits, other.logits)
