"""DarkLighter against an independent evaluation of its formula, with the released weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.enhance.darklighter import DarkLighter
from model.enhance.registry import build_enhancer
from model.errors import ModelFileError


def by_hand(weights, image):
    """One image (3, H, W) float64 through the published formula."""
    relu = lambda a: np.maximum(a, 0)  # noqa: E731
    join = lambda a, b: np.concatenate([a, b])  # noqa: E731
    x1 = relu(weights.conv("e_conv1", image))
    x2 = relu(weights.conv("e_conv2", x1))
    x3 = relu(weights.conv("e_conv3", join(x1, x2)))
    x4 = relu(weights.conv("e_conv4", join(x2, x3)))
    x5 = relu(weights.conv("e_conv5", join(x3, x4)))
    curve = np.tanh(weights.conv("e_conv7", join(x4, x5)))
    noise = np.tanh(weights.conv("e_conv8", join(x4, x5)))
    for i in range(8):
        image = (image - noise[i]) * (curve[i] + 1)
    return np.clip(image, 0, 1)


@pytest.mark.data
def test_released_weights_agree_with_the_formula(released, weights_of, night):
    enhancer = build_enhancer("darklighter", released("DarkLighter/Epoch193.pth"))
    weights = weights_of(enhancer.state_dict())
    lit = enhancer(night)
    for image, got in zip(night, lit, strict=True):
        wanted = by_hand(weights, image.double().numpy())
        np.testing.assert_allclose(got.double().numpy(), wanted, atol=2e-5)


@pytest.mark.data
def test_released_weights_light_up_the_night(released, night):
    enhancer = build_enhancer("darklighter", released("DarkLighter/Epoch193.pth"))
    assert enhancer(night).mean() > 2 * night.mean()


def test_random_weights_agree_with_the_formula(weights_of, night):
    torch.manual_seed(1)
    enhancer = DarkLighter().eval()
    weights = weights_of(enhancer.state_dict())
    with torch.no_grad():
        lit = enhancer(night)
    wanted = by_hand(weights, night[0].double().numpy())
    np.testing.assert_allclose(lit[0].double().numpy(), wanted, atol=1e-5)


def test_it_can_be_trained(night):
    torch.manual_seed(1)
    enhancer = DarkLighter()
    (enhancer(night).mean() - 0.6).square().backward()
    for name, parameter in enhancer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"e_conv1.weight": torch.zeros(32, 3, 3, 3)}, path)
    with pytest.raises(ModelFileError, match=r"other\.pth does not fit: missing: e_conv1\.bias"):
        build_enhancer("darklighter", path)
