"""The teacher: any enhancer before any baseline, frozen, colours in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.enhance.classical import Gamma
from model.enhance.darklighter import DarkLighter
from model.enhance.enhancer import Enhancer, enhance_bgr
from model.errors import ConfigError, ModelFileError
from model.nets.baselines import build_baseline, run_pairs
from model.training.checkpoint import load_checkpoint, save_checkpoint
from model.training.night_teacher import NightTeacher, build_teacher, load_teacher, save_teacher


class RedOnly(Enhancer):
    """Keeps only what it takes for red."""

    wants_weights = False

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        return image * torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return build_baseline("compact").eval()


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    z, x = (torch.rand(2, 3, s, s, generator=generator) * 60 for s in (127, 191))
    return z, x


def test_it_is_the_enhancer_then_the_tracker(net, pair):
    with torch.no_grad():
        wanted = run_pairs(net, *(enhance_bgr(Gamma(), crop) for crop in pair))
    got = NightTeacher(Gamma(), net)(*pair)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_the_enhancer_sees_rgb_and_the_network_bgr(net, pair):
    z, x = NightTeacher(RedOnly(), net).see(*pair)
    torch.testing.assert_close(x[:, 2], pair[1][:, 2])  # red is BGR's last channel
    assert x[:, :2].abs().max() == 0
    assert z[:, :2].abs().max() == 0


def test_it_stays_frozen(net, pair):
    teacher = NightTeacher(DarkLighter(), net).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not any(m.requires_grad for m in teacher(*pair))


def test_light_pairs_may_be_left_alone(net, pair):
    z, x = pair
    x = torch.stack([x[0], x[1] + 150])
    teacher = NightTeacher(Gamma(), net, enhance_below_grey=70.0)
    seen_z, seen_x = teacher.see(z, x)
    torch.testing.assert_close(seen_x[1], x[1])
    torch.testing.assert_close(seen_z[1], z[1])
    assert seen_x[0].mean() > 1.5 * x[0].mean()
    assert seen_z[0].mean() > 1.5 * z[0].mean()


def test_whole_frames_instead_of_crops(net, pair):
    frame = np.full((20, 30, 3), 16, np.uint8)
    crops, frames = NightTeacher(Gamma(), net), NightTeacher(Gamma(), net, "frames")
    assert crops.prepare(frame) is frame
    assert frames.prepare(frame).mean() == pytest.approx(255 * (16 / 255) ** (1 / 2.2), abs=1)
    assert frames.see(*pair)[1] is pair[1]
    with pytest.raises(ConfigError, match="crops or frames"):
        NightTeacher(Gamma(), net, "images")  # type: ignore[arg-type]


def test_it_is_written_and_read_as_one_file(net, pair, tmp_path):
    torch.manual_seed(2)
    save_checkpoint(tmp_path / "net.pt", {"state_dict": net.state_dict()})
    save_checkpoint(tmp_path / "light.pth", DarkLighter().state_dict())
    built = build_teacher(
        "darklighter", tmp_path / "light.pth", "compact", tmp_path / "net.pt", "crops", 80.0
    )
    save_teacher(tmp_path / "teacher.pt", built, "darklighter", "compact")
    loaded = load_teacher(tmp_path / "teacher.pt")
    assert loaded.enhance_below_grey == 80.0
    for a, b in zip(built(*pair), loaded(*pair), strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ModelFileError, match="no teacher"):
        load_teacher(tmp_path / "net.pt")
    whole = load_checkpoint(tmp_path / "teacher.pt")
    for lost in ("enhancer_state", "baseline", "enhance_below_grey", "state_dict"):
        part = {key: value for key, value in whole.items() if key != lost}
        save_checkpoint(tmp_path / "part.pt", part)
        with pytest.raises(ModelFileError, match="no teacher"):
            load_teacher(tmp_path / "part.pt")


def test_weights_of_another_baseline_are_refused(tmp_path):
    save_checkpoint(tmp_path / "net.pt", {"state_dict": build_baseline("compact").state_dict()})
    with pytest.raises(ModelFileError, match="does not fit"):
        build_teacher("gamma", None, "alexnet", tmp_path / "net.pt")
