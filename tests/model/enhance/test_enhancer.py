"""The interface: ranges, colour order and shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.enhance.classical import Gamma
from model.enhance.enhancer import Enhancer, enhance_bgr, enhance_image
from model.errors import ShapeError


class RedOnly(Enhancer):
    """Keeps the red channel, doubled: tells RGB from BGR."""

    wants_weights = False

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        keep = torch.tensor([2.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
        return image * keep


def test_the_output_is_clipped():
    lit = RedOnly()(torch.full((1, 3, 2, 2), 0.8))
    assert lit[0, 0].max() == 1.0


def test_bgr_goes_in_as_rgb_and_comes_back_as_bgr():
    x = torch.tensor([10.0, 20.0, 60.0]).reshape(1, 3, 1, 1)  # blue, green, red
    assert enhance_bgr(RedOnly(), x).flatten().tolist() == pytest.approx([0.0, 0.0, 120.0])


def test_an_image_keeps_its_channel_order_and_type():
    image = np.zeros((4, 5, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 64
    lit = enhance_image(Gamma(2.0), image)
    assert lit.dtype == np.uint8
    assert lit.shape == image.shape
    assert lit[1, 1].tolist() == [
        round(255 * (200 / 255) ** 0.5),
        0,
        round(255 * (64 / 255) ** 0.5),
    ]


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 8, 8), (1, 1, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match="batch x 3 x height x width"):
        Gamma()(torch.zeros(shape))
