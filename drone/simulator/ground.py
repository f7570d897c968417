"""The ground as one large picture: what it reflects, and the lamps' light upon it.

The product is baked once and stored square-root encoded: the sensor's noise is then alike at every
brightness, and a frame is a warp of this picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from drone.simulator.lighting import LIGHT_PX_M, light_map
from drone.simulator.streets import WORLD_M
from drone.simulator.surface import SURFACE_PX, SURFACE_PX_M, draw_surface
from drone.simulator.world import World

Float = npt.NDArray[np.float32]

MOST_LIGHT = 4.0
"""Linear light that the encoding can hold; 1 saturates the sensor at exposure 1."""


@dataclass(frozen=True)
class Ground:
    """The baked ground.

    Attributes:
        picture: (N, N, 4) uint16: B, G, R light and reflectance, all square-root encoded; row 0 is
            the north edge.
        light: (M, M, 3) linear light that falls on the ground, LIGHT_PX_M px a metre, row 0 north.
    """

    picture: npt.NDArray[np.uint16]
    light: Float

    def light_at(self, x_m: float, y_m: float) -> Float:
        """Give the light (linear B, G, R) that falls on a place."""
        last = self.light.shape[0] - 1
        col = min(max(int(x_m * LIGHT_PX_M), 0), last)
        row = min(max(int((WORLD_M - y_m) * LIGHT_PX_M), 0), last)
        return np.asarray(self.light[row, col], np.float32)


def bake_ground(world: World, seed: int) -> Ground:
    """Draw the ground and light it."""
    rng = np.random.default_rng(seed + 1)
    albedo = draw_surface(world, rng)
    light = light_map(world)
    picture = np.empty((SURFACE_PX, SURFACE_PX, 4), np.uint16)
    root = np.sqrt(light / np.float32(MOST_LIGHT))
    strip = 240
    scale = SURFACE_PX_M // LIGHT_PX_M
    for row in range(0, SURFACE_PX, strip):
        # One row of light more on each side, so that strips meet without a seam.
        r0, r1 = row // scale, (row + strip) // scale
        padded = cv2.copyMakeBorder(
            root[max(r0 - 1, 0) : r1 + 1],
            1 if r0 == 0 else 0,
            1 if r1 >= root.shape[0] else 0,
            0,
            0,
            cv2.BORDER_REPLICATE,
        )
        grown = cv2.resize(padded, (SURFACE_PX, (r1 - r0 + 2) * scale))[scale:-scale]
        lit = cv2.multiply(grown, albedo[row : row + strip], scale=257.0, dtype=cv2.CV_32F)
        picture[row : row + strip, :, :3] = lit
        grey = albedo[row : row + strip, :, 1]
        picture[row : row + strip, :, 3] = grey.astype(np.uint16) * 257
    return Ground(picture, light)
