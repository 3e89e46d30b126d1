"""Checkpoints are recognised by their tensors alone, and everything else is refused with a sentence that helps."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from memseg3d.network.loading import UnknownCheckpoint, load_network
from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.seam import Network

State = dict[str, Tensor]


@pytest.fixture(scope="session")
def sam2_state() -> State:
    """Tensors of a random SAM 2.1 tiny in half precision, as small files need."""
    return {name: tensor.half() for name, tensor in Sam2Network.random(Sam2Config.of("tiny")).state_dict().items()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Iterator[Callable[[object, str], Path]]:
    """Writes something as a checkpoint of that name; taken away after the test, for these files are large."""

    def write(content: object, name: str = "model.pt") -> Path:
        path = tmp_path / name
        if path.suffix == ".safetensors":
            assert isinstance(content, dict)
            save_file(content, path)
        else:
            torch.save(content, path)
        return path

    yield write
    for path in tmp_path.glob("*.*"):
        path.unlink()


Write = Callable[..., Path]


def version_20(state: State) -> State:
    """The tensors of 2.1 that 2.0 has too."""
    return {name: t for name, t in state.items() if not name.startswith(("no_obj_embed_spatial", "obj_ptr_tpos_proj"))}


def test_an_official_checkpoint_of_each_version_is_recognised(sam2_state: State, checkpoint: Write) -> None:
    newer = load_network(checkpoint({"model": sam2_state}))
    older = load_network(checkpoint({"model": version_20(sam2_state)}))
    assert isinstance(newer, Sam2Network)
    assert isinstance(older, Sam2Network)
    assert newer.config == Sam2Config.of("tiny", "2.1", 1024)
    assert older.config == Sam2Config.of("tiny", "2.0", 1024)
    assert isinstance(newer, Network)
    assert not any(parameter.requires_grad for parameter in newer.parameters())


def test_the_size_of_the_network_is_read_from_the_tensors(checkpoint: Write) -> None:
    state = {name: t.half() for name, t in Sam2Network.random(Sam2Config.of("small", "2.1")).state_dict().items()}
    network = load_network(checkpoint(state, "renamed_by_someone.safetensors"))
    assert isinstance(network, Sam2Network)
    assert network.config.trunk == Sam2Config.of("small").trunk


@pytest.mark.parametrize(
    ("name", "image_size"),
    [("sam2.1_hiera_tiny.pt", 1024), ("MedSAM2_latest.pt", 512), ("med-sam2-ct.pt", 512), ("sam2_tiny_256.pt", 256)],
)
def test_the_image_size_follows_the_name(sam2_state: State, checkpoint: Write, name: str, image_size: int) -> None:
    assert load_network(checkpoint({"model": sam2_state}, name)).info.image_size == image_size


def test_the_image_size_that_is_asked_for_wins(sam2_state: State, checkpoint: Write) -> None:
    path = checkpoint({"model": sam2_state}, "MedSAM2.pt")
    assert load_network(path, image_size=320).info.image_size == 320
    with pytest.raises(ValueError, match="multiple of 32"):
        load_network(path, image_size=500)


def test_training_scripts_may_wrap_and_prefix_the_tensors(sam2_state: State, checkpoint: Write) -> None:
    parallel = {f"module.{name}": tensor for name, tensor in sam2_state.items()}
    for content in (sam2_state, {"state_dict": parallel, "epoch": 3, "best": 0.9}):
        network = load_network(checkpoint(content))
        assert isinstance(network, Sam2Network)
        assert torch.equal(network.no_mem_embed, sam2_state["no_mem_embed"].float())


def test_the_network_runs_in_the_dtype_that_is_asked_for(sam2_state: State, checkpoint: Write) -> None:
    """bfloat16 stays close to float32, and its positional encodings stay float32."""
    path = checkpoint({"model": sam2_state})
    image = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact, rounded = (
            network.encode(image).levels[-1].float()
            for network in (load_network(path, 128), load_network(path, 128, dtype=torch.bfloat16))
        )
        low = load_network(path, 128, dtype=torch.bfloat16)
        assert isinstance(low, Sam2Network)
        matrix = low.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    assert matrix.dtype == torch.float32
    assert float((exact - rounded).norm() / exact.norm()) < 0.05


def test_the_embedded_network_is_recognised_by_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "some-name.safetensors"
    network = NanoNetwork(NanoConfig())
    save_file(network.state_dict(), path, metadata={"memseg3d.config": NanoConfig().to_json()})
    loaded = load_network(path, dtype=torch.float32)
    assert isinstance(loaded, NanoNetwork)
    assert loaded.info.name == "some-name"
    assert len(loaded.info.sha256) == 64
    assert torch.equal(loaded.encoder.stem.weight, network.encoder.stem.weight)


@pytest.mark.parametrize("config", ['{"kind": "other"}', "no json", '{"kind": "nano", "unheard_of": 1}', "[]"])
def test_an_embedded_network_of_another_kind_is_refused(tmp_path: Path, config: str) -> None:
    path = tmp_path / "nano.safetensors"
    save_file(NanoNetwork(NanoConfig()).state_dict(), path, metadata={"memseg3d.config": config})
    with pytest.raises(UnknownCheckpoint, match=r"nano\.safetensors"):
        load_network(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", [4, 9, 100, 5000, 0.5, 0.999])
def test_a_truncated_file_is_refused(sam2_state: State, checkpoint: Write, suffix: str, kept: int | float) -> None:
    some = dict(list(sam2_state.items())[:40])
    path = checkpoint({"model": some} if suffix == ".pt" else some, f"cut{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(UnknownCheckpoint, match="cut"):
        load_network(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "is empty"), (b"GIF89a" + bytes(99), "neither a PyTorch nor a safetensors"), (b"\x80\x02}q\x00", "cut off")],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "odd.pt"
    path.write_bytes(content)
    with pytest.raises(UnknownCheckpoint, match=told):
        load_network(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(UnknownCheckpoint, match="There is no checkpoint"):
            load_network(path)


class Malicious:
    """Writes a file as soon as it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


