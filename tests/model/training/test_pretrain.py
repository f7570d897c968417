from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("efficientnet_lite_pytorch")

from model.errors import ConfigError, InputError  # noqa: E402
from model.nets.alexnet import FIRST_CENTRE_PX, STRIDE  # noqa: E402
from model.nets.baselines import build_baseline  # noqa: E402
from model.training import pretrain  # noqa: E402
from model.training.checkpoint import load_checkpoint, take_over  # noqa: E402
from model.training.config import TrainConfig  # noqa: E402
from model.training.loop import TrainingError  # noqa: E402
from model.training.pretrain import CropDataset, run_pretraining  # noqa: E402
from model.training.sources import DataReport  # noqa: E402
from model.training.teacher import CHANNELS, INPUT_PX, MARGIN_PX, FeatureTeacher  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "stills").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (400, 300), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / "stills" / f"{number}.png"), image)
    return root


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_config(night: float = 0.0, steps: int = 1, network: str = "alexnet") -> TrainConfig:
    return TrainConfig.from_mapping(
        {
            "network": network,
            "sources": [{"kind": "images", "path": "stills"}],
            "night": {"probability": night},
            "optim": {"steps": steps},
            "run": {"batch": 1, "workers": 0, "precision": "fp32", "log_steps": 1},
        }
    )


def test_by_day_teacher_and_student_see_the_same_place(root: Path) -> None:
    sample = CropDataset(make_config(), root, DataReport())[4]
    assert sample["day"].shape == (INPUT_PX, INPUT_PX, 3)
    assert sample["student"].shape == (255, 255, 3)
    shared = INPUT_PX - MARGIN_PX
    np.testing.assert_array_equal(
        sample["day"][MARGIN_PX:, MARGIN_PX:], sample["student"][:shared, :shared]
    )


def test_at_night_only_the_student_is_in_the_dark(root: Path) -> None:
    day = CropDataset(make_config(0.0), root, DataReport())[4]
    night = CropDataset(make_config(1.0), root, DataReport())[4]
    np.testing.assert_array_equal(day["day"], night["day"])
    assert night["student"].mean() < 0.7 * day["student"].mean()


def test_the_teachers_cells_look_where_the_students_do() -> None:
    teacher = FeatureTeacher()
    x = (torch.rand(1, 3, INPUT_PX, INPUT_PX) * 255).requires_grad_()
    cell = 9
    with torch.enable_grad():
        stem = teacher.stem(x.flip(1) / 127.5 - 1.0)
        for block in list(teacher.blocks)[:5]:
            stem = block(stem)
        stem[0, :, cell + 5, cell + 5].abs().sum().backward()
    assert x.grad is not None
    # The middle of what the cell can see at all; the gradient's weight leans with the picture.
    seen = torch.nonzero(x.grad.abs().sum((0, 1, 2))).flatten()
    centre = float(seen[0] + seen[-1]) / 2
    assert centre == STRIDE * cell + FIRST_CENTRE_PX + MARGIN_PX


def test_calibrated_features_are_normalised_on_the_students_grid() -> None:
    teacher = FeatureTeacher()
    crops = torch.rand(2, 3, INPUT_PX, INPUT_PX) * 255
    teacher.calibrate(crops)
    features = teacher(crops)
    assert tuple(features.shape) == (2, CHANNELS, 22, 22)
    assert float(features.mean().abs()) < 1e-3
    assert float(features.std()) == pytest.approx(1.0, abs=0.02)
    assert not any(p.requires_grad for p in teacher.parameters())


def test_a_run_leaves_a_backbone_and_resumes(root: Path, tmp_path: Path) -> None:
    latest = run_pretraining(make_config(steps=1), root, tmp_path, False, CPU, strict=False)
    first = load_checkpoint(latest)
    assert first["step"] == 1
    assert all(name.startswith("backbone.layer") for name in first["state_dict"])
    with pytest.raises(InputError, match="--resume"):
        run_pretraining(make_config(steps=2), root, tmp_path, False, CPU, strict=False)
    run_pretraining(make_config(steps=2), root, tmp_path, True, CPU, strict=False)
    second = load_checkpoint(latest)
    assert second["step"] == 2
    torch.testing.assert_close(second["teacher"]["mean"], first["teacher"]["mean"])


def test_a_loss_that_is_not_finite_leaves_the_last_checkpoint(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest = run_pretraining(make_config(steps=1), root, tmp_path, False, CPU, strict=False)
    before = latest.read_bytes()
    seen = FeatureTeacher.forward
    monkeypatch.setattr(FeatureTeacher, "forward", lambda self, x: seen(self, x) * float("nan"))
    with pytest.raises(TrainingError, match=r"the loss is nan.*lower optim\.lr"):
        run_pretraining(make_config(steps=2), root, tmp_path, True, CPU, strict=False)
    assert latest.read_bytes() == before


def test_the_compact_backbone_learns_too_and_starts_a_tracker(root: Path, tmp_path: Path) -> None:
    config = make_config(network="compact")
    latest = run_pretraining(config, root, tmp_path, False, CPU, strict=False)
    net = build_baseline("compact")
    take_over(net, latest)
    wanted = load_checkpoint(latest)["state_dict"]["backbone.stem.0.weight"]
    torch.testing.assert_close(net.state_dict()["backbone.stem.0.weight"], wanted)


def test_a_network_on_another_grid_is_refused(root: Path, tmp_path: Path) -> None:
    config = make_config(network="efficientnet_lite0")
    with pytest.raises(ConfigError, match="alexnet or compact"):
        run_pretraining(config, root, tmp_path, False, CPU, strict=False)


def test_a_stopped_run_is_kept_and_goes_on_with_its_own_settings(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = pretrain._step

    def interrupted(*args: Any) -> float:
        signal.raise_signal(signal.SIGINT)
        return step(*args)

    monkeypatch.setattr(pretrain, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_pretraining(make_config(steps=3), root, tmp_path, False, CPU, strict=False)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "latest.pt")["step"] == 1
    other = make_config(steps=2)
    other = replace(other, optim=replace(other.optim, lr=0.5))
    with pytest.raises(InputError, match=r"optim\.lr was"):
        run_pretraining(other, root, tmp_path, True, CPU, strict=False)
    run_pretraining(make_config(steps=2), root, tmp_path, True, CPU, strict=False)
    assert load_checkpoint(tmp_path / "latest.pt")["step"] == 2
