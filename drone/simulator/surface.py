"""What the ground is made of: soil, asphalt, markings, wear, parked cars, garden trees."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from drone.simulator.sprites import crown_picture, vehicle_sprite
from drone.simulator.streets import ROAD_HALF_M, SIDEWALK_M, STREETS_M, WORLD_M
from drone.simulator.world import Tree, World

Bytes = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]

SURFACE_PX_M = 12
SURFACE_PX = int(WORLD_M * SURFACE_PX_M)


def to_picture(x_m: float, y_m: float) -> tuple[int, int]:
    """Turn world m into px of the ground picture."""
    return round(x_m * SURFACE_PX_M), round((WORLD_M - y_m) * SURFACE_PX_M)


def picture_to_world() -> npt.NDArray[np.float64]:
    """Give the 3 x 3 map from px of the ground picture to world m."""
    s = 1 / SURFACE_PX_M
    return np.array([[s, 0, s / 2], [0, -s, WORLD_M - s / 2], [0, 0, 1.0]])


def _grain(rng: np.random.Generator, sizes: tuple[tuple[float, float], ...]) -> Float:
    """Make a 1024 px tile of noise that repeats, summed over (blur px, amplitude)."""
    total = np.zeros((1024, 1024), np.float32)
    for blur, amplitude in sizes:
        step = max(1, int(blur / 2))
        n = 1024 // step
        white = rng.standard_normal((n, n)).astype(np.float32)
        small = cv2.GaussianBlur(white, (0, 0), max(blur / step, 0.6))
        grown = cv2.resize(small, (1024, 1024), interpolation=cv2.INTER_CUBIC)
        total += np.asarray(grown, np.float32) * np.float32(amplitude / float(np.std(small)))
    return total


def _fill(
    image: Bytes, x0: float, y0: float, x1: float, y1: float, bgr: tuple[int, int, int]
) -> None:
    (c0, r1), (c1, r0) = to_picture(x0, y0), to_picture(x1, y1)
    cv2.rectangle(image, (c0, r0), (c1 - 1, r1 - 1), bgr, cv2.FILLED)


def draw_surface(world: World, rng: np.random.Generator) -> Bytes:
    """Draw the ground in even light: (N, N, 3), square roots of the albedo x 255."""
    image = _draw_base(rng)
    _draw_details(image, rng)
    _draw_parked(image, world)
    for tree in world.garden_trees:
        _draw_crown(image, tree)
    return image


def _draw_base(rng: np.random.Generator) -> Bytes:
    """Draw soil, sidewalks, asphalt and markings."""
    image = np.full((SURFACE_PX, SURFACE_PX, 3), (44, 58, 50), np.uint8)
    edges = [0.0, *STREETS_M, WORLD_M]
    for x0, x1 in pairwise(edges):
        for y0, y1 in pairwise(edges):
            for _ in range(5):  # yards and car parks
                w, h = rng.uniform(8, 26, 2)
                x, y = rng.uniform(x0, max(x1 - w, x0 + 1)), rng.uniform(y0, max(y1 - h, y0 + 1))
                v = int(rng.uniform(58, 92))
                _fill(image, x, y, x + w, y + h, (v, v + 1, v + 2))
    wide = ROAD_HALF_M + SIDEWALK_M
    for s in STREETS_M:
        _fill(image, s - wide, 0, s + wide, WORLD_M, (100, 104, 106))
        _fill(image, 0, s - wide, WORLD_M, s + wide, (100, 104, 106))
    for s in STREETS_M:
        _fill(image, s - ROAD_HALF_M - 0.18, 0, s + ROAD_HALF_M + 0.18, WORLD_M, (126, 128, 128))
        _fill(image, 0, s - ROAD_HALF_M - 0.18, WORLD_M, s + ROAD_HALF_M + 0.18, (126, 128, 128))
    for s in STREETS_M:
        _fill(image, s - ROAD_HALF_M, 0, s + ROAD_HALF_M, WORLD_M, (66, 65, 64))
        _fill(image, 0, s - ROAD_HALF_M, WORLD_M, s + ROAD_HALF_M, (66, 65, 64))
    for s in STREETS_M:
        _mark_street(image, s, along_x=False)
        _mark_street(image, s, along_x=True)
    _roughen(image, rng)
    return image


def _roughen(image: Bytes, rng: np.random.Generator) -> None:
    """Multiply by grain: it makes asphalt asphalt, and worn paint of the lines."""
    grain = _grain(rng, ((1.0, 4.0), (3.0, 2.5), (14.0, 3.0), (60.0, 4.5)))
    factor = np.dstack([1 + grain / np.float32(64)] * 3)
    for r in range(0, SURFACE_PX, 1024):
        for c in range(0, SURFACE_PX, 1024):
            patch = image[r : r + 1024, c : c + 1024]
            h, w = patch.shape[:2]
            np.copyto(patch, cv2.multiply(patch, factor[:h, :w], dtype=cv2.CV_8U))


def _mark_street(image: Bytes, s: float, *, along_x: bool) -> None:
    """Paint centre line, stop lines and zebra crossings of one street."""

    def bar(a0: float, a1: float, c0: float, c1: float, v: int) -> None:
        bgr = (v - 14, v, v)
        if along_x:
            _fill(image, a0, s + c0, a1, s + c1, bgr)
        else:
            _fill(image, s + c0, a0, s + c1, a1, bgr)

    stops = [0.0, *STREETS_M, WORLD_M]
    for start, end in pairwise(stops):
        low = start + (ROAD_HALF_M + 6.5 if start > 0 else 0)
        high = end - (ROAD_HALF_M + 6.5 if end < WORLD_M else 0)
        for a in np.arange(low, high - 2.0, 4.5):
            bar(a, a + 2.4, -0.09, 0.09, 176)
        bar(low, high, -ROAD_HALF_M + 1.75, -ROAD_HALF_M + 1.85, 96)
        bar(low, high, ROAD_HALF_M - 1.85, ROAD_HALF_M - 1.75, 96)
    for cross in STREETS_M:
        for sign in (-1, 1):
            near = cross + sign * (ROAD_HALF_M + 0.9)
            far = near + sign * 2.6
            for c in np.arange(-ROAD_HALF_M + 0.5, ROAD_HALF_M - 0.5, 0.95):
                bar(min(near, far), max(near, far), c, c + 0.48, 164)
            line = far + sign * 0.9
            side = (
                (0.15, ROAD_HALF_M - 0.4) if (sign > 0) != along_x else (-ROAD_HALF_M + 0.4, -0.15)
            )
            bar(line, line + 0.3, *side, 170)


def _draw_details(image: Bytes, rng: np.random.Generator) -> None:
    """Add what a street collects: patches, cracks, wheel tracks, manholes, slab joints."""
    for s in STREETS_M:
        for _ in range(30):
            a, c = rng.uniform(0, WORLD_M - 8), rng.uniform(-ROAD_HALF_M, ROAD_HALF_M - 1.5)
            w, h = rng.uniform(1, 7), rng.uniform(0.7, 1.8)
            v = int(rng.uniform(46, 76))
            for box in ((a, s + c, a + w, s + c + h), (s + c, a, s + c + h, a + w)):
                (c0, r1), (c1, r0) = to_picture(box[0], box[1]), to_picture(box[2], box[3])
                patch = image[max(r0, 0) : r1, max(c0, 0) : c1]
                if patch.size:
                    np.copyto(patch, cv2.addWeighted(patch, 0.5, np.full_like(patch, v), 0.5, 0))
        for _ in range(12):
            a, c = rng.uniform(0, WORLD_M), s + rng.choice((-1.7, 1.7))
            for place in ((a, c), (c, a)):
                cv2.circle(image, to_picture(*place), 4, (42, 42, 42), cv2.FILLED, cv2.LINE_AA)
        for _ in range(14):
            steps = np.cumsum(rng.normal(0, 0.5, (9, 2)), axis=0)
            crack = np.array([rng.uniform(0, WORLD_M), s + rng.uniform(-4, 4)]) + steps
            for line in (crack, crack[:, ::-1]):
                points = np.array([to_picture(float(x), float(y)) for x, y in line], np.int32)
                cv2.polylines(image, [points], False, (48, 48, 48), 1, cv2.LINE_AA)
        for offset in (-2.55, -0.95, 0.95, 2.55):  # wheel tracks
            (_, r1), (_, r0) = to_picture(0, s + offset - 0.25), to_picture(0, s + offset + 0.25)
            for view in (image[r0:r1], image[:, SURFACE_PX - r1 : SURFACE_PX - r0]):
                np.copyto(view, cv2.convertScaleAbs(view, alpha=0.93))


def _draw_parked(image: Bytes, world: World) -> None:
    for car in world.parked:
        sprite = vehicle_sprite(car.model, car.paint)
        c, s = np.cos(car.heading), np.sin(car.heading)
        body = np.array([[c, s, car.x_m], [-s, c, car.y_m], [0, 0, 1.0]])
        to_px = np.linalg.inv(picture_to_world()) @ body @ sprite.to_body
        _paste_shadow(image, sprite.keep, to_px)
        for piece in sprite.slices:
            _paste(image, piece.paint, to_px)


def _window(
    image: Bytes, to_px: npt.NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[Bytes, npt.NDArray[np.float64]]:
    """Give the part of the picture that a raster falls on, and the map into it."""
    h, w = shape[:2]
    corners = to_px @ np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1.0]])
    low = np.floor(corners[:2].min(1)).astype(int) - 1
    high = np.ceil(corners[:2].max(1)).astype(int) + 2
    low, high = np.clip(low, 0, SURFACE_PX), np.clip(high, 0, SURFACE_PX)
    shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1.0]])
    return image[low[1] : high[1], low[0] : high[0]], (shift @ to_px)[:2]


def _paste(image: Bytes, paint: npt.NDArray[np.uint16], to_px: npt.NDArray[np.float64]) -> None:
    """Lay encoded reflectance and alpha (H, W, 4) over the surface."""
    view, affine = _window(image, to_px, paint.shape)
    if view.size:
        warped = cv2.warpAffine(paint, affine, (view.shape[1], view.shape[0]))
        alpha = warped[..., 3:] / np.float32(65535)
        view[:] = np.clip(view * (1 - alpha) + warped[..., :3] / 257 * alpha, 0, 255)


def _paste_shadow(
    image: Bytes, keep: npt.NDArray[np.uint16], to_px: npt.NDArray[np.float64]
) -> None:
    h, w = keep.shape[:2]
    grow = np.array([[1.25, 0, -0.125 * w], [0, 1.12, -0.06 * h], [0, 0, 1.0]])
    view, affine = _window(image, to_px @ grow, keep.shape)
    if view.size:
        size = (view.shape[1], view.shape[0])
        warped = cv2.warpAffine(keep, affine, size, borderValue=(65535.0,) * 4)
        view[:] = view * (warped[..., :3] / 65535)


def _draw_crown(image: Bytes, tree: Tree) -> None:
    picture = crown_picture(tree.look)
    n = picture.shape[0]
    s = 2 * tree.radius_m * SURFACE_PX_M / n
    col, row = to_picture(tree.x_m, tree.y_m)
    angle = tree.look * 1.1 + tree.x_m
    c, k = s * np.cos(angle), s * np.sin(angle)
    to_px = np.array([[c, -k, col], [k, c, row], [0, 0, 1.0]])
    to_px = to_px @ np.array([[1, 0, -n / 2], [0, 1, -n / 2], [0, 0, 1.0]])
    root = np.sqrt(np.clip(picture, 0, 1))
    root[..., 3] = picture[..., 3]
    _paste(image, np.asarray(root * 65535, np.uint16), to_px)
