"""LDEnhancer: released weights load, sizes that are no multiple of 16, independent samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.enhance.ldenhancer import EstimateNet, LDEnhancer
from model.enhance.registry import build_enhancer
from model.errors import ShapeError


@pytest.mark.data
def test_released_weights_load_and_light_up(released):
    enhancer = build_enhancer("ldenhancer", released("LDEnhancer/model.pth"))
    dark = torch.full((1, 3, 64, 80), 0.1)
    dark[..., 20:30, 20:30] = 0.2
    lit = enhancer(dark)
    assert lit.shape == dark.shape
    assert lit.mean() > 1.3 * dark.mean()


def test_curves_agree_with_the_formula(weights_of, night):
    torch.manual_seed(6)
    net = EstimateNet()
    weights = weights_of(net.state_dict())
    layer = lambda n, a: np.maximum(weights.conv(f"e_conv{n}", a), 0)  # noqa: E731
    x1 = layer(1, night[0].double().numpy())
    x2 = layer(2, x1)
    x4 = layer(4, np.concatenate([x2, layer(3, x2)]))
    wanted = np.tanh(weights.conv("e_conv5", np.concatenate([x1, x4])))
    with torch.no_grad():
        got = net(night)[0].double().numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (127, 127), (5, 9)])
def test_any_size(size):
    torch.manual_seed(6)
    lit = LDEnhancer().eval()(torch.rand(2, 3, *size))
    assert lit.shape == (2, 3, *size)
    assert torch.isfinite(lit).all()


def test_samples_do_not_mix(night):
    torch.manual_seed(6)
    enhancer = LDEnhancer().eval()
    with torch.no_grad():
        torch.testing.assert_close(enhancer(night)[1:], enhancer(night[1:]))


def test_an_image_beyond_the_learned_places_is_refused():
    with pytest.raises(ShapeError, match="at most 8000 px"):
        LDEnhancer().eval()(torch.zeros(1, 3, 16, 8016))
