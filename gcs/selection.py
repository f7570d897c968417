"""From what the operator sent to a box in the frame."""

from __future__ import annotations

from gcs.schemas import StartRequest
from model.errors import BoxError
from model.geometry import Box

POINT_SIDE = 1 / 16
"""Side of the square laid around a point, over the frame's height (45 px at 720p)."""


def select_box(request: StartRequest, width_px: int, height_px: int) -> Box:
    """Lay the operator's box over a frame.

    Args:
        request: a box or a point, in px or in fractions of the frame's sides.
        width_px, height_px: the frame.

    Returns:
        full-frame px; not yet checked against the frame's border.

    Raises:
        BoxError: fractions that are no fractions, or a point outside the frame.
    """
    sx, sy = (width_px, height_px) if request.units == "fraction" else (1.0, 1.0)
    box = request.box_values()
    if box is not None:
        if request.units == "fraction" and any(abs(v) > 2 for v in box):
            raise BoxError(
                f"box {list(box)} is given in fractions: expected values of 0..1; "
                "send units 'px' for px"
            )
        return Box(*box).scaled(sx, sy)
    point = request.point_values()
    assert point is not None
    x, y = point[0] * sx, point[1] * sy
    if not (0 <= x <= width_px and 0 <= y <= height_px):
        raise BoxError(f"point x={x:g}, y={y:g} lies outside the {width_px} x {height_px} px image")
    side = max(16.0, height_px * POINT_SIDE)
    return Box.from_centre(x, y, side, side)
