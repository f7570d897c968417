"""`mlkd export` from a checkpoint to a model that an engine opens."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest
import torch

from exporter.manifest import open_model, sha256_of
from exporter.network import load_network
from gcs.cli import main
from model.config import TrackerConfig
from model.errors import ConfigError
from model.nets.baselines import build_baseline, tracker_config
from model.nets.siamrpn import SiamRPN
from tests.exporter.conftest import random_network


def test_export_prints_parity_and_writes_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tracker's own network, in the form that ships; its fp32 graphs pass 1e-5 on the way."""
    weights = tmp_path / "alexnet.pt"
    torch.save({"state_dict": random_network("alexnet").state_dict()}, weights)
    out = tmp_path / "new" / "model"
    chosen = ["--set", "penalty_k=0.1", "--set", "window_influence=0.3"]
    assert main(["export", str(weights), "--out", str(out), *chosen]) == 0
    printed = capsys.readouterr().out
    for name in ("kernel_cls", "kernel_loc", "cls", "loc"):
        assert f"parity {name}: " in printed
    manifest = open_model(out).manifest
    assert manifest.precision == "compact"
    assert manifest.tracker == TrackerConfig(penalty_k=0.1, window_influence=0.3)
    digest = sha256_of(weights)
    assert manifest.source == {"checkpoint": "alexnet.pt", "sha256": digest, "network": "alexnet"}
    assert max(manifest.parity.values()) < 5e-3
    assert sum(path.stat().st_size for path in out.iterdir()) < 20.2e6


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("penalty_k", "expected NAME=VALUE"),
        ("penalty_k=much", "expected NAME=VALUE"),
        ("penalti_k=1", "did you mean 'penalty_k'"),
        ("size_lr=2", "size_lr is 2.0: expected 0..1"),
        ('anchor_ratios=["a"]', "anchor_ratios is"),
        ("search_px=50", "does not take crops of 50 px"),
        ("template_px=10", "does not take template_px 10"),
        ("template_px=999999999", "does not take template_px 999999999"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    setting: str,
    expected: str,
) -> None:
    command = ["export", str(checkpoint), "--out", str(tmp_path / "out"), "--set", setting]
    assert main(command) == 2
    assert expected in capsys.readouterr().err


def test_a_folder_to_write_to_is_asked_for(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(checkpoint)]) == 2
    assert "--out is missing" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert main(["export", str(checkpoint), "--out", str(tmp_path / "file")]) == 2
    assert "is a file: expected a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_fp16_is_made_of_an_exported_model_too(
    checkpoint: Path, fp32_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = ["--precision", "fp16", "--out"]
    assert main(["export", str(fp32_folder), *half, str(tmp_path / "of-model")]) == 0
    assert main(["export", str(checkpoint), *half, str(tmp_path / "of-weights")]) == 0
    ours, theirs = (open_model(tmp_path / name) for name in ("of-model", "of-weights"))
    assert ours.search_path.read_bytes() == theirs.search_path.read_bytes()
    assert ours.template_path.read_bytes() == theirs.template_path.read_bytes()
    assert ours.manifest.source == theirs.manifest.source
    assert ours.manifest.tracker == theirs.manifest.tracker
    assert 0 < max(ours.manifest.parity.values()) < max(theirs.manifest.parity.values()) < 5e-3
    assert sorted(p.name for p in ours.folder.iterdir()) == [
        "manifest.json",
        "search.onnx",
        "template.onnx",
    ]
    capsys.readouterr()
    assert main(["export", str(ours.folder), *half, str(tmp_path / "again")]) == 2
    assert "is fp16: expected fp32 or compact" in capsys.readouterr().err
    assert main(["export", str(fp32_folder), *half, str(fp32_folder)]) == 2
    assert "expected another folder" in capsys.readouterr().err
    assert main(["export", str(fp32_folder), "--out", str(tmp_path / "again")]) == 2
    assert (
        "a checkpoint, or --precision fp16 without --set, --calibration, --validation and"
        in capsys.readouterr().err
    )
    assert main(["export", str(tmp_path), *half, str(tmp_path / "again")]) == 2
    assert "manifest" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


def test_a_failed_export_leaves_the_model_that_was_there(
    checkpoint: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_model(model_folder).digest
    write = Path.write_bytes

    def fill(path: Path, content: bytes) -> int:
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fill)
    assert main(["export", str(checkpoint), "--out", str(model_folder)]) != 0
    assert open_model(model_folder).digest == before
    assert len(list(model_folder.iterdir())) == 3, "nothing half written stays"


def test_tensorrt_without_its_library_names_the_extra(
    fp32_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert main(["export", "tensorrt", "--model", str(fp32_folder)]) == 2
    assert "pip install 'mlkd-track[gpu]'" in capsys.readouterr().err
    assert main(["export", "tensorrt", "--model", str(fp32_folder), "--opt-level", "9"]) == 2
    assert "opt-level is 9: expected 0..5" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_ends_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert main(["export", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "weights.pt is damaged or no weight file" in error
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network_name_the_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {"conv.weight": torch.zeros(1)}}, path)
    assert main(["export", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "missing: backbone.layer1.0.weight" in error
    assert "unexpected: conv.weight" in error


@pytest.mark.parametrize(("name", "kept"), [("compact", True), ("resnet50", False)])
def test_settings_of_training_are_kept_on_the_default_grid(
    tmp_path: Path, name: str, kept: bool
) -> None:
    path = tmp_path / "weights.pt"
    state = build_baseline(name).state_dict()
    content = {"kind": f"siamrpn_{name}", "state_dict": state}
    torch.save(content | {"config": {"tracker": {"penalty_k": 0.2}}}, path)
    wanted = TrackerConfig(penalty_k=0.2) if kept else tracker_config(name)
    assert load_network(path).config == wanted


@pytest.mark.parametrize("option", ["--calibration", "--validation"])
@pytest.mark.parametrize("precision", ["fp32", "compact", "fp16"])
def test_crops_for_another_precision_than_int8_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, precision: str
) -> None:
    command = ["export", str(tmp_path / "x.pt"), "--out", str(tmp_path / "out"), option, "crops"]
    assert main([*command, "--precision", precision]) == 2
    assert f"--precision is {precision}: leave them out" in capsys.readouterr().err
    model = ["export", "siamrpn-alexnet", "--precision", "fp16", "--out", str(tmp_path / "out")]
    assert main([*model, option, "crops"]) == 2
    assert "--precision is fp16: leave them out" in capsys.readouterr().err


def test_the_tracker_configuration_of_training_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    content = {"state_dict": SiamRPN().state_dict(), "config": {"tracker": {"penalty_k": 0.2}}}
    torch.save(content, path)
    assert load_network(path).config == TrackerConfig(penalty_k=0.2)
    torch.save(content | {"config": {"tracker": {"penalty": 0.2}}}, path)
    with pytest.raises(ConfigError, match="penalty"):
        load_network(path)
