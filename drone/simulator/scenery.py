"""What stands on the ground: buildings, trees and lamps, drawn over a frame."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from drone.simulator.camera import PinholeCamera
from drone.simulator.canvas import FULL, Canvas, Float, Light, Region, encode, region_around
from drone.simulator.ground import Ground
from drone.simulator.sprites import crown_picture
from drone.simulator.world import Building, Lamp, Tree, World

Draw = Callable[[PinholeCamera, Canvas], None]
_VIEW_M = 130.0
_SIDES = ((0, 1), (1, 2), (2, 3), (3, 0))
_NORMALS = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))


class Scenery:
    """Draws what stands; order and visibility are the renderer's."""

    def __init__(self, world: World, ground: Ground, glare: float) -> None:
        """Light the crowns and façades once."""
        self._world = world
        self._glare = glare
        self._trees = [(tree, _lit_crown(tree, ground)) for tree in world.street_trees]
        self._facades = [_facade_light(b, ground) for b in world.buildings]
        self._glow = {
            lamp.colour: glow_picture(lamp.colour, 0.9 * math.sqrt(glare)) for lamp in world.lamps
        }

    def standing(self, camera: PinholeCamera) -> list[tuple[float, Draw]]:
        """List what stands in view: distance of its nearest foot from the eye, and its drawing."""
        eye = camera.pose
        found: list[tuple[float, Draw]] = []
        for building, light in zip(self._world.buildings, self._facades, strict=True):
            dx = max(building.x0_m - eye.x_m, 0.0, eye.x_m - building.x1_m)
            dy = max(building.y0_m - eye.y_m, 0.0, eye.y_m - building.y1_m)
            if math.hypot(dx, dy) < _VIEW_M and _building_in_view(camera, building):
                found.append((math.hypot(dx, dy), _building_drawer(building, light)))
        for tree, picture in self._trees:
            if _visible(camera, tree.x_m, tree.y_m, tree.height_m, tree.radius_m):
                gap = math.hypot(tree.x_m - eye.x_m, tree.y_m - eye.y_m)
                found.append((gap, _tree_drawer(tree, picture)))
        for lamp in self._world.lamps:
            if _visible(camera, lamp.x_m, lamp.y_m, lamp.height_m / 2, lamp.height_m):
                gap = math.hypot(lamp.x_m - eye.x_m, lamp.y_m - eye.y_m)
                found.append((gap, _post_drawer(lamp)))
        return found

    def draw_glow(self, camera: PinholeCamera, canvas: Canvas) -> None:
        """Add the lamps' heads and the halos that lens and haze make around them."""
        for lamp in self._world.lamps:
            reach_m = 3.2 * math.sqrt(self._glare)
            if not _visible(camera, lamp.x_m, lamp.y_m, lamp.height_m, reach_m):
                continue
            head = np.array([[*_lamp_head(lamp), lamp.height_m]])
            at, depth = camera.project(head)
            size_px = reach_m * camera.focal_px / float(depth[0])
            draw_glow(canvas, self._glow[lamp.colour], at[0], size_px)


def _visible(camera: PinholeCamera, x: float, y: float, z: float, radius_m: float) -> bool:
    at, depth = camera.project(np.array([[x, y, z]]))
    if not 1.0 < depth[0] < _VIEW_M:
        return False
    margin = radius_m * camera.focal_px / depth[0] + 2
    return bool(
        -margin < at[0, 0] < camera.width_px + margin
        and -margin < at[0, 1] < camera.height_px + margin
    )


def _lamp_head(lamp: Lamp) -> tuple[float, float]:
    """Give the place of the head, which reaches 1.3 m over the road from its post."""
    from drone.simulator.streets import STREETS_M

    across = lamp.y_m if lamp.along_x else lamp.x_m
    street = min(STREETS_M, key=lambda s: abs(s - across))
    reach = math.copysign(1.3, street - across)
    return (lamp.x_m, lamp.y_m + reach) if lamp.along_x else (lamp.x_m + reach, lamp.y_m)


