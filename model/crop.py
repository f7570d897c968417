"""Square crops around a target: the template and the search region."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from model.config import TrackerConfig
from model.geometry import Box, Image

Colour = tuple[float, float, float]
"""Blue, green, red, 0..255."""


class Region(NamedTuple):
    """A square of the frame: left and top edge and side, whole px; may reach over the border."""

    x: int
    y: int
    side: int

    @property
    def cx(self) -> float:
        """Centre column in continuous px (a pixel spans from its index to its index + 1)."""
        return self.x + self.side / 2

    @property
    def cy(self) -> float:
        """Centre row in continuous px."""
        return self.y + self.side / 2


def template_side_px(w: float, h: float, config: TrackerConfig) -> int:
    """Side of the template region, s_z = round(√((w + c)(h + c))), c = context · (w + h)."""
    context = config.context_amount * (w + h)
    return max(1, round(math.sqrt((w + context) * (h + context))))


def search_side_px(template_side: int, config: TrackerConfig) -> int:
    """Side of the search region, s_x = round(s_z · search / template)."""
    return max(1, round(template_side * config.search_px / config.template_px))


def place_region(cx: float, cy: float, side: int) -> Region:
    """Place a square around a centre, full-frame px: left = floor(c − (side + 1)/2 + 0.5)."""
    left = math.floor(cx - (side + 1) / 2 + 0.5)
    top = math.floor(cy - (side + 1) / 2 + 0.5)
    return Region(left, top, side)


def mean_colour(image: Image) -> Colour:
    """Mean of each channel, the padding beyond the border; once a target, not once a frame."""
    mean = cv2.mean(image)
    return (mean[0], mean[1], mean[2])


def crop_region(
    image: Image, region: Region, out_px: int, padding: Colour, out: Image | None = None
) -> Image:
    """Cut a region and scale it bilinearly to a square.

    Args:
        image: (H, W, 3) BGR uint8, the frame.
        region: what to cut; beyond the border `padding` is seen.
        out_px: side of the result.
        padding: BGR colour outside the frame.
        out: (out_px, out_px, 3) uint8 to write into; the inner part allocates nothing then.

    Returns:
        (out_px, out_px, 3) BGR uint8, `out` itself where given.
    """
    height, width = image.shape[:2]
    x, y, side = region
    if out is None:
        out = np.empty((out_px, out_px, 3), np.uint8)
    if x >= 0 and y >= 0 and x + side <= width and y + side <= height:
        cv2.resize(image[y : y + side, x : x + side], (out_px, out_px), dst=out)
        return out
    # Padding first and scaling then would build a picture of side² px; warping builds none.
    step = side / out_px
    shift = 0.5 * step - 0.5
    matrix = np.array([[step, 0.0, x + shift], [0.0, step, y + shift]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (out_px, out_px)
    cv2.warpAffine(
        image, matrix, size, out, flags, cv2.BORDER_CONSTANT, (padding[0], padding[1], padding[2])
    )
    return out


def region_of(box: Box, config: TrackerConfig, search: bool) -> Region:
    """Place the template region of a box, or its search region."""
    side = template_side_px(box.w, box.h, config)
    return place_region(box.cx, box.cy, search_side_px(side, config) if search else side)
