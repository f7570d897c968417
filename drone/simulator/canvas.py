"""The picture while it is drawn: square-root encoded light, and who owns each pixel.

Everything here stays in 16-bit integers and works in place: a frame has to be drawn within a few
milliseconds on a core that also tracks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from drone.simulator.ground import MOST_LIGHT

Float = npt.NDArray[np.float32]
Light = npt.NDArray[np.uint16]
"""(h, w, 4) B, G, R light, square-root encoded, and a fourth channel whose meaning is local."""
Mask = npt.NDArray[np.uint8]

FULL = 65535.0


def encode(linear: Float | float) -> Light:
    """Encode linear light; 1 saturates the sensor at exposure 1."""
    clipped = np.clip(np.asarray(linear, np.float32), 0, MOST_LIGHT)
    return np.asarray(np.round(FULL * np.sqrt(clipped / MOST_LIGHT)), np.uint16)


def opaque(layer: Light) -> Mask:
    """Give the mask (255 or 0) of the pixels whose fourth channel is above one half."""
    # Not cv2.compare: it takes a layer of one pixel for a scalar and refuses it.
    mask = cv2.inRange(cv2.extractChannel(layer, 3), np.array([32769.0]), np.array([FULL]))
    return np.asarray(mask, np.uint8)


@dataclass(frozen=True)
class Region:
    """A part of the picture, px; empty where x1 <= x0 or y1 <= y0."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def empty(self) -> bool:
        """True when it holds no pixel."""
        return self.x1 <= self.x0 or self.y1 <= self.y0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.x1 - self.x0, self.y1 - self.y0

    def shift(self) -> npt.NDArray[np.float64]:
        """Give the 3 x 3 map from picture px to px of the region."""
        return np.array([[1, 0, -self.x0], [0, 1, -self.y0], [0, 0, 1.0]])


def region_around(points: npt.NDArray[np.float64], margin_px: float = 1.0) -> Region:
    """Give the smallest region around (N, 2) points; coordinates are kept within ±20,000 px."""
    low = np.clip(points.min(0) - margin_px, -20_000, 20_000)
    high = np.clip(points.max(0) + margin_px + 1, -20_000, 20_000)
    return Region(int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1)


class Canvas:
    """A frame in the making.

    Attributes:
        light: (H, W, 4) B, G, R light, square-root encoded; the fourth channel is the ground's
            reflectance until something is drawn.
        owner: (H, W) number of the actor on top of each pixel; 0: none.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        """Allocate once; a renderer uses it for every frame."""
        self.width_px, self.height_px = width_px, height_px
        self.light: Light = np.zeros((height_px, width_px, 4), np.uint16)
        self.owner: Mask = np.zeros((height_px, width_px), np.uint8)

    def lay_ground(self, picture: Light, to_image: npt.NDArray[np.float64]) -> None:
        """Begin a frame with the ground picture, seen through a 3 x 3 map."""
        cv2.warpPerspective(
            picture,
            to_image,
            (self.width_px, self.height_px),
            dst=self.light,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(700, 760, 800, 9000),  # dark fields beyond the world
        )
        self.owner[:] = 0

    def clipped(self, region: Region) -> Region:
        """Cut a region to the picture."""
        return Region(
            max(region.x0, 0),
            max(region.y0, 0),
            min(region.x1, self.width_px),
            min(region.y1, self.height_px),
        )

    def stamp(self, region: Region, layer: Light, mask: Mask, owner: int) -> None:
        """Copy a layer over a region where `mask` is set; parts outside the picture are cut off."""
        inside = self.clipped(region)
        if inside.empty:
            return
        part = (
            slice(inside.y0 - region.y0, inside.y1 - region.y0),
            slice(inside.x0 - region.x0, inside.x1 - region.x0),
        )
        light = self._view(inside)
        cv2.copyTo(layer[part], mask[part], light)
        self.owner[inside.y0 : inside.y1, inside.x0 : inside.x1][mask[part] > 0] = owner
        # The mask is hard; a small blur gives its edge the softness of a lens.
        cv2.GaussianBlur(light, (3, 3), 0.7, dst=light, borderType=cv2.BORDER_REPLICATE)

    def darken(self, region: Region, keep: Light) -> None:
        """Multiply a region inside the picture by `keep` / 65535 (of the encoded values)."""
        light = self._view(region)
        cv2.multiply(light, keep, scale=1 / FULL, dst=light)

    def add_light(self, region: Region, extra: Light) -> None:
        """Add encoded light to a region inside the picture.

        The root of the sum of squares is taken as max + 0.4 min, at most 8 % off.
        """
        light = self._view(region)
        low = cv2.min(light, extra)
        cv2.max(light, extra, dst=light)
        cv2.addWeighted(light, 1.0, low, 0.4, 0.0, dst=light)

    def lit_ground(self, region: Region, beam: Light) -> Light:
        """Give what bare ground in `region` throws back of `beam` (h, w), encoded white light.

        Only valid before anything else is drawn there.
        """
        ground = cv2.extractChannel(self._view(region), 3)
        lit = cv2.multiply(ground, beam, scale=1 / FULL)
        return np.asarray(cv2.cvtColor(lit, cv2.COLOR_GRAY2BGRA), np.uint16)

    def _view(self, region: Region) -> Light:
        return self.light[region.y0 : region.y1, region.x0 : region.x1]


Draw = Callable[[Canvas], None]
"""Draws one thing; where it falls is already known."""