def glow_picture(colour: tuple[float, float, float], strength: float) -> Light:
    """Draw a light source with its halo: (128, 128, 4) encoded, black at the edge."""
    n = 128
    ys, xs = np.mgrid[0:n, 0:n].astype(np.float32)
    r = np.hypot(xs - (n - 1) / 2, ys - (n - 1) / 2) / (n / 2)
    halo = 0.014 / (r**2 + 0.012) ** 1.15 * np.clip(1 - r, 0, 1) ** 1.2 * strength
    # A bright core is white whatever the colour of its halo.
    white = np.clip(halo - 0.6, 0, None)[..., None] * np.float32(0.4)
    light = halo[..., None] * np.array(colour, np.float32) + white
    return encode(np.dstack([light, np.zeros_like(r)]))


def draw_glow(canvas: Canvas, picture: Light, at: npt.NDArray[np.float64], size_px: float) -> None:
    """Add a glow of radius `size_px` around a place in the picture."""
    low, high = at - size_px, at + size_px
    region = canvas.clipped(Region(int(low[0]), int(low[1]), int(high[0]) + 2, int(high[1]) + 2))
    if region.empty:
        return
    scale = 2 * size_px / picture.shape[0]
    half = (picture.shape[0] - 1) / 2 * scale
    place = np.array([[scale, 0, at[0] - half - region.x0], [0, scale, at[1] - half - region.y0]])
    canvas.add_light(region, np.asarray(cv2.warpAffine(picture, place, region.size), np.uint16))


def _lit_crown(tree: Tree, ground: Ground) -> Light:
    """Light a crown by what falls around it: encoded B, G, R and alpha."""
    picture = crown_picture(tree.look)
    n = picture.shape[0]
    corners = np.empty((2, 2, 3), np.float32)
    for row, sy in enumerate((1, -1)):
        for col, sx in enumerate((-1, 1)):
            r = 1.3 * tree.radius_m
            corners[row, col] = ground.light_at(tree.x_m + sx * r, tree.y_m + sy * r)
    light = cv2.resize(corners, (n, n)) * np.float32(0.75)
    lit = encode(picture[..., :3] * light)
    alpha = np.asarray(picture[..., 3] * np.float32(FULL), np.uint16)
    return np.dstack([lit, alpha])


def _tree_drawer(tree: Tree, picture: Light) -> Draw:
    def draw(camera: PinholeCamera, canvas: Canvas) -> None:
        n = picture.shape[0]
        s = 2 * tree.radius_m / n
        to_world = np.array(
            [[s, 0, tree.x_m - tree.radius_m], [0, -s, tree.y_m + tree.radius_m], [0, 0, 1.0]]
        )
        place = camera.plane_homography(tree.height_m) @ to_world
        corners = place @ np.array([[0, n, 0, n], [0, 0, n, n], [1, 1, 1, 1.0]])
        if corners[2].min() < 1.0:
            return
        region = canvas.clipped(region_around((corners[:2] / corners[2]).T))
        if region.empty:
            return
        crown = cv2.warpPerspective(picture, region.shift() @ place, region.size)
        mask = cv2.compare(cv2.extractChannel(crown, 3), 32767, cv2.CMP_GT)
        canvas.stamp(region, np.asarray(crown, np.uint16), np.asarray(mask, np.uint8), 0)

    return draw


def _post_drawer(lamp: Lamp) -> Draw:
    head_x, head_y = _lamp_head(lamp)
    points = np.array(
        [
            [lamp.x_m, lamp.y_m, 0.0],
            [lamp.x_m, lamp.y_m, lamp.height_m],
            [head_x, head_y, lamp.height_m],
        ]
    )

    def draw(camera: PinholeCamera, canvas: Canvas) -> None:
        at, depth = camera.project(points)
        if depth.min() < 1.0:
            return
        thick = max(1, round(0.14 * camera.focal_px / float(depth.min())))
        line = np.round(np.clip(at, -16_000, 16_000)).astype(np.int32)
        cv2.polylines(canvas.light, [line], False, (2600, 2800, 3000, 9000), thick)

    return draw


def _corners(b: Building) -> list[tuple[float, float]]:
    return [(b.x0_m, b.y0_m), (b.x1_m, b.y0_m), (b.x1_m, b.y1_m), (b.x0_m, b.y1_m)]


def _building_in_view(camera: PinholeCamera, b: Building) -> bool:
    foot = _corners(b)
    points = np.array([(x, y, z) for z in (0.0, b.height_m) for x, y in foot])
    at, depth = camera.project(points)
    if depth.max() < 1.0:
        return False
    if depth.min() < 1.0:
        return True
    low, high = at.min(0), at.max(0)
    return bool(
        low[0] < camera.width_px and high[0] > 0 and low[1] < camera.height_px and high[1] > 0
    )


