"""HighlightNet: released weights load, parts of the formula by hand, scenes stay apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.enhance.highlightnet import HighlightNet
from model.enhance.registry import build_enhancer


@pytest.mark.data
@pytest.mark.parametrize("epoch", [0, 99])
def test_released_weights_load(epoch, released, night):
    enhancer = build_enhancer("highlightnet", released(f"HighlightNet/Epoch{epoch}.pth"))
    lit = enhancer(night)
    assert lit.shape == night.shape
    assert torch.isfinite(lit).all()


@pytest.mark.data
def test_released_weights_light_the_dark_and_spare_the_lamp(released, night):
    enhancer = build_enhancer("highlightnet", released("HighlightNet/Epoch99.pth"))
    lit = enhancer(night)
    assert lit[0].mean() > 2 * night[0].mean()
    assert lit[0, :, 5, 6].max() <= 1.0


@pytest.mark.data
def test_the_curve_agrees_with_the_formula(released, weights_of, night):
    enhancer = build_enhancer("highlightnet", released("HighlightNet/Epoch99.pth"))
    weights = weights_of(enhancer.state_dict())
    value = night[:1].mean(1, keepdim=True)
    layer = lambda n, a: np.maximum(weights.conv(f"e_conv{n}", a), 0)  # noqa: E731
    x1 = layer(1, value[0].double().numpy())
    x2 = layer(2, x1)
    x3 = layer(3, x2)
    x5 = layer(5, np.concatenate([x3, layer(4, x3)]))
    last = weights.conv("e_conv7", np.concatenate([x1, layer(6, np.concatenate([x2, x5]))]))
    wanted = 1 / (1 + np.exp(-last))
    np.testing.assert_allclose(enhancer.curve(value)[0].double().numpy(), wanted, atol=1e-5)


def test_the_formula_by_hand_on_a_grey_image():
    # With all weights 0 the curve is 0.5, the base 0.25 and the cut 0.08.
    enhancer = HighlightNet().eval()
    for parameter in enhancer.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        lit = enhancer(torch.full((1, 3, 20, 20), 0.3))
        dim = enhancer(torch.full((1, 3, 20, 20), 0.04))
    assert lit[0, 0, 3, 3].item() == pytest.approx(0.3 ** (0.25**0.5), rel=1e-4)
    wanted = 0.04 ** (0.25**0.5) - 400 * (0.08 - 0.04) ** 3
    assert dim[0, 2, 3, 3].item() == pytest.approx(wanted, rel=1e-3)


def test_each_scene_has_its_own_levels(night):
    torch.manual_seed(5)
    enhancer = HighlightNet().eval()
    with torch.no_grad():
        together = enhancer(night)
        apart = torch.cat([enhancer(night[:1]), enhancer(night[1:])])
    torch.testing.assert_close(together, apart)
