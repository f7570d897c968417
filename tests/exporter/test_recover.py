"""An exported model comes back as a checkpoint with the same answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from exporter.export import export_model
from exporter.network import load_network
from exporter.recover import recover_checkpoint
from gcs.cli import main
from model.errors import InputError
from tests.exporter.conftest import random_network

Pairs = tuple[torch.Tensor, torch.Tensor]


def pairs(seed: int) -> Pairs:
    rng = np.random.default_rng(seed)
    z = torch.from_numpy(rng.random((2, 3, 127, 127), np.float32) * 255)
    x = torch.from_numpy(rng.random((2, 3, 255, 255), np.float32) * 255)
    return z, x


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alexnet")
    net = random_network("alexnet")
    torch.save({"kind": "siamrpn_alexnet", "state_dict": net.state_dict()}, folder / "net.pt")
    return export_model(folder / "net.pt", folder / "model", "fp32").folder


def test_the_recovered_network_answers_as_the_exported_one(exported: Path, tmp_path: Path) -> None:
    done = recover_checkpoint(exported, [pairs(1), pairs(2)], tmp_path / "back.pt")
    assert done.pairs == 4
    assert done.error < 1e-4
    first = load_network(exported.parent / "net.pt").net
    second = load_network(tmp_path / "back.pt").net
    with torch.no_grad():
        for one, other in zip(first(*pairs(3)), second(*pairs(3)), strict=True):
            assert float((one - other).abs().max() / one.abs().max()) < 1e-4


def test_its_norms_hold_the_statistics_of_what_they_see(exported: Path, tmp_path: Path) -> None:
    recover_checkpoint(exported, [pairs(1)], tmp_path / "back.pt")
    net = load_network(tmp_path / "back.pt").net
    z, x = pairs(1)
    with torch.no_grad():
        seen = [net.backbone.layer1[0](image) for image in (z, x)]  # type: ignore[union-attr, operator, index]
    mean = sum(s.mean((0, 2, 3)) for s in seen) / 2
    torch.testing.assert_close(net.backbone.layer1[1].running_mean, mean)  # type: ignore[union-attr, operator, index]


def test_no_pairs_and_int8_are_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training pairs"):
        recover_checkpoint(exported, [], tmp_path / "back.pt")
    manifest = json.loads((exported / "manifest.json").read_text())
    manifest["precision"] = "int8"
    other = tmp_path / "int8"
    other.mkdir()
    for name in ("template.onnx", "search.onnx"):
        (other / name).write_bytes((exported / name).read_bytes())
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="in int8"):
        recover_checkpoint(other, [pairs(1)], tmp_path / "back.pt")


def test_a_missing_training_file_is_one_line_and_exit_code_2(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cache = str(tmp_path / "back.pt"), str(tmp_path / "crops")
    code = main(["recover", str(exported), "--config", "no.yaml", "--out", out, "--cache", cache])
    assert code == 2
    assert "no.yaml" in capsys.readouterr().err
