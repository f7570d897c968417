from __future__ import annotations

import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from gcs.cli import main  # noqa: E402
from model.errors import ModelFileError  # noqa: E402
from model.training import checkpoint  # noqa: E402
from model.training.checkpoint import (  # noqa: E402
    average_checkpoints,
    load_checkpoint,
    load_into,
    save_checkpoint,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.pt"
    save_checkpoint(path, {"state_dict": {"w": torch.arange(3)}, "step": 7})
    content = load_checkpoint(path)
    assert content["step"] == 7
    assert content["state_dict"]["w"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("write")])
def test_a_full_disk_keeps_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"step": 1})

    def fail(content: object, stream: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise error

    monkeypatch.setattr(checkpoint.torch, "save", fail)
    with pytest.raises(OSError, match=r"No space left|a\.pt"):
        save_checkpoint(path, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_missing_truncated_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="does not exist"):
        load_checkpoint(tmp_path / "none.pt")
    whole = tmp_path / "whole.pt"
    save_checkpoint(whole, {"w": torch.zeros(1000)})
    cut = tmp_path / "cut.pt"
    cut.write_bytes(whole.read_bytes()[:900])
    text = tmp_path / "text.pt"
    text.write_text("no weights")
    empty = tmp_path / "empty.pt"
    empty.write_bytes(b"")
    for path in (cut, text, empty):
        with pytest.raises(ModelFileError, match=path.name):
            load_checkpoint(path)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, ("/nonexistent/never",)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trap.pt"
    path.write_bytes(pickle.dumps({"state_dict": Trap()}, protocol=2))
    with pytest.raises(ModelFileError, match=r"trap\.pt.* plain values alone") as refused:
        load_checkpoint(path)
    assert "weights_only" not in str(refused.value)  # torch advises to load it all the same


def test_a_bare_tensor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tensor.pt"
    torch.save(torch.zeros(2), path)
    with pytest.raises(ModelFileError, match="Tensor"):
        load_checkpoint(path)


def test_loading_names_missing_unexpected_and_misshapen() -> None:
    net = torch.nn.Linear(2, 3)
    with pytest.raises(ModelFileError, match=r"missing: bias.*unexpected: extra.*weight \(3, 9\)"):
        load_into(net, {"weight": torch.zeros(3, 9), "extra": torch.zeros(1)}, "file.pt")


def test_loading_allows_old_files_without_batch_counters() -> None:
    net = torch.nn.BatchNorm2d(2)
    state = {k: v + 2 for k, v in net.state_dict().items() if k != "num_batches_tracked"}
    load_into(net, state, "file.pt")
    assert net.weight.tolist() == [3.0, 3.0]


def tracker_file(path: Path, value: float, channels: int = 2, kind: str = "siamrpn_x") -> Path:
    state = {"w": torch.full((channels,), value), "bn.num_batches_tracked": torch.tensor(7)}
    save_checkpoint(path, {"kind": kind, "state_dict": state})
    return path


def test_the_mean_of_checkpoints_is_weighted(tmp_path: Path) -> None:
    paths = [tracker_file(tmp_path / f"{v:g}.pt", v) for v in (1.0, 3.0)]
    average_checkpoints(paths, None, tmp_path / "mean.pt")
    average_checkpoints(paths, [3.0, 1.0], tmp_path / "near.pt")
    mean, near = (load_checkpoint(tmp_path / n)["state_dict"] for n in ("mean.pt", "near.pt"))
    assert mean["w"].tolist() == [2.0, 2.0]
    assert mean["w"].dtype == torch.float32
    assert near["w"].tolist() == [1.5, 1.5]
    assert mean["bn.num_batches_tracked"] == 7


def test_networks_of_two_kinds_have_no_mean(tmp_path: Path) -> None:
    first = tracker_file(tmp_path / "a.pt", 1.0)
    for other in (
        tracker_file(tmp_path / "b.pt", 1.0, channels=3),
        tracker_file(tmp_path / "c.pt", 1.0, kind="siamrpn_y"),
    ):
        with pytest.raises(ModelFileError, match="expected one network"):
            average_checkpoints([first, other], None, tmp_path / "mean.pt")
    save_checkpoint(tmp_path / "room.pt", {"kind": "mutual"})
    with pytest.raises(ModelFileError, match=r"room\.pt holds no tracker"):
        average_checkpoints([first, tmp_path / "room.pt"], None, tmp_path / "mean.pt")
    assert not (tmp_path / "mean.pt").exists()


@pytest.mark.parametrize("shares", ["1", "0.5,x", "1,0", "1,-1", "1,inf"])
def test_shares_that_cannot_be_are_refused(
    tmp_path: Path, shares: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(tracker_file(tmp_path / f"{v:g}.pt", v)) for v in (1.0, 3.0)]
    out = str(tmp_path / "mean.pt")
    assert main(["train", "average", *paths, "--shares", shares, "--out", out]) == 2
    assert "expected 2 numbers above 0" in capsys.readouterr().err