def _facade_light(b: Building, ground: Ground) -> list[Float]:
    """Give the light at the foot of each side, linear B, G, R."""
    corners = _corners(b)
    lights = []
    for (i, j), (nx, ny) in zip(_SIDES, _NORMALS, strict=True):
        samples = [
            ground.light_at(
                corners[i][0] * (1 - f) + corners[j][0] * f + 2.5 * nx,
                corners[i][1] * (1 - f) + corners[j][1] * f + 2.5 * ny,
            )
            for f in (0.2, 0.5, 0.8)
        ]
        lights.append(np.asarray(np.mean(samples, axis=0), np.float32))
    return lights


def _building_drawer(b: Building, lights: list[Float]) -> Draw:
    corners = _corners(b)
    bands = ((0.0, 0.33, 0.75), (0.33, 0.66, 0.42), (0.66, 1.0, 0.2))

    def wall(
        side: int, start: float, end: float, bottom: float, top: float
    ) -> npt.NDArray[np.float64]:
        (x0, y0), (x1, y1) = corners[_SIDES[side][0]], corners[_SIDES[side][1]]
        length = math.hypot(x1 - x0, y1 - y0)
        a, e = start / length, end / length
        ax, ay, ex, ey = x0 + a * (x1 - x0), y0 + a * (y1 - y0), x0 + e * (x1 - x0), 0.0
        ey = y0 + e * (y1 - y0)
        return np.array([(ax, ay, bottom), (ex, ey, bottom), (ex, ey, top), (ax, ay, top)])

    def draw(camera: PinholeCamera, canvas: Canvas) -> None:
        eye = camera.pose
        for side, (nx, ny) in enumerate(_NORMALS):
            cx, cy = corners[_SIDES[side][0]]
            if (eye.x_m - cx) * nx + (eye.y_m - cy) * ny <= 0:
                continue
            span = b.x1_m - b.x0_m if side % 2 == 0 else b.y1_m - b.y0_m
            for low, high, part in bands:
                shade = lights[side] * (b.albedo * part) + 0.0002
                quad = wall(side, 0.0, span, low * b.height_m, high * b.height_m)
                _fill(camera, canvas, quad, (float(shade[0]), float(shade[1]), float(shade[2])))
            for window in b.windows:
                if window.side == side:
                    quad = wall(side, window.start_m, window.end_m, window.bottom_m, window.top_m)
                    _fill(camera, canvas, quad, window.light)
        _draw_roof(camera, canvas, b)

    return draw


def _draw_roof(camera: PinholeCamera, canvas: Canvas, b: Building) -> None:
    z = b.height_m
    dark = 0.00035 + 0.006 * b.albedo
    roof = np.array([(x, y, z) for x, y in _corners(b)])
    _fill(camera, canvas, roof, (dark * 2.6, dark * 2.5, dark * 2.4))
    inner = np.array(
        [
            (b.x0_m + 0.4, b.y0_m + 0.4, z),
            (b.x1_m - 0.4, b.y0_m + 0.4, z),
            (b.x1_m - 0.4, b.y1_m - 0.4, z),
            (b.x0_m + 0.4, b.y1_m - 0.4, z),
        ]
    )
    _fill(camera, canvas, inner, (dark, dark, dark * 0.95))
    w, h = b.x1_m - b.x0_m, b.y1_m - b.y0_m
    for fx, fy, size in ((0.25, 0.3, 1.6), (0.7, 0.62, 2.2), (0.55, 0.2, 1.1)):
        x, y = b.x0_m + fx * w, b.y0_m + fy * h
        vent = np.array([(x, y, z), (x + size, y, z), (x + size, y + size, z), (x, y + size, z)])
        _fill(camera, canvas, vent, (dark * 3.2, dark * 3.0, dark * 2.8))


def _fill(
    camera: PinholeCamera,
    canvas: Canvas,
    points: npt.NDArray[np.float64],
    linear: tuple[float, float, float],
) -> None:
    at, depth = camera.project(points)
    if depth.min() > 1.0:
        canvas.fill(at, linear)
