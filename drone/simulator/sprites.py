"""Vehicles, people and tree crowns as stacks of level slices, drawn by code.

A slice is a small picture of one height; drawn one above the other through the camera they give a
body with the right parallax at a fraction of the cost of a mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]

PAINTS: dict[str, tuple[float, float, float]] = {
    "white": (0.62, 0.64, 0.64),
    "silver": (0.34, 0.34, 0.33),
    "grey": (0.12, 0.12, 0.12),
    "black": (0.02, 0.02, 0.02),
    "red": (0.05, 0.04, 0.36),
    "blue": (0.30, 0.11, 0.04),
    "yellow": (0.06, 0.42, 0.55),
    "green": (0.08, 0.16, 0.07),
}
"""Linear albedo B, G, R."""

VEHICLE_PX_M = 20.0
PERSON_PX_M = 40.0
TREE_PX = 96
_MARGIN_M = 0.3
_GLASS = (0.018, 0.014, 0.012)
_TYRE = (0.012, 0.012, 0.012)
HEADLIGHT = (0.85, 0.95, 1.0)
TAILLIGHT = (0.02, 0.03, 0.85)


@dataclass(frozen=True)
class CarModel:
    """Size in m, and where cabin and roof begin and end along the body (front positive)."""

    length_m: float
    width_m: float
    height_m: float
    cabin_m: tuple[float, float]
    roof_m: tuple[float, float]


CAR_MODELS: dict[str, CarModel] = {
    "sedan": CarModel(4.6, 1.82, 1.45, (-1.75, 0.95), (-1.15, 0.25)),
    "hatch": CarModel(4.0, 1.76, 1.50, (-1.85, 0.85), (-1.55, 0.20)),
    "suv": CarModel(4.8, 1.96, 1.75, (-2.20, 1.00), (-1.95, 0.35)),
    "van": CarModel(5.4, 2.05, 2.30, (-2.60, 1.90), (-2.55, 1.45)),
    "truck": CarModel(7.4, 2.40, 3.00, (-3.65, 3.20), (-3.60, 2.90)),
    "bus": CarModel(11.4, 2.55, 3.10, (-5.60, 5.50), (-5.55, 5.35)),
}


@dataclass(frozen=True)
class Slice:
    """One height of a body.

    Attributes:
        height_m: above the ground.
        paint: (H, W, 4) uint16: B, G, R reflectance, square-root encoded, and alpha.
    """

    height_m: float
    paint: npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Sprite:
    """A body: slices from the ground up, all on one raster.

    Attributes:
        to_body: 3 x 3 map from raster px to body m (x right, y ahead).
        outline: (N, 3) points of the body's hull in body m, for its box.
        keep: (H, W, 4) uint16, the part of the (encoded) light that its shadow leaves.
        headlights: (N, 3) places of the lights, x, y, z in body m.
        taillights: the same behind.
    """

    slices: tuple[Slice, ...]
    to_body: npt.NDArray[np.float64]
    outline: npt.NDArray[np.float64]
    keep: npt.NDArray[np.uint16]
    headlights: npt.NDArray[np.float64]
    taillights: npt.NDArray[np.float64]


class _Raster:
    """Draws shapes given in body m (x right, y ahead) onto a px grid."""

    def __init__(self, length_m: float, width_m: float, px_m: float) -> None:
        self.px_m = px_m
        self.cx_m, self.cy_m = width_m / 2 + _MARGIN_M, length_m / 2 + _MARGIN_M
        self.shape = (round(2 * self.cy_m * px_m), round(2 * self.cx_m * px_m))

    def to_body(self) -> npt.NDArray[np.float64]:
        s = 1 / self.px_m
        # Centre of px 0 lies half a px inside the raster's edge.
        return np.array([[s, 0, s / 2 - self.cx_m], [0, -s, self.cy_m - s / 2], [0, 0, 1.0]])

    def rounded(self, x0: float, y0: float, x1: float, y1: float, r: float) -> Float:
        """Cover of a rounded rectangle, 0 … 1, antialiased."""
        ys, xs = np.mgrid[0 : self.shape[0], 0 : self.shape[1]]
        bx = (xs + 0.5) / self.px_m - self.cx_m
        by = self.cy_m - (ys + 0.5) / self.px_m
        dx = np.abs(bx - (x0 + x1) / 2) - ((x1 - x0) / 2 - r)
        dy = np.abs(by - (y0 + y1) / 2) - ((y1 - y0) / 2 - r)
        outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
        distance = outside + np.minimum(np.maximum(dx, dy), 0) - r
        return np.asarray(np.clip(0.5 - distance * self.px_m, 0, 1), np.float32)


def _painted(
    alpha: Float, colour: tuple[float, float, float], shade: Float | float = 1.0
) -> npt.NDArray[np.uint16]:
    """Give a slice's paint: the colour everywhere, so that its edge does not darken."""
    plane = np.broadcast_to(np.asarray(shade, np.float32), alpha.shape)
    channels = [np.sqrt(np.clip(plane * c, 0, 1)) for c in colour]
    return np.asarray(np.dstack([*channels, alpha]) * 65535, np.uint16)


