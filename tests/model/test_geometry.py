from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BoxError
from model.geometry import Box, centre_error_px, check_target, clip_box, iou

sides = st.floats(0.5, 500)
places = st.floats(-500, 500)
boxes = st.builds(Box, places, places, sides, sides)


def test_iou_of_half_overlapping_boxes() -> None:
    assert iou(Box(0, 0, 10, 10), Box(5, 0, 10, 10)) == pytest.approx(50 / 150)


def test_iou_is_zero_for_touching_and_empty_boxes() -> None:
    assert iou(Box(0, 0, 10, 10), Box(10, 0, 10, 10)) == 0
    assert iou(Box(0, 0, 0, 0), Box(0, 0, 10, 10)) == 0


@given(boxes, boxes)
def test_iou_is_symmetric_and_bounded(a: Box, b: Box) -> None:
    assert 0 <= iou(a, b) <= 1 + 1e-9
    assert iou(a, b) == pytest.approx(iou(b, a))
    assert iou(a, a) == pytest.approx(1)


def test_centre_error_is_the_distance_of_the_centres() -> None:
    assert centre_error_px(Box(0, 0, 10, 10), Box(3, 4, 10, 10)) == pytest.approx(5)
    assert centre_error_px(Box(0, 0, 10, 10), Box(-5, -5, 20, 20)) == pytest.approx(0)


@given(boxes)
def test_a_clipped_box_lies_in_the_image(box: Box) -> None:
    cut = clip_box(box, 100, 80)
    assert 0 <= cut.x <= cut.x + cut.w <= 100 + 1e-9
    assert 0 <= cut.y <= cut.y + cut.h <= 80 + 1e-9


@given(boxes)
def test_centre_and_back(box: Box) -> None:
    again = Box.from_centre(box.cx, box.cy, box.w, box.h)
    assert again == pytest.approx(box, abs=1e-9)


@pytest.mark.parametrize(
    ("box", "says"),
    [
        (Box(math.nan, 0, 10, 10), "finite"),
        (Box(0, 0, math.inf, 10), "finite"),
        (Box(10, 10, 0, 10), "empty"),
        (Box(10, 10, 5, -3), "empty"),
        (Box(200, 10, 20, 20), "outside"),
        (Box(-30, 10, 20, 20), "outside"),
        (Box(10, 10, 3.9, 20), "at least 4 px"),
        (Box(98, 10, 20, 20), "at least 4 px"),
    ],
)
def test_a_box_that_cannot_be_a_target_is_refused_with_its_values(box: Box, says: str) -> None:
    with pytest.raises(BoxError, match=says) as caught:
        check_target(box, 100, 80)
    assert f"w={box.w:g}" in str(caught.value)


def test_a_target_is_cut_to_the_image() -> None:
    assert check_target(Box(-5, -5, 20, 20), 100, 80) == Box(0, 0, 15, 15)
