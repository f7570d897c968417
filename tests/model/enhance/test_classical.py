"""Gamma, CLAHE and retinex."""

from __future__ import annotations

import pytest
import torch

from model.enhance.classical import Clahe, Gamma, MultiScaleRetinex


def test_gamma_by_hand():
    lit = Gamma(2.0)(torch.tensor([0.0, 0.25, 1.0]).reshape(1, 3, 1, 1))
    assert lit.flatten().tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("enhancer", [Gamma(), Clahe(), MultiScaleRetinex()])
def test_the_night_gets_lighter(enhancer, night):
    lit = enhancer(night)
    assert lit.shape == night.shape
    assert lit.dtype == torch.float32
    assert lit.mean() > 1.3 * night.mean()
    assert 0.0 <= lit.min() <= lit.max() <= 1.0


def test_retinex_removes_a_slow_change_of_light():
    torch.manual_seed(0)
    texture = 0.5 + 0.2 * torch.rand(64, 64)
    slope = torch.linspace(0.1, 1.0, 64)
    lit = MultiScaleRetinex()((texture * slope).expand(1, 3, 64, 64))[0, 0]
    before = (texture * slope)[:, -16:].mean() / (texture * slope)[:, :16].mean()
    assert before > 4
    assert lit[:, -16:].mean() / lit[:, :16].mean() < before / 2


def test_clahe_keeps_the_hue_of_a_flat_image():
    flat = torch.tensor([0.4, 0.2, 0.2]).reshape(1, 3, 1, 1).expand(1, 3, 32, 32)
    lit = Clahe()(flat)[0, :, 16, 16]
    assert lit[0] > lit[1]
    assert lit[1].item() == pytest.approx(lit[2].item(), abs=0.03)


@pytest.mark.parametrize("enhancer", [Clahe(), MultiScaleRetinex()])
def test_a_black_image_stays_finite(enhancer):
    assert torch.isfinite(enhancer(torch.zeros(1, 3, 32, 32))).all()
