"""What stands on the ground: buildings, trees and lamps, drawn over a frame."""

from __future__ import annotations

import math
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from drone.simulator.camera import PinholeCamera
from drone.simulator.canvas import FULL, Canvas, Draw, Light, encode, opaque, region_around
from drone.simulator.facades import Facades
from drone.simulator.glow import draw_glow, glow_picture
from drone.simulator.ground import Ground
from drone.simulator.sprites import crown_picture
from drone.simulator.streets import STREETS_M
from drone.simulator.world import Lamp, Tree, World

_VIEW_M = 130.0
_HALO_M = 3.2
_ARM_M = 1.3


class Scenery:
    """Draws what stands; order and visibility are the renderer's."""

    def __init__(self, world: World, ground: Ground, glare: float) -> None:
        """Light crowns and façades once."""
        self._facades = Facades(world.buildings, ground)
        self._trees = world.street_trees
        self._crowns = [_lit_crown(tree, ground) for tree in self._trees]
        self._crown_places = np.array([(t.x_m, t.y_m, t.height_m) for t in self._trees])
        self._lamps = world.lamps
        self._posts = np.array([_post(lamp) for lamp in self._lamps]).reshape(-1, 3)
        self._halo_m = _HALO_M * math.sqrt(glare)
        self._glow = {
            lamp.colour: glow_picture(lamp.colour, 0.9 * math.sqrt(glare)) for lamp in world.lamps
        }

    def standing(self, camera: PinholeCamera) -> list[tuple[float, Draw]]:
        """List what stands in view: distance of its nearest foot from the eye, and its drawing."""
        eye = camera.pose
        found = self._facades.standing(camera, _VIEW_M)
        for k in _in_view(camera, self._crown_places, 4.5):
            tree = self._trees[k]
            gap = math.hypot(tree.x_m - eye.x_m, tree.y_m - eye.y_m)
            found.append((gap, partial(_draw_crown, tree, self._crowns[k], camera)))
        at, depth = camera.project(self._posts)
        for k in _in_view(camera, self._posts[1::3], 8.0):
            lamp, line = self._lamps[k], at[3 * k : 3 * k + 3]
            if depth[3 * k : 3 * k + 3].min() < 1.0:
                continue
            gap = math.hypot(lamp.x_m - eye.x_m, lamp.y_m - eye.y_m)
            thick = max(1, round(0.14 * camera.focal_px / float(depth[3 * k])))
            found.append((gap, partial(_draw_post, line, thick)))
        return found

    def draw_glow(self, camera: PinholeCamera, canvas: Canvas) -> None:
        """Add the lamps' heads and the halos that lens and haze make around them."""
        heads = self._posts[2::3]
        at, depth = camera.project(heads)
        for k in _in_view(camera, heads, self._halo_m):
            size_px = self._halo_m * camera.focal_px / float(depth[k])
            draw_glow(canvas, self._glow[self._lamps[k].colour], at[k], size_px)


def _in_view(
    camera: PinholeCamera, places: npt.NDArray[np.float64], radius_m: float
) -> npt.NDArray[np.intp]:
    """Give the indices of the places that may show within `radius_m` in the picture."""
    if not len(places):
        return np.zeros(0, np.intp)
    at, depth = camera.project(places)
    margin = radius_m * camera.focal_px / np.maximum(depth, 1.0) + 2
    x, y = at.T
    inside = (depth > 1.0) & (depth < _VIEW_M)
    inside &= (x > -margin) & (x < camera.width_px + margin)
    inside &= (y > -margin) & (y < camera.height_px + margin)
    return np.flatnonzero(inside)


def _post(lamp: Lamp) -> list[tuple[float, float, float]]:
    """Give foot, top and head of a lamp; the head reaches over the road."""
    across = lamp.y_m if lamp.along_x else lamp.x_m
    street = min(STREETS_M, key=lambda s: abs(s - across))
    reach = math.copysign(_ARM_M, street - across)
    x, y = (lamp.x_m, lamp.y_m + reach) if lamp.along_x else (lamp.x_m + reach, lamp.y_m)
    z = lamp.height_m
    return [(lamp.x_m, lamp.y_m, 0.0), (lamp.x_m, lamp.y_m, z), (x, y, z)]


def _draw_post(line: npt.NDArray[np.float64], thick: int, canvas: Canvas) -> None:
    points = np.round(np.clip(line, -16_000, 16_000)).astype(np.int32)
    cv2.polylines(canvas.light, [points], False, (2600, 2800, 3000, 0), thick)


def _lit_crown(tree: Tree, ground: Ground) -> Light:
    """Light a crown by what falls around it: encoded B, G, R and alpha."""
    picture = crown_picture(tree.look)
    n = picture.shape[0]
    corners = np.empty((2, 2, 3), np.float32)
    for row, sy in enumerate((1, -1)):
        for col, sx in enumerate((-1, 1)):
            r = 1.3 * tree.radius_m
            corners[row, col] = ground.light_at(tree.x_m + sx * r, tree.y_m + sy * r)
    light = np.asarray(cv2.resize(corners, (n, n)), np.float32) * np.float32(0.75)
    lit = encode(picture[..., :3] * light)
    alpha = np.asarray(picture[..., 3] * np.float32(FULL), np.uint16)
    return np.dstack([lit, alpha])


def _draw_crown(tree: Tree, picture: Light, camera: PinholeCamera, canvas: Canvas) -> None:
    n = picture.shape[0]
    r = tree.radius_m
    s = 2 * r / n
    to_world = np.array([[s, 0, tree.x_m - r], [0, -s, tree.y_m + r], [0, 0, 1.0]])
    place = camera.plane_homography(tree.height_m) @ to_world
    corners = place @ np.array([[0, n, 0, n], [0, 0, n, n], [1, 1, 1, 1.0]])
    if corners[2].min() < 1.0:
        return
    region = canvas.clipped(region_around((corners[:2] / corners[2]).T))
    if not region.empty:
        crown = cv2.warpPerspective(picture, region.shift() @ place, region.size)
        layer = np.asarray(crown, np.uint16)
        canvas.stamp(region, layer, opaque(layer), 0)
