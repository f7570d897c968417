"""The losses without references: hand-computed values, zero where they should, gradients."""

from __future__ import annotations

import pytest
import torch

from model.enhance.darklighter import DarkLighter
from model.enhance.zero_reference import (
    Weights,
    colour_loss,
    exposure_loss,
    noise_loss,
    smoothness_loss,
    spatial_loss,
    zero_reference_loss,
)


def blocks(values: list[float]) -> torch.Tensor:
    """Grey regions of 4 x 4 px side by side, [1 x 3 x 4 x 4 n]."""
    row = torch.tensor(values).repeat_interleave(4)
    return row.expand(1, 3, 4, -1).contiguous()


def test_spatial_by_hand():
    # Two regions whose gap grows by 0.3: each sees it once, the mean over two regions.
    lit, dark = blocks([0.2, 0.6]), blocks([0.1, 0.2])
    assert spatial_loss(lit, dark).item() == pytest.approx(2 * 0.3**2 / 2)


def test_spatial_does_not_see_a_general_brightening():
    dark = torch.rand(1, 3, 16, 16)
    assert spatial_loss(dark + 0.3, dark).item() == pytest.approx(0.0, abs=1e-10)


def test_exposure_by_hand():
    lit = torch.full((2, 3, 32, 32), 0.4)
    assert exposure_loss(lit).item() == pytest.approx(0.04, rel=1e-4)
    assert exposure_loss(lit, level=0.4).item() == pytest.approx(0.0, abs=1e-10)


def test_colour_by_hand():
    lit = torch.tensor([0.5, 0.3, 0.1]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert colour_loss(lit).item() == pytest.approx(0.04 + 0.16 + 0.04)
    assert colour_loss(torch.full((1, 3, 4, 4), 0.2)).item() == 0.0


def test_smoothness_by_hand():
    maps = torch.tensor([[0.0, 1.0], [0.0, 3.0]]).reshape(1, 1, 2, 2)
    assert smoothness_loss(maps).item() == pytest.approx((0 + 4) / 2 + (1 + 9) / 2)
    assert smoothness_loss(torch.full((1, 2, 3, 3), 0.7)).item() == 0.0


def test_noise_by_hand():
    assert noise_loss(torch.tensor([[1.0, -3.0]])).item() == 5.0


def test_the_sum_has_the_weights_and_reaches_every_part():
    torch.manual_seed(0)
    net, dark = DarkLighter(), torch.rand(1, 3, 32, 32) * 0.2
    curve, noise = net.curves(dark)
    lit = net.apply_curves(dark, curve, noise)
    weights = Weights(1.0, 2.0, 3.0, 4.0, 5.0)
    total, terms = zero_reference_loss(dark, lit, curve, noise, weights)
    values = [float(terms[n].detach()) for n in ("spatial", "exposure", "colour", "curve", "noise")]
    wanted = sum(w * v for w, v in zip((1, 2, 3, 4, 5), values, strict=True))
    assert float(total.detach()) == pytest.approx(wanted, rel=1e-5)
    total.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name
