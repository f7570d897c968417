from __future__ import annotations

import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from model.errors import ModelFileError  # noqa: E402
from model.training import checkpoint  # noqa: E402
from model.training.checkpoint import load_checkpoint, load_into, save_checkpoint  # noqa: E402


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
    with pytest.raises(ModelFileError, match=r"trap\.pt"):
        load_checkpoint(path)


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
