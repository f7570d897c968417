from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from model.errors import ModelFileError  # noqa: E402
from model.nets.alexnet import AlexNetLegacy  # noqa: E402
from model.nets.siamrpn import SiamRPN  # noqa: E402
from model.training.checkpoint import load_checkpoint  # noqa: E402
from model.training.convert import import_checkpoint  # noqa: E402


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    return dict(SiamRPN().state_dict())


def _outcome(path: Path, out: Path) -> dict[str, torch.Tensor]:
    import_checkpoint(path, out)
    state: dict[str, torch.Tensor] = load_checkpoint(out)["state_dict"]
    return state


@pytest.mark.parametrize("form", ["bare", "release", "prefixed", "no_counters"])
def test_published_forms_are_read(
    tmp_path: Path, weights: dict[str, torch.Tensor], form: str
) -> None:
    content: dict[str, object] = dict(weights)
    if form == "release":
        content = {"epoch": 50, "state_dict": weights, "optimizer": {"state": {}, "lr": 0.1}}
    elif form == "prefixed":
        content = {"state_dict": {f"module.{k}": v for k, v in weights.items()}}
    elif form == "no_counters":
        content = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    torch.save(content, tmp_path / "in.pth")
    state = _outcome(tmp_path / "in.pth", tmp_path / "out.pt")
    assert set(state) == set(weights)
    for name, value in weights.items():
        torch.testing.assert_close(state[name], value)


def test_the_legacy_alexnet_is_read(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(5)
    legacy = AlexNetLegacy()
    content = {k: v for k, v in weights.items() if not k.startswith("backbone.")}
    content |= {f"module.backbone.{k}": v for k, v in legacy.state_dict().items()}
    torch.save(content, tmp_path / "in.pth")
    state = _outcome(tmp_path / "in.pth", tmp_path / "out.pt")
    torch.testing.assert_close(
        state["backbone.layer3.0.weight"], legacy.state_dict()["features.8.weight"]
    )


def test_a_wrong_file_names_the_first_keys(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}, tmp_path / "in.pth")
    with pytest.raises(ModelFileError, match=r"backbone\.layer1\.0\.weight") as caught:
        import_checkpoint(tmp_path / "in.pth", tmp_path / "out.pt")
    assert "unexpected: conv1.weight, fc.bias" in str(caught.value)
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"state_dict": {"a": 3}}])
def test_a_file_without_weights_says_so(tmp_path: Path, content: dict[str, object]) -> None:
    torch.save(content, tmp_path / "in.pth")
    with pytest.raises(ModelFileError, match=r"in\.pth"):
        import_checkpoint(tmp_path / "in.pth", tmp_path / "out.pt")
