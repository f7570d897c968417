from __future__ import annotations

import pytest
from pydantic import ValidationError

from gcs.schemas import StartRequest
from gcs.selection import select_box
from model.errors import BoxError
from model.geometry import Box


def test_px_pass_as_they_are() -> None:
    assert select_box(StartRequest(box=[1, 2, 3, 4]), 1280, 720) == Box(1, 2, 3, 4)
    named = StartRequest.model_validate({"box": {"x": 1, "y": 2, "w": 3, "h": 4}})
    assert select_box(named, 1280, 720) == Box(1, 2, 3, 4)


def test_fractions_scale_with_the_frame() -> None:
    request = StartRequest(box=[0.5, 0.25, 0.1, 0.2], units="fraction")
    assert select_box(request, 1000, 400) == Box(500, 100, 100, 80)


def test_a_point_gets_a_square_around_it() -> None:
    box = select_box(StartRequest(point=[0.5, 0.5], units="fraction"), 1280, 720)
    assert (box.cx, box.cy) == (640, 360)
    assert box.w == box.h == 45
    small = select_box(StartRequest.model_validate({"point": {"x": 9, "y": 9}}), 64, 48)
    assert small.w == 16


def test_a_point_outside_is_refused() -> None:
    with pytest.raises(BoxError, match="outside the 1280 x 720"):
        select_box(StartRequest(point=[1300, 5]), 1280, 720)
    with pytest.raises(BoxError, match="outside"):
        select_box(StartRequest(point=[float("nan"), 5]), 1280, 720)


def test_px_sent_as_fractions_are_refused() -> None:
    with pytest.raises(BoxError, match="send units 'px'"):
        select_box(StartRequest(box=[100, 100, 50, 50], units="fraction"), 1280, 720)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"box": [1, 2, 3, 4], "point": [1, 2]},
        {"box": [1, 2, 3]},
        {"box": [1, 2, 3, 4], "units": "percent"},
        {"box": [1, 2, 3, 4], "frame_id": -1},
        {"box": {"x": 1, "y": 2, "w": 3}},
        {"box": [1, 2, 3, 4], "size": 3},
    ],
)
def test_bad_requests(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StartRequest.model_validate(body)
