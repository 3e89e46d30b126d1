"""The embedded network behind the seam: shapes, guidance, masks taken over, checkpoints, precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from memseg3d.network.nano import MAPS, NanoConfig, NanoNetwork, from_state, with_more_maps
from memseg3d.network.nano.guidance import contradiction_maps, prompt_maps
from memseg3d.network.precision import fastest_dtype
from memseg3d.network.seam import BOX_END, BOX_START, NEGATIVE, POSITIVE, MemoryRead, Network, Prompts
from memseg3d.training.nano.weights import save_weights

SIZE = 32


@pytest.fixture
def a_network() -> NanoNetwork:
    torch.manual_seed(0)
    return NanoNetwork(NanoConfig(image_size=SIZE, widths=(8, 8, 16, 16), key_width=16)).eval()


@pytest.fixture
def a_box() -> Prompts:
    return Prompts(torch.tensor([[[4.0, 6.0], [9.0, 20.0]]]), torch.tensor([[BOX_START, BOX_END]]))


def test_it_is_a_network_of_the_seam(a_network: NanoNetwork) -> None:
    assert isinstance(a_network, Network)


def test_a_box_is_drawn_over_its_inclusive_pixels(a_box: Prompts) -> None:
    box = prompt_maps(a_box, 1, SIZE, torch.device("cpu"))[0, 0]
    assert box.sum() == (9 - 4 + 1) * (20 - 6 + 1)
    assert box[6:21, 4:10].min() == 1


def test_clicks_are_drawn_by_sign_where_they_were_made() -> None:
    prompts = Prompts(torch.tensor([[[5.0, 9.0], [25.0, 3.0], [0.0, 0.0]]]), torch.tensor([[POSITIVE, NEGATIVE, -1]]))
    maps = prompt_maps(prompts, 1, SIZE, torch.device("cpu"))[0]
    assert maps[0].max() == 0
    assert divmod(int(maps[1].argmax()), SIZE) == (9, 5)
    assert divmod(int(maps[2].argmax()), SIZE) == (3, 25)
    assert maps[1][0, 0] < 0.1


@torch.no_grad()
def test_a_slice_reads_what_was_remembered(a_network: NanoNetwork, a_box: Prompts) -> None:
    images = torch.rand(2, 1, 2, SIZE, SIZE)
    first = a_network.encode(images[0])
    decoded = a_network.decode(a_network.attend(first, [], 5), a_box)
    assert decoded.logits.shape == (1, 1, SIZE, SIZE)
    assert decoded.quality.shape == decoded.object_score.shape == (1, 1)
    second = a_network.encode(images[1])
    masks = [torch.full((1, 1, SIZE, SIZE), value) for value in (-8.0, 8.0)]
    memories = [a_network.remember(first, mask, decoded.object_score, None, True) for mask in masks]
    results = []
    for memory in memories:
        for slot in (0, 1):
            conditioned = a_network.attend(second, [MemoryRead(memory, slot)], 5)
            assert not conditioned.is_initial
            results.append(a_network.decode(conditioned, None).logits)
    assert not torch.allclose(results[0], results[2]), "the remembered mask is not read through attention"
    assert not torch.allclose(results[1], results[3]), "the adjacent mask is not read densely"


@torch.no_grad()
def test_a_users_mask_is_taken_over_as_it_is(a_network: NanoNetwork) -> None:
    mask = (torch.rand(1, 1, SIZE, SIZE) > 0.5).float()
    conditioned = a_network.attend(a_network.encode(torch.rand(1, 2, SIZE, SIZE)), [], 5)
    decoded = a_network.decode(conditioned, Prompts(mask=mask))
    assert torch.equal((decoded.logits > 0).float(), mask)
    assert decoded.object_score.item() > 0
    nothing = a_network.decode(conditioned, Prompts(mask=torch.zeros_like(mask)))
    assert nothing.object_score.item() < 0


@torch.no_grad()
def test_the_prior_changes_the_result(a_network: NanoNetwork, a_box: Prompts) -> None:
    conditioned = a_network.attend(a_network.encode(torch.rand(1, 2, SIZE, SIZE)), [], 5)
    without = a_network.decode(conditioned, a_box).logits
    within = a_network.decode(conditioned, a_box, torch.full((1, 1, SIZE, SIZE), 6.0)).logits
    assert not torch.allclose(without, within)


@torch.no_grad()
def test_it_runs_in_half_precision(a_network: NanoNetwork, a_box: Prompts) -> None:
    image = torch.rand(1, 2, SIZE, SIZE)
    exact = a_network.decode(a_network.attend(a_network.encode(image), [], 5), a_box).logits
    half = a_network.to(torch.bfloat16)
    features = half.encode(image)
    decoded = half.decode(half.attend(features, [], 5), a_box)
    memory = half.remember(features, decoded.logits, decoded.object_score, None, True)
    assert half.decode(half.attend(features, [MemoryRead(memory, 1)], 5), None).logits.isfinite().all()
    assert (decoded.logits - exact).abs().mean() < 0.1 * exact.abs().mean() + 0.02


def test_a_checkpoint_comes_back(a_network: NanoNetwork, tmp_path) -> None:
    path = tmp_path / "nano.safetensors"
    save_weights(path, a_network.config, a_network.state_dict(), {"steps": 1})
    with safe_open(path, "pt") as file:
        config = file.metadata()["memseg3d.config"]
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    again = from_state(config, state)
    assert again.config == a_network.config
    for name, tensor in a_network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.half().float())


def test_a_rule_of_another_version_is_left_out() -> None:
    now = NanoConfig(ending=(1.0, 2.0, 3.0, 4.0), calibration=(1.0, 2.0, 3.0))
    assert NanoConfig.from_json(now.to_json()) == now
    before = now.to_json().replace("[1.0, 2.0, 3.0, 4.0]", "[1.0, 2.0, 3.0]")
    assert NanoConfig.from_json(before) == replace(now, ending=None)


def test_a_configuration_without_maps_is_one_of_the_first_releases() -> None:
    config = NanoConfig(maps=MAPS)
    assert NanoConfig.from_json(config.to_json()) == config
    before = NanoConfig().to_json().replace('"maps": 7, ', "")
    assert "maps" not in before
    assert NanoConfig.from_json(before).maps == 7
    with pytest.raises(ValueError, match="maps must be"):
        NanoConfig(maps=8)


def test_clicks_that_contradict_the_prior_are_drawn_by_sign() -> None:
    prior = torch.full((1, 1, SIZE, SIZE), -6.0)
    prior[..., :16] = 6.0
    points = torch.tensor([[[4.0, 8.0], [8.0, 20.0], [24.0, 8.0], [26.0, 24.0]]])
    clicks = Prompts(points, torch.tensor([[POSITIVE, NEGATIVE, POSITIVE, NEGATIVE]]))
    narrow, wide = contradiction_maps(clicks, prior, 1, SIZE, torch.device("cpu"))[0]
    # Only the negative click within the mask and the positive one outside of it say something new.
    assert narrow[20, 8] == -1
    assert narrow[8, 24] == 1
    assert abs(narrow[8, 4]) < 0.01
    assert abs(narrow[24, 26]) < 0.01
    assert wide[8, 30] > 0.2 > narrow[8, 30]
    assert not contradiction_maps(clicks, None, 1, SIZE, torch.device("cpu")).any()


@torch.no_grad()
def test_more_maps_change_nothing_until_they_are_learnt(a_network: NanoNetwork, a_box: Prompts) -> None:
    wider = replace(a_network.config, maps=MAPS)
    other = NanoNetwork(wider).eval()
    other.load_state_dict(with_more_maps(a_network.state_dict(), wider))
    image, prior = torch.rand(1, 2, SIZE, SIZE), torch.full((1, 1, SIZE, SIZE), -6.0)
    click = Prompts(torch.tensor([[[12.0, 12.0]]]), torch.tensor([[POSITIVE]]))
    one, two = (n.decode(n.attend(n.encode(image), [], 5), click, prior).logits for n in (a_network, other))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="would be lost"):
        with_more_maps(other.state_dict(), a_network.config)


@torch.no_grad()
def test_a_prior_is_shown_to_some_rows_only(a_network: NanoNetwork) -> None:
    conditioned = a_network.attend(a_network.encode(torch.rand(2, 2, SIZE, SIZE)), [], 5)
    click = Prompts(torch.full((2, 1, 2), 9.0), torch.full((2, 1), POSITIVE))
    prior = torch.full((2, 1, SIZE, SIZE), 6.0)
    some = a_network.decode_some(conditioned, click, prior, torch.tensor([True, False])).logits
    none = a_network.decode_some(conditioned, click, None, torch.tensor([False, False])).logits
    assert torch.equal(some[1], none[1])
    assert not torch.allclose(some[0], none[0])


def test_a_foreign_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="not that of the embedded network"):
        from_state('{"kind": "other"}', {})


def test_tensors_that_do_not_fit_are_refused(a_network: NanoNetwork) -> None:
    with pytest.raises(ValueError, match="do not fit the configuration"):
        from_state(a_network.config.to_json(), {"encoder.stem.weight": torch.zeros(1)})


def test_sizes_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        NanoConfig(image_size=100)


def test_the_precision_is_chosen_by_measurement() -> None:
    chosen = fastest_dtype(torch.device("cpu"))
    assert chosen in (torch.float32, torch.bfloat16)
    assert fastest_dtype(torch.device("cpu")) == chosen


def test_what_a_later_version_added_to_the_configuration_is_told() -> None:
    words = NanoConfig().to_json().replace('"kind"', '"attention_of_tomorrow": 3, "kind"')
    with pytest.raises(ValueError, match="attention_of_tomorrow, which a later MemSeg3D knows"):
        NanoConfig.from_json(words)
