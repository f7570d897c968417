"""Zero-DCE++ against an independent evaluation of its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.enhance.registry import build_enhancer
from model.enhance.zero_dce_plus import ZeroDCEPlus


def by_hand(weights, image):
    """At full size (scale 1), where no interpolation takes part."""

    def layer(number, a):
        deep = weights.conv(f"e_conv{number}.depth_conv", a, groups=a.shape[0])
        return weights.conv(f"e_conv{number}.point_conv", deep)

    relu = lambda a: np.maximum(a, 0)  # noqa: E731
    x1 = relu(layer(1, image))
    x2 = relu(layer(2, x1))
    x3 = relu(layer(3, x2))
    x4 = relu(layer(4, x3))
    x5 = relu(layer(5, np.concatenate([x3, x4])))
    x6 = relu(layer(6, np.concatenate([x2, x5])))
    curve = np.tanh(layer(7, np.concatenate([x1, x6])))
    for _ in range(8):
        image = image + curve * (image**2 - image)
    return np.clip(image, 0, 1)


@pytest.mark.data
def test_released_weights_agree_with_the_formula(released, weights_of, night):
    enhancer = ZeroDCEPlus(scale=1).eval()
    enhancer.load_weights(released("Zero-DCE++/Epoch99.pth"))
    wanted = by_hand(weights_of(enhancer.state_dict()), night[0].double().numpy())
    with torch.no_grad():
        lit = enhancer(night)
    np.testing.assert_allclose(lit[0].double().numpy(), wanted, atol=2e-5)


@pytest.mark.data
def test_released_weights_light_up_the_night(released):
    enhancer = build_enhancer("zero-dce++", released("Zero-DCE++/Epoch99.pth"))
    dark = torch.full((1, 3, 96, 120), 0.08)
    assert enhancer(dark).mean() > 2 * dark.mean()


@pytest.mark.parametrize("size", [(127, 127), (96, 120), (7, 5)])
def test_the_curve_has_the_size_of_the_image(size):
    torch.manual_seed(3)
    curve = ZeroDCEPlus().curve(torch.rand(1, 3, *size))
    assert curve.shape == (1, 3, *size)
