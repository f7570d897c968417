from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from gcs.cli import main  # noqa: E402
from model.nets.siamrpn import SiamRPN  # noqa: E402


def test_import_checkpoint_writes_what_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": SiamRPN().state_dict()}, tmp_path / "a.pth")
    command = ["import-checkpoint", str(tmp_path / "a.pth"), "--out", str(tmp_path / "b.pt")]
    assert main(command) == 0
    assert (tmp_path / "b.pt").is_file()
    assert "tensors written" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["pretrain", "baseline"])
@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("optim: {lr: 0}\nsources: [{kind: images, path: a}]", "optim.lr"),
        ("sources: [{kind: images, path: nowhere}]", "nowhere does not exist"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str, text: str, named: str
) -> None:
    (tmp_path / "train.yaml").write_text(text)
    command = ["train", stage, "--config", str(tmp_path / "train.yaml"), "--data", str(tmp_path)]
    code = main([*command, "--out", str(tmp_path / "run"), "--device", "cpu"])
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert message.startswith("mlkd train:")
    assert named in message


def test_an_unknown_device_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.yaml").write_text("sources: [{kind: images, path: a}]")
    command = ["train", "baseline", "--config", str(tmp_path / "train.yaml")]
    code = main([*command, "--out", str(tmp_path / "run"), "--device", "toaster"])
    assert code == 2
    assert "toaster" in capsys.readouterr().err
