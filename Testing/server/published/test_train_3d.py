"""MemRefine-MedSAM3D by its README's own words, on small sets in the published layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from memseg3d.network.loading import load_network
from memseg3d.network.memrefine import MemRefineNetwork
from memseg3d.published import train_3d
from Testing.published_sets import medical_sam2
from Testing.tiny_sam2 import SIDE, tiny_sam2_file

README = (
    "-net sam2 -exp_name {name} -sam_ckpt {checkpoint} -sam_config sam2_hiera_s -image_size {side} -val_freq 5 "
    "-prompt bbox -prompt_freq 2 -dataset {dataset} -data_path {data} -cpgf 1 -use_lgff 1"
)
SHORT = " -epochs 6 -device cpu -logs {logs} -models {models}"


def words(tmp_path: Path, dataset: str, data: Path, more: str = "") -> list[str]:
    checkpoint = tiny_sam2_file(tmp_path)
    line = (README + SHORT + more).format(
        name=f"{dataset.upper()}_MemRefine",
        checkpoint=checkpoint,
        side=SIDE,
        dataset=dataset,
        data=data,
        logs=tmp_path / "logs",
        models=tmp_path / "models",
    )
    return line.split()


@pytest.mark.parametrize("dataset", ["btcv", "flare"])
def test_the_readme_s_command_trains_a_model_that_the_worker_loads(dataset: str, tmp_path: Path) -> None:
    data = medical_sam2(tmp_path / "data", train=2, flare=dataset == "flare")
    given = words(tmp_path, dataset, data)
    assert train_3d.main(given) == 0
    model = load_network(tmp_path / "models" / f"{dataset.upper()}_MemRefine.safetensors")
    assert isinstance(model, MemRefineNetwork)
    assert model.info.image_size == SIDE
    (folder,) = (tmp_path / "logs").iterdir()
    best = torch.load(folder / "Model" / "best_model.pth", weights_only=True)
    assert set(best) == {"model", "epoch", "dice", "iou"}
    assert set(torch.load(folder / "Model" / "latest_epoch.pth", weights_only=True)) == {"model"}
    lines = [json.loads(line) for line in (folder / "Model" / "run" / "log.jsonl").read_text("utf-8").splitlines()]
    assert [line["epoch"] for line in lines if "validation" in line] == [5, 6]
    card = json.loads((tmp_path / "models" / f"{dataset.upper()}_MemRefine.json").read_text("utf-8"))
    assert card["command"].endswith(" ".join(given))
    assert card["training"]["cases"] == 2


def test_one_dash_or_two_mean_the_same() -> None:
    one = train_3d.parser().parse_args(["-use_lgff", "1", "-seed", "3", "-cpgf_heads", "2", "-vis", "False"])
    two = train_3d.parser().parse_args(["--use_lgff", "1", "--seed", "3", "--cpgf_heads", "2", "--vis", "False"])
    assert one == two
    usual = train_3d.parser().parse_args([])
    told = (usual.image_size, usual.prompt_freq, usual.video_length, usual.val_freq, usual.cpgf, usual.use_lgff)
    assert told == (1024, 2, 2, 5, 1, 0)


def test_the_same_words_twice_at_a_time_leave_the_first_run_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(tmp_path, "btcv", tmp_path / "data")
    folder = train_3d.run_folder(tmp_path / "logs", "BTCV_MemRefine", given)
    (folder / "Model" / "run").mkdir(parents=True)
    with FileLock(folder / "Model" / "run" / ".lock"):
        assert train_3d.main(given) == 1
    assert "Another training runs in" in capsys.readouterr().err
    assert (folder / "command.json").is_file()


def test_a_run_that_was_stopped_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from memseg3d.training.sam2.trainer import Sam2Trainer

    given = words(tmp_path, "btcv", medical_sam2(tmp_path / "data", train=2))
    whole = Sam2Trainer.run

    def stopped(self: Sam2Trainer, until: int | None = None) -> None:
        whole(self, 5)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Sam2Trainer, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            train_3d.main(given)
    assert train_3d.main(given) == 0
    assert "from step 5 to 12" in capsys.readouterr().out
    assert len(list((tmp_path / "logs").iterdir())) == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("-sam_ckpt missing.pt", "no model 'missing.pt'"),
        ("-data_path missing", "is no folder"),
        ("-weights {other}", "another method's checkpoint"),
    ],
    ids=["checkpoint", "data", "weights"],
)
def test_what_is_wrong_is_told_in_a_sentence(
    more: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pt"
    torch.save({"model": {"backbone.weight": torch.zeros(3)}}, other)
    given = words(tmp_path, "btcv", medical_sam2(tmp_path / "data", train=2), " " + more.format(other=other))
    assert train_3d.main(given) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
    assert not list((tmp_path / "logs").iterdir())