def _over(below: npt.NDArray[np.uint16], above: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Lay paint over paint; the alpha of the lower one stays."""
    alpha = above[..., 3:].astype(np.float32) / 65535
    mixed = below * (1 - alpha) + above * alpha
    mixed[..., 3] = below[..., 3]
    return np.asarray(mixed, np.uint16)


def _shadow(cover: Float, strength: float) -> npt.NDArray[np.uint16]:
    keep = np.sqrt(1 - strength * np.clip(cover, 0, 1)) * 65535
    return np.asarray(np.dstack([keep] * 4), np.uint16)


@lru_cache(maxsize=64)
def vehicle_sprite(model: str, paint: str) -> Sprite:
    """Draw a vehicle of `CAR_MODELS` in a colour of `PAINTS`."""
    m = CAR_MODELS[model]
    raster = _Raster(m.length_m, m.width_m, VEHICLE_PX_M)
    hl, hw = m.length_m / 2, m.width_m / 2
    colour = PAINTS[paint]
    full = raster.rounded(-hw, -hl, hw, hl, 0.38)
    body = raster.rounded(-hw + 0.03, -hl + 0.03, hw - 0.03, hl - 0.03, 0.36)
    rows = np.linspace(1.08, 0.92, raster.shape[0], dtype=np.float32)[:, None]
    crown = cv2.GaussianBlur(body, (0, 0), VEHICLE_PX_M * 0.22) * rows
    waist_m = min(0.62 * m.height_m, 0.95)
    slices = [
        Slice(0.18, _painted(full, _TYRE)),
        Slice(0.42, _painted(full, colour, 0.55)),
        Slice(0.68, _painted(body, colour, 0.75)),
        Slice(waist_m, _painted(body, colour, 0.55 + 0.45 * crown)),
    ]
    slices += _cabin(raster, m, colour, waist_m)
    shadow = cv2.GaussianBlur(full, (0, 0), VEHICLE_PX_M * 0.16)
    spread = (-hw + 0.3, hw - 0.3)
    return Sprite(
        slices=tuple(slices),
        to_body=raster.to_body(),
        outline=_outline(slices, raster),
        keep=_shadow(np.asarray(shadow, np.float32), 0.75),
        headlights=np.array([(x, hl, 0.65) for x in spread]),
        taillights=np.array([(x, -hl, 0.75) for x in spread]),
    )


def _cabin(
    raster: _Raster, m: CarModel, colour: tuple[float, float, float], waist_m: float
) -> list[Slice]:
    hw = m.width_m / 2
    rise = m.height_m - waist_m
    slices = []
    steps = 2 if rise < 1.0 else 4
    for k in range(1, steps):
        f = k / steps
        back = m.cabin_m[0] + f * (m.roof_m[0] - m.cabin_m[0])
        front = m.cabin_m[1] + f * (m.roof_m[1] - m.cabin_m[1])
        inset = 0.08 + 0.06 * f
        glass = raster.rounded(-hw + inset, back, hw - inset, front, 0.22)
        solid = m.height_m > 2.0 and k != steps // 2
        look = _painted(glass, colour, 0.6) if solid else _painted(glass, _GLASS)
        slices.append(Slice(waist_m + f * rise, look))
    roof = raster.rounded(-hw + 0.14, m.roof_m[0], hw - 0.14, m.roof_m[1], 0.2)
    shine = cv2.GaussianBlur(roof, (0, 0), VEHICLE_PX_M * 0.2)
    top = _painted(roof, colour, 0.7 + 0.3 * shine)
    if m.height_m > 2.0:  # seams and vents keep a large roof from being one flat patch
        for y in np.linspace(m.roof_m[0] + 0.7, m.roof_m[1] - 0.7, 4):
            seam = raster.rounded(-hw + 0.25, y - 0.05, hw - 0.25, y + 0.05, 0.02)
            top = _over(top, _painted(seam * 0.5, _TYRE))
    slices.append(Slice(m.height_m, top))
    return slices


def _outline(slices: Sequence[Slice], raster: _Raster) -> npt.NDArray[np.float64]:
    """Give the corners of every slice's convex hull: (N, 3) body m."""
    to_body = raster.to_body()
    points = []
    for piece in slices:
        ys, xs = np.nonzero(piece.paint[..., 3] > 32768)
        hull = cv2.convexHull(np.column_stack([xs, ys]).astype(np.int32)).reshape(-1, 2)
        # A px that is mostly covered reaches half a px beyond its centre.
        edge = hull + 0.5 * np.sign(hull - hull.mean(0))
        flat = np.column_stack([edge, np.ones(len(edge))]) @ to_body.T
        points.append(np.column_stack([flat[:, :2], np.full(len(edge), piece.height_m)]))
    return np.concatenate(points)


@lru_cache(maxsize=256)
def person_sprite(cloth: str, stride: int) -> Sprite:
    """Draw a walking person; `stride` -2 … 2 is the phase of the step."""
    raster = _Raster(0.9, 0.7, PERSON_PX_M)
    colour = PAINTS[cloth]
    swing = 0.14 * stride

    def ellipse(x: float, y: float, rx: float, ry: float) -> Float:
        return raster.rounded(x - rx, y - ry, x + rx, y + ry, min(rx, ry) * 0.95)

    feet = np.maximum(ellipse(-0.1, swing, 0.07, 0.15), ellipse(0.1, -swing, 0.07, 0.15))
    legs = np.maximum(
        ellipse(-0.09, swing * 0.5, 0.1, 0.13), ellipse(0.09, -swing * 0.5, 0.1, 0.13)
    )
    arms = np.maximum(ellipse(-0.27, -swing, 0.07, 0.1), ellipse(0.27, swing, 0.07, 0.1))
    trunk = ellipse(0, 0, 0.24, 0.15)
    chest = np.maximum(trunk, arms)
    head = ellipse(0, 0.04, 0.11, 0.12)
    skin = (0.12, 0.2, 0.32)
    slices = (
        Slice(0.08, _painted(feet, _TYRE)),
        Slice(0.6, _painted(legs, (0.05, 0.05, 0.06))),
        Slice(1.1, _painted(chest, colour, 0.75)),
        Slice(1.32, _painted(chest, colour)),
        Slice(1.58, _over(_painted(head, skin), _painted(head * 0.6, (0.02, 0.02, 0.03)))),
    )
    none = np.zeros((0, 3))
    shadow = np.asarray(cv2.GaussianBlur(chest, (0, 0), PERSON_PX_M * 0.12), np.float32)
    return Sprite(
        slices=slices,
        to_body=raster.to_body(),
        outline=_outline(slices, raster),
        keep=_shadow(shadow, 0.7),
        headlights=none,
        taillights=none,
    )


@lru_cache(maxsize=16)
def crown_picture(look: int) -> Float:
    """Draw a tree crown from above: (96, 96, 4) linear albedo B, G, R and alpha, 0 … 1."""
    rng = np.random.default_rng(1000 + look)
    n = TREE_PX
    ys, xs = np.mgrid[0:n, 0:n].astype(np.float32)
    cover = np.zeros((n, n), np.float32)
    tone = np.zeros((n, n), np.float32)
    for _ in range(90):
        a, r = rng.uniform(0, 2 * np.pi), n * 0.36 * np.sqrt(rng.random())
        x, y, size = n / 2 + r * np.cos(a), n / 2 + r * np.sin(a), rng.uniform(3.0, 8.0)
        blob = np.exp(-((((xs - x) ** 2 + (ys - y) ** 2) / (2 * size**2)) ** 2))
        cover = np.maximum(cover, blob)
        tone = np.where(blob > 0.4, rng.uniform(0.5, 1.5) * (0.7 + 0.5 * blob), tone)
    grain = cv2.GaussianBlur(rng.standard_normal((n, n)).astype(np.float32), (0, 0), 1.1)
    alpha = np.clip((cover - 0.35 + 0.25 * grain) * 3.0, 0, 1).astype(np.float32)
    shade = np.asarray(np.clip(tone * (1 + 0.9 * grain), 0.15, 2.5), np.float32)
    leaf = (0.035, 0.075, 0.055)
    return np.asarray(np.dstack([*(shade * np.float32(c) for c in leaf), alpha]), np.float32)
