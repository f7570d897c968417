"""Boxes in image coordinates."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.errors import BoxError

Image = npt.NDArray[np.uint8]
"""H x W x 3, BGR, uint8."""

Float = npt.NDArray[np.float32]

MIN_TARGET_PX = 4.0
"""A target whose shorter side is below this cannot be tracked: its template is mostly blur."""


class Box(NamedTuple):
    """An axis-aligned box: left, top, width, height; 0-based px of the full frame."""

    x: float
    y: float
    w: float
    h: float

    @property
    def cx(self) -> float:
        """Centre column, px: left edge plus half the width (continuous convention)."""
        return self.x + self.w / 2

    @property
    def cy(self) -> float:
        """Centre row, px."""
        return self.y + self.h / 2

    @property
    def area(self) -> float:
        """Area, px²."""
        return self.w * self.h

    @classmethod
    def from_centre(cls, cx: float, cy: float, w: float, h: float) -> Box:
        """Make a box from its centre and size, all px."""
        return cls(cx - w / 2, cy - h / 2, w, h)

    def grown(self, factor: float) -> Box:
        """Make both sides longer by a factor, about the same centre."""
        return Box.from_centre(self.cx, self.cy, self.w * factor, self.h * factor)

    def is_finite(self) -> bool:
        """Tell whether all four values are numbers."""
        return all(math.isfinite(v) for v in self)

    def scaled(self, sx: float, sy: float) -> Box:
        """Scale both axes, as when the image is resized."""
        return Box(self.x * sx, self.y * sy, self.w * sx, self.h * sy)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes with continuous areas; 0 when either is empty."""
    width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / (a.area + b.area - inter)


def centre_error_px(a: Box, b: Box) -> float:
    """Centre location error (CLE): distance of the two centres, px."""
    return math.hypot(a.cx - b.cx, a.cy - b.cy)


def clip_box(box: Box, width_px: int, height_px: int) -> Box:
    """Cut a box to the image; the result may be empty (w or h of 0)."""
    x0, y0 = min(max(box.x, 0.0), width_px), min(max(box.y, 0.0), height_px)
    x1 = min(max(box.x + box.w, 0.0), width_px)
    y1 = min(max(box.y + box.h, 0.0), height_px)
    return Box(x0, y0, x1 - x0, y1 - y0)


def check_target(box: Box, width_px: int, height_px: int) -> Box:
    """Refuse a box that cannot be a target; return it cut to the image otherwise.

    Raises:
        BoxError: not finite, empty, outside the image, or under `MIN_TARGET_PX` a side.
    """
    shown = f"box x={box.x:g}, y={box.y:g}, w={box.w:g}, h={box.h:g}"
    if not box.is_finite():
        raise BoxError(f"{shown}: expected four finite numbers")
    if box.w <= 0 or box.h <= 0:
        raise BoxError(f"{shown} is empty: expected a width and height above 0 px")
    cut = clip_box(box, width_px, height_px)
    if cut.w <= 0 or cut.h <= 0:
        raise BoxError(f"{shown} lies outside the {width_px} x {height_px} px image")
    if min(cut.w, cut.h) < MIN_TARGET_PX:
        raise BoxError(
            f"{shown} covers {cut.w:g} x {cut.h:g} px of the {width_px} x {height_px} px image: "
            f"expected at least {MIN_TARGET_PX:g} px a side; draw it larger or zoom in"
        )
    return cut
