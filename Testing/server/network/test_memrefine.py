"""MemRefine's modules against their formulas, and the network that has them behind the seam."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from memseg3d.network.loading import UnknownCheckpoint, load_network
from memseg3d.network.memrefine import MemRefineConfig, MemRefineNetwork
from memseg3d.network.memrefine.cpgf import AttentionCpgf, ReleaseCpgf
from memseg3d.network.memrefine.files import save_network
from memseg3d.network.memrefine.lgff import Lgff, LgffGate, release_boost, release_ratio
from memseg3d.network.seam import MemoryRead, Prompts
from Testing.tiny_sam2 import SIDE, moving_disc, tiny_sam2


def parameters(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def test_the_published_numbers_of_parameters() -> None:
    assert parameters(ReleaseCpgf(256, MemRefineConfig())) == 131_753
    assert parameters(Lgff(256, norm="batch")) == parameters(Lgff(256)) == 2_757_381
    assert parameters(LgffGate()) == 66_049


def filled(module: torch.nn.Module) -> torch.nn.Module:
    """With weights everywhere, so that nothing is zero by chance of the start."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for each in module.parameters():
            each.copy_(torch.randn(each.shape, generator=generator) * 0.3)
    return module.eval()


def test_the_release_s_cpgf_is_its_formula() -> None:
    module = filled(ReleaseCpgf(8, MemRefineConfig(cpgf_heads=2, cpgf_dim=3)))
    x, memories = torch.randn(2, 8, 3, 4), torch.randn(2, 2, 8, 3, 4)
    got = module(x, memories, [1.0, 2.0])
    for row in range(2):
        memory = (memories[row, 0] + memories[row, 1]) / 2
        told = [float(x[row].abs().mean()), float(memory.abs().mean())]
        told.append(float(F.cosine_similarity(x[row].mean((1, 2)), memory.mean((1, 2)), dim=0)))
        gate = torch.sigmoid(module.gate(torch.tensor(told)[None, :, None])).item()
        shift = torch.zeros(6)
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            q = module.q(x[row][None])[0, part].flatten(1)
            k = module.k(memory[None])[0, part].flatten(1)
            v = module.v(memory[None])[0, part].flatten(1)
            logits = ((q / q.norm(dim=0)) * (k / k.norm(dim=0))).sum(1)
            shift[part] = (v * logits.softmax(0)[:, None]).mean(1)
        wanted = x[row] + 0.4 * gate * module.proj(shift[None, :, None, None])[0]
        torch.testing.assert_close(got[row], wanted, atol=1e-5, rtol=1e-5)


