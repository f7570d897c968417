"""Zero-DCE against an independent evaluation of its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.enhance.registry import build_enhancer
from model.enhance.zero_dce import ZeroDCE, apply_curve


def by_hand(weights, image):
    layer = lambda n, a: np.maximum(weights.conv(f"e_conv{n}", a), 0)  # noqa: E731
    x1 = layer(1, image)
    x2 = layer(2, x1)
    x3 = layer(3, x2)
    x4 = layer(4, x3)
    x5 = layer(5, np.concatenate([x3, x4]))
    x6 = layer(6, np.concatenate([x2, x5]))
    curves = np.tanh(weights.conv("e_conv7", np.concatenate([x1, x6])))
    for i in range(8):
        image = image + curves[3 * i : 3 * i + 3] * (image**2 - image)
    return np.clip(image, 0, 1)


def test_one_round_by_hand():
    image, curve = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([-1.0, -1.0, -1.0])
    assert apply_curve(image, curve).tolist() == [0.0, 0.75, 1.0]


@pytest.mark.data
def test_released_weights_agree_with_the_formula(released, weights_of, night):
    enhancer = build_enhancer("zero-dce", released("Zero-DCE/Epoch99.pth"))
    wanted = by_hand(weights_of(enhancer.state_dict()), night[1].double().numpy())
    lit = enhancer(night)
    np.testing.assert_allclose(lit[1].double().numpy(), wanted, atol=2e-5)
    assert lit.mean() > 2 * night.mean()


def test_random_weights_agree_with_the_formula(weights_of, night):
    torch.manual_seed(2)
    enhancer = ZeroDCE().eval()
    wanted = by_hand(weights_of(enhancer.state_dict()), night[0].double().numpy())
    with torch.no_grad():
        lit = enhancer(night)
    np.testing.assert_allclose(lit[0].double().numpy(), wanted, atol=1e-5)
