"""SCI against an independent evaluation of its formula."""

from __future__ import annotations

import numpy as np
import pytest

from model.enhance.registry import build_enhancer


def by_hand(weights, image):
    relu = lambda a: np.maximum(a, 0)  # noqa: E731
    features = relu(weights.conv("enhance_net.in_conv.0", image))
    block = weights.norm("enhance_net.conv.1", weights.conv("enhance_net.conv.0", features))
    features = features + relu(block)
    light = 1 / (1 + np.exp(-weights.conv("enhance_net.out_conv.0", features))) + image
    return np.clip(image / np.clip(light, 1e-4, 1), 0, 1)


@pytest.mark.data
@pytest.mark.parametrize("level", ["easy", "medium", "difficult"])
def test_released_weights_agree_with_the_formula(level, released, weights_of, night):
    enhancer = build_enhancer("sci", released(f"SCI/{level}.pt"))
    wanted = by_hand(weights_of(enhancer.state_dict()), night[0].double().numpy())
    lit = enhancer(night)
    np.testing.assert_allclose(lit[0].double().numpy(), wanted, atol=2e-5)
    assert (lit >= night - 1e-6).all()