@pytest.mark.parametrize("plain_pickle", [True, False], ids=["plain pickle", "torch file"])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, checkpoint: Write, plain_pickle: bool) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / "bad.pt"
    if plain_pickle:
        path.write_bytes(pickle.dumps({"model": Malicious(trace)}, protocol=2))
    else:
        checkpoint({"model": Malicious(trace)}, "bad.pt")
    with pytest.raises(UnknownCheckpoint, match="may run code"):
        load_network(path)
    assert not trace.exists()


def test_another_network_is_refused_by_its_names(checkpoint: Write) -> None:
    resnet = {"conv1.weight": torch.zeros(64, 3, 7, 7), "bn1.weight": torch.zeros(64), "fc.bias": torch.zeros(10)}
    with pytest.raises(UnknownCheckpoint, match=r"another network than SAM 2.*conv1\.weight"):
        load_network(checkpoint(resnet, "resnet50.pth"))


def test_numbers_without_tensors_are_refused(checkpoint: Write) -> None:
    with pytest.raises(UnknownCheckpoint, match="no tensors"):
        load_network(checkpoint({"epoch": 3}))


def test_a_relative_of_sam2_is_refused_by_its_size(sam2_state: State, checkpoint: Write) -> None:
    wider = sam2_state | {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(192, 3, 16, 16)}
    with pytest.raises(UnknownCheckpoint, match="no published size"):
        load_network(checkpoint(wider))


def test_a_part_of_sam2_is_refused_with_what_is_missing(sam2_state: State, checkpoint: Write) -> None:
    image_only = {name: t for name, t in sam2_state.items() if not name.startswith("memory_")}
    with pytest.raises(UnknownCheckpoint, match=r"tensors are missing \(memory_attention"):
        load_network(checkpoint(image_only))
    misshapen = sam2_state | {"maskmem_tpos_enc": torch.zeros(3, 1, 1, 64), "extra.weight": torch.zeros(1)}
    with pytest.raises(UnknownCheckpoint, match=re.escape("1 tensors have another shape (maskmem_tpos_enc)")):
        load_network(checkpoint(misshapen))


def test_a_card_beside_the_file_gives_licence_and_guards_the_hash(sam2_state: State, checkpoint: Write) -> None:
    path = checkpoint({"model": sam2_state}, "guarded.pt")
    card = path.with_suffix(".json")
    card.write_text(json.dumps({"licence": "Apache-2.0"}))
    info = load_network(path, 64).info
    assert (info.name, info.licence, len(info.sha256)) == ("guarded", "Apache-2.0", 64)
    card.write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(ValueError, match=r"is not the model that guarded\.json describes"):
        load_network(path, 64)
