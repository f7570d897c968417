from __future__ import annotations

import cv2
import numpy as np
import pytest

from model.config import TrackerConfig
from model.crop import (
    Region,
    crop_region,
    mean_colour,
    place_region,
    region_of,
    search_side_px,
    template_side_px,
)
from model.geometry import Box, Image

CONFIG = TrackerConfig()


def noise(height: int = 120, width: int = 160) -> Image:
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 2)


def test_sides_of_a_square_target() -> None:
    # context 0.5 · (40 + 40) = 40: (40 + 40) a side; search 80 · 287 / 127 = 180.79
    assert template_side_px(40, 40, CONFIG) == 80
    assert search_side_px(80, CONFIG) == 181


def test_sides_of_an_oblong_target() -> None:
    # context 45: sqrt(105 · 75) = 88.74
    assert template_side_px(60, 30, CONFIG) == 89


@pytest.mark.parametrize(("centre", "side", "left"), [(50, 10, 45), (50, 11, 44), (50.4, 11, 44)])
def test_left_edge_follows_the_formula(centre: float, side: int, left: int) -> None:
    assert place_region(centre, centre, side) == Region(left, left, side)


def test_a_region_of_the_frame_is_cut_and_scaled() -> None:
    image = noise()
    region = Region(20, 30, 60)
    expected = cv2.resize(image[30:90, 20:80], (127, 127))
    assert np.array_equal(crop_region(image, region, 127, (0, 0, 0)), expected)


@pytest.mark.parametrize(
    "region", [Region(-20, -10, 90), Region(110, 60, 91), Region(-30, -40, 260), Region(500, 0, 40)]
)
def test_over_the_border_it_is_as_if_the_frame_were_padded(region: Region) -> None:
    image = noise()
    padding = (10.0, 120.0, 240.0)
    pad = 600
    wide = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=padding)
    x, y, side = region
    part = wide[y + pad : y + pad + side, x + pad : x + pad + side]
    expected = cv2.resize(part, (127, 127)).astype(int)
    got = crop_region(image, region, 127, padding).astype(int)
    # Two ways of rounding weights; beyond them the pictures are the same.
    assert np.abs(got - expected).max() <= 6
    assert np.abs(got - expected).mean() < 0.5


def test_the_result_is_written_into_the_given_buffer() -> None:
    image = noise()
    out = np.zeros((127, 127, 3), np.uint8)
    for region in (Region(20, 30, 60), Region(-20, -10, 90)):
        assert crop_region(image, region, 127, (0, 0, 0), out) is out
        assert np.array_equal(out, crop_region(image, region, 127, (0, 0, 0)))


def test_mean_colour_is_by_channel() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2] = (10, 20, 30)
    assert mean_colour(image) == (5, 10, 15)


def test_template_and_search_share_their_centre() -> None:
    box = Box(40, 30, 24, 18)
    z, x = region_of(box, CONFIG, search=False), region_of(box, CONFIG, search=True)
    assert x.side > z.side
    assert abs(z.cx - box.cx) <= 0.5
    assert abs(x.cx - box.cx) <= 0.5
