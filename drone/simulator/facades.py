"""Buildings drawn as flat quads: walls that the street lights from below, lit windows, roofs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from drone.simulator.camera import PinholeCamera
from drone.simulator.canvas import Canvas, Draw, encode
from drone.simulator.ground import Ground
from drone.simulator.world import Building

Points = npt.NDArray[np.float64]
_ROOF = 4
_NORMALS = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))
# Bottom and top of a wall's bands, parts of its height, and the part of the street's light there.
_BANDS = ((0.0, 0.33, 0.75), (0.33, 0.66, 0.42), (0.66, 1.0, 0.2))
# Vents on a roof: place as part of width and depth, size in m.
_VENTS = ((0.25, 0.3, 1.6), (0.7, 0.62, 2.2), (0.55, 0.2, 1.1))


@dataclass(frozen=True)
class _Quad:
    """Four corners in world m, the side they belong to and the encoded colour."""

    corners: Points
    side: int
    colour: tuple[float, float, float, float]


class Facades:
    """All buildings of a world, projected together once per frame."""

    def __init__(self, buildings: tuple[Building, ...], ground: Ground) -> None:
        """Cut the buildings into quads."""
        self._buildings = buildings
        self._quads = [_quads(b, ground) for b in buildings]
        corners = [q.corners for quads in self._quads for q in quads]
        self._points = np.concatenate(corners) if corners else np.zeros((0, 3))
        counts = [4 * len(quads) for quads in self._quads]
        self._starts = np.cumsum([0, *counts])[:-1]
        self._sizes = counts
        self._feet = np.array([(b.x0_m, b.y0_m, b.x1_m, b.y1_m) for b in buildings])

    def standing(self, camera: PinholeCamera, most_m: float) -> list[tuple[float, Draw]]:
        """List the buildings in view: distance of the nearest corner or wall, and its drawing."""
        if not self._buildings:
            return []
        eye = camera.pose
        x0, y0, x1, y1 = self._feet.T
        dx = np.maximum(np.maximum(x0 - eye.x_m, eye.x_m - x1), 0)
        dy = np.maximum(np.maximum(y0 - eye.y_m, eye.y_m - y1), 0)
        gaps = np.hypot(dx, dy)
        at, depth = camera.project(self._points)
        at = np.clip(at, -16_000, 16_000)
        low = np.minimum.reduceat(at, self._starts, axis=0)
        high = np.maximum.reduceat(at, self._starts, axis=0)
        nearest = np.minimum.reduceat(depth, self._starts)
        seen = (gaps < most_m) & (nearest > 1.0)
        seen &= (high[:, 0] > 0) & (low[:, 0] < camera.width_px)
        seen &= (high[:, 1] > 0) & (low[:, 1] < camera.height_px)
        pixels = np.round(at).astype(np.int32)
        found: list[tuple[float, Draw]] = []
        for k in np.flatnonzero(seen):
            start, size = int(self._starts[k]), self._sizes[k]
            facing = _facing(self._buildings[k], eye.x_m, eye.y_m)
            part = pixels[start : start + size].reshape(-1, 4, 2)
            found.append((float(gaps[k]), partial(_draw, self._quads[k], part, facing)))
        return found


def _draw(
    quads: list[_Quad], pixels: npt.NDArray[np.int32], facing: list[bool], canvas: Canvas
) -> None:
    low, high = pixels.min(1), pixels.max(1)
    inside = (high > 0).all(1) & (low[:, 0] < canvas.width_px) & (low[:, 1] < canvas.height_px)
    for quad, corners, drawn in zip(quads, pixels, inside, strict=True):
        if drawn and facing[quad.side]:
            cv2.fillConvexPoly(canvas.light, corners, quad.colour)
    # The outline of a box is convex, and so is its picture.
    cv2.fillConvexPoly(canvas.owner, cv2.convexHull(pixels.reshape(-1, 2)), (0,))


def _facing(b: Building, eye_x: float, eye_y: float) -> list[bool]:
    """Tell which sides (south, east, north, west, roof) face the eye; it is above all roofs."""
    return [eye_y < b.y0_m, eye_x > b.x1_m, eye_y > b.y1_m, eye_x < b.x0_m, True]


def _quads(b: Building, ground: Ground) -> list[_Quad]:
    foot = [(b.x0_m, b.y0_m), (b.x1_m, b.y0_m), (b.x1_m, b.y1_m), (b.x0_m, b.y1_m)]
    quads: list[_Quad] = []
    for side in range(4):
        start, end = np.array(foot[side]), np.array(foot[(side + 1) % 4])
        length = float(np.linalg.norm(end - start))
        along = (end - start) / length
        light = _light_before(start, end, _NORMALS[side], ground)
        for low, high, part in _BANDS:
            corners = _wall(start, along, 0.0, length, low * b.height_m, high * b.height_m)
            shade = light * np.float32(b.albedo * part) + np.float32(0.0002)
            quads.append(_Quad(corners, side, _colour(shade)))
        for w in b.windows:
            if w.side == side:
                corners = _wall(start, along, w.start_m, w.end_m, w.bottom_m, w.top_m)
                quads.append(_Quad(corners, side, _colour(np.array(w.light))))
    return quads + _roof(b)


def _roof(b: Building) -> list[_Quad]:
    dark = 0.00035 + 0.006 * b.albedo
    width, depth, z = b.x1_m - b.x0_m, b.y1_m - b.y0_m, b.height_m
    # The roof, its parapet as four strips, and vents: x, y, width, depth and brightness.
    rim = 0.4
    pieces = [
        (0.0, 0.0, width, depth, 1.0),
        (0.0, 0.0, width, rim, 2.6),
        (0.0, depth - rim, width, rim, 2.6),
        (0.0, 0.0, rim, depth, 2.6),
        (width - rim, 0.0, rim, depth, 2.6),
    ]
    pieces += [(fx * width, fy * depth, size, size, 3.2) for fx, fy, size in _VENTS]
    quads = []
    for x, y, w, d, gain in pieces:
        x0, y0 = b.x0_m + x, b.y0_m + y
        corners = [(x0, y0, z), (x0 + w, y0, z), (x0 + w, y0 + d, z), (x0, y0 + d, z)]
        tint = np.array((1.0, 0.97, 0.92)) * dark * gain
        quads.append(_Quad(np.array(corners), _ROOF, _colour(tint)))
    return quads


def _wall(
    start: Points, along: Points, begin: float, end: float, bottom: float, top: float
) -> Points:
    a, e = start + along * begin, start + along * end
    return np.array([(*a, bottom), (*e, bottom), (*e, top), (*a, top)])


def _light_before(
    start: Points, end: Points, normal: tuple[float, float], ground: Ground
) -> npt.NDArray[np.float32]:
    """Give the mean light on the ground 2.5 m before a wall, linear B, G, R."""
    places = [start * (1 - f) + end * f + 2.5 * np.array(normal) for f in (0.2, 0.5, 0.8)]
    return np.asarray(np.mean([ground.light_at(*p) for p in places], axis=0), np.float32)


def _colour(linear: npt.ArrayLike) -> tuple[float, float, float, float]:
    b, g, r = (float(v) for v in encode(np.asarray(linear, np.float32)))
    return b, g, r, 0.0