def test_attention_reads_every_memory_s_pixels_by_distance() -> None:
    module = filled(AttentionCpgf(8, MemRefineConfig(cpgf_heads=1, cpgf_dim=4)))
    x, memories = torch.randn(1, 8, 2, 2), torch.randn(1, 3, 8, 2, 2)
    got = module.read(x, memories, [1.0, 2.0, -3.0])
    # one pixel by hand: softmax over 3 * 4 tokens
    from memseg3d.network.memrefine.cpgf import offset_codes

    codes = module.offset(offset_codes([1.0, 2.0, -3.0], x))
    keys = torch.cat([(module.k(memories[:, n])[0] + codes[n][:, None, None]).flatten(1) for n in range(3)], 1)
    values = torch.cat([module.v(memories[:, n])[0].flatten(1) for n in range(3)], 1)
    query = module.q(x)[0, :, 1, 0]
    weights = (query @ keys / 2).softmax(0)
    torch.testing.assert_close(got[0, :, 1, 0], values @ weights, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(got, module.read(x, memories, [5.0, 2.0, -3.0]))


def test_the_release_s_shares_by_epoch() -> None:
    assert [release_ratio(epoch) for epoch in (0, 5, 6, 20)] == [0.65, 0.65, 0.68, 0.68]
    assert release_ratio(50) == pytest.approx(0.71)
    assert release_ratio(400) == pytest.approx(0.73)
    assert [release_boost(epoch) for epoch in (0, 10, 11)] == [0.2, 0.2, 0.18]


def walked(network: torch.nn.Module) -> list[torch.Tensor]:
    """Logits of a prompted slice, of one tracked from it, and of one tracked from both."""
    images = moving_disc(3, SIDE)[0][:, None].float() / 255
    with torch.inference_mode():
        features = [network.encode(image[None]) for image in images]
        box = Prompts(torch.tensor([[[16.0, 16.0], [48.0, 48.0]]]), torch.tensor([[2, 3]]))
        seen, reads = [], []
        for index in range(3):
            decoded = network.decode(network.attend(features[index], reads, 3), None if index else box)
            chosen = int(decoded.chosen[0])
            logits, pointer = decoded.logits[:, chosen : chosen + 1], decoded.pointers[:, chosen]
            memory = network.remember(features[index], logits, decoded.object_score, pointer, index == 0)
            reads = [
                replace(read, slot=read.slot or 0, pointer_offset=(read.pointer_offset or 0) + 1) for read in reads
            ]
            reads.append(MemoryRead(memory, 1 if index else 0, 1))
            seen.append(logits)
    return seen


@pytest.mark.parametrize("mode", ["attn", "release"])
def test_new_modules_leave_sam2_as_it_is_to_the_bit(mode: str) -> None:
    plain = tiny_sam2()
    refined = MemRefineNetwork.of(plain, MemRefineConfig(cpgf_mode=mode)).eval()
    before, after = walked(plain), walked(refined)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    with torch.no_grad():
        refined.lgff_start.fill_(0.1)
    only_lgff = walked(refined)
    assert not torch.equal(only_lgff[0], before[0])
    with torch.no_grad():
        refined.cpgf_post.proj.weight.normal_(std=0.1)
    with_memory = walked(refined)
    assert torch.equal(with_memory[0], only_lgff[0]), "the prompted slice reads no memory"
    assert not torch.equal(with_memory[1], only_lgff[1])


def test_the_release_s_blend_by_its_formula() -> None:
    refine = MemRefineConfig(blend="release", cpgf_mode="release", epoch=12)
    network = filled(MemRefineNetwork.of(tiny_sam2(), refine))
    assert isinstance(network, MemRefineNetwork)
    image, guided = torch.randn(2, 32, 4, 4), torch.randn(2, 32, 4, 4)
    refined = network.lgff(image, image)
    inert = network._release_blend(image, image)
    torch.testing.assert_close(inert, image + 0.35 * 0.68 * (refined - image), atol=1e-6, rtol=1e-5)
    boosted = network._release_blend(image, guided)
    wanted = 0.68 * (0.65 * (image + 0.18 * guided) + 0.35 * refined) + 0.32 * image
    torch.testing.assert_close(boosted, wanted, atol=1e-6, rtol=1e-5)


def test_a_file_is_loaded_as_what_it_is(tmp_path: Path) -> None:
    network = filled(MemRefineNetwork.of(tiny_sam2(), MemRefineConfig(cpgf_topk=2)))
    assert isinstance(network, MemRefineNetwork)
    save_network(tmp_path / "refined.safetensors", network, network.state_dict(), {"steps": 3})
    loaded = load_network(tmp_path / "refined.safetensors")
    assert isinstance(loaded, MemRefineNetwork)
    assert loaded.refine == network.refine
    assert (loaded.info.name, loaded.info.image_size) == ("refined", SIDE)
    assert all(torch.equal(a, b) for a, b in zip(walked(network), walked(loaded), strict=True))
    short = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("lgff.mix")}
    save_network(tmp_path / "short.safetensors", network, short, {})
    with pytest.raises(UnknownCheckpoint, match=r"short.safetensors is no SAM 2"):
        load_network(tmp_path / "short.safetensors")


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="a memory or more"):
        MemRefineConfig(cpgf_topk=0)
    with pytest.raises(ValueError, match="attn or release"):
        MemRefineConfig(cpgf_mode="other")  # type: ignore[arg-type]
