"""The light that lamps, windows and the moon throw on the ground."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from drone.simulator.streets import WORLD_M
from drone.simulator.world import Tree, World

Float = npt.NDArray[np.float32]

LIGHT_PX_M = 4
_MOON = (0.010, 0.0085, 0.0075)
_REACH_M = 30.0


def light_map(world: World) -> Float:
    """Sum the light of moon, lamps and windows on the ground, linear B, G, R."""
    n = int(WORLD_M * LIGHT_PX_M)
    r = int(_REACH_M * LIGHT_PX_M)
    light = np.empty((n + 2 * r, n + 2 * r, 3), np.float32)
    light[:] = _MOON
    ys, xs = (np.mgrid[-r : r + 1, -r : r + 1] / LIGHT_PX_M).astype(np.float32)
    for lamp in world.lamps:
        # Street lamps throw their light along the street.
        dx, dy = (xs / 1.45, ys) if lamp.along_x else (xs, ys / 1.45)
        h2 = np.float32(lamp.height_m**2)
        fade = np.clip(1 - np.hypot(xs, ys) / _REACH_M, 0, 1)
        pool = lamp.power * (h2 / (dx * dx + dy * dy + h2)) ** 2.3 * fade
        col, row = int(lamp.x_m * LIGHT_PX_M), int((WORLD_M - lamp.y_m) * LIGHT_PX_M)
        view = light[row : row + 2 * r + 1, col : col + 2 * r + 1]
        view += pool[..., None] * np.array(lamp.colour, np.float32)
    light = np.asarray(light[r:-r, r:-r].copy(), np.float32)
    for building in world.buildings:
        _spill_windows(
            light,
            building.x0_m,
            building.y0_m,
            building.x1_m,
            building.y1_m,
            [
                (w.side, (w.start_m + w.end_m) / 2, w.light)
                for w in building.windows
                if w.bottom_m < 2.0
            ],
        )
    for tree in world.street_trees:
        _shade_crown(light, tree)
    return light


def _shade_crown(light: Float, tree: Tree) -> None:
    """Darken the ground under a crown."""
    col, row = int(tree.x_m * LIGHT_PX_M), int((WORLD_M - tree.y_m) * LIGHT_PX_M)
    radius = int(tree.radius_m * LIGHT_PX_M)
    r0, c0 = max(row - 3 * radius, 0), max(col - 3 * radius, 0)
    view = light[r0 : row + 3 * radius, c0 : col + 3 * radius]
    shade = np.ones(view.shape[:2], np.float32)
    cv2.circle(shade, (col - c0, row - r0), radius, (0.35,), cv2.FILLED)
    view *= np.asarray(cv2.GaussianBlur(shade, (0, 0), 2.0), np.float32)[..., None]


def _spill_windows(
    light: Float,
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    windows: list[tuple[int, float, tuple[float, float, float]]],
) -> None:
    """Let the ground-floor windows light the ground before them."""
    starts = ((x0, y0, 0, -1), (x1, y0, 1, 0), (x0, y1, 0, 1), (x0, y0, -1, 0))
    r = 5 * LIGHT_PX_M
    ys, xs = np.mgrid[-r : r + 1, -r : r + 1].astype(np.float32) / LIGHT_PX_M
    blob = np.exp(-(xs**2 + ys**2) / 4.0)
    n = light.shape[0]
    for side, along, colour in windows:
        x, y, nx, ny = starts[side]
        x += (along if ny else 0.0) + 1.4 * nx
        y += (along if nx else 0.0) + 1.4 * ny
        col, row = int(x * LIGHT_PX_M), int((WORLD_M - y) * LIGHT_PX_M)
        if r < col < n - r - 1 and r < row < n - r - 1:
            view = light[row - r : row + r + 1, col - r : col + r + 1]
            view += 0.22 * blob[..., None] * np.array(colour, np.float32)
