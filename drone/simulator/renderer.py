"""From the world and the actors to a frame, with the truth of every actor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from drone.frame import Pixels, TruthBox
from drone.simulator.actors import Actor
from drone.simulator.camera import CameraPose, PinholeCamera
from drone.simulator.canvas import Canvas, Light, Region, encode, opaque, region_around
from drone.simulator.glow import draw_glow, glow_picture
from drone.simulator.ground import MOST_LIGHT, Ground
from drone.simulator.scenarios import Scenario
from drone.simulator.scenery import Scenery
from drone.simulator.sensor import Sensor
from drone.simulator.sprites import HEADLIGHT, TAILLIGHT, Sprite
from drone.simulator.surface import picture_to_world
from drone.simulator.world import World

Matrix = npt.NDArray[np.float64]

HIDDEN_BELOW = 0.3
"""An actor of which less than this part is visible has no truth box."""
_NO_SHADOW = (65535.0,) * 4
_BEAM_PX_M = 4.0
_BEAM_FROM_M, _BEAM_AHEAD_M, _BEAM_HALF_M = 1.0, 19.0, 4.0


@dataclass(frozen=True)
class Seen:
    """What the camera sees of an actor.

    Attributes:
        box: around its whole body, cut to the frame; None when out of view or hidden.
        visible: the part of its body that is seen, 0 … 1.
    """

    box: TruthBox | None
    visible: float


class NightRenderer:
    """Draws frames of one world. Not thread-safe: one renderer per thread."""

    def __init__(self, scenario: Scenario, world: World, ground: Ground) -> None:
        """Prepare what all frames share."""
        self._scenario = scenario
        self._ground = ground
        self._canvas = Canvas(scenario.width_px, scenario.height_px)
        self._scenery = Scenery(world, ground, scenario.glare)
        self._sensor = Sensor(scenario)
        self._beam = _beam_picture()
        self._white_glow = glow_picture(HEADLIGHT, 1.6 * scenario.glare**0.5)
        self._red_glow = glow_picture(TAILLIGHT, 0.7)
        self._texture_to_world = picture_to_world()

    def camera(self, pose: CameraPose) -> PinholeCamera:
        """Give the camera of this scenario at a pose."""
        s = self._scenario
        return PinholeCamera(pose, s.width_px, s.height_px, s.horizontal_fov_deg)

    def render(
        self,
        pose: CameraPose,
        actors: list[Actor],
        frame_number: int,
        smear_px: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[Pixels, dict[str, Seen]]:
        """Draw one frame.

        Args:
            pose: of the camera.
            actors: everything that moves.
            frame_number: chooses the noise; the same number gives the same noise.
            smear_px: motion of the picture during the exposure, x and y.

        Returns:
            (H, W, 3) BGR uint8, and what is seen of each actor by its name.
        """
        camera = self.camera(pose)
        canvas = self._canvas
        canvas.lay_ground(self._ground.picture, camera.plane_homography() @ self._texture_to_world)
        near = [(k, a) for k, a in enumerate(actors, 1) if self._in_view(camera, a)]
        self._draw_beams(camera, [a for _, a in near if a.vehicle])
        areas = self._draw_upright(camera, near)
        self._scenery.draw_glow(camera, canvas)
        truth = {a.name: Seen(None, 0.0) for a in actors}
        truth.update(self._truth(camera, near, areas))
        return self._sensor.expose(canvas.light, frame_number, smear_px), truth

    def _draw_upright(
        self, camera: PinholeCamera, near: list[tuple[int, Actor]]
    ) -> dict[str, tuple[Region, int]]:
        """Draw actors and what stands, the farthest first; give each actor's region and area."""
        areas: dict[str, tuple[Region, int]] = {}
        standing = self._scenery.standing(camera)
        eye = camera.pose
        queue: list[tuple[float, int]] = [(d, -1 - k) for k, (d, _) in enumerate(standing)]
        queue += [
            (math.hypot(a.x_m - eye.x_m, a.y_m - eye.y_m), k) for k, (_, a) in enumerate(near)
        ]
        for _, k in sorted(queue, reverse=True):
            if k < 0:
                standing[-1 - k][1](self._canvas)
            else:
                number, actor = near[k]
                areas[actor.name] = self._draw_actor(camera, actor, number)
        return areas

    def _in_view(self, camera: PinholeCamera, actor: Actor) -> bool:
        reach_m = _BEAM_AHEAD_M if actor.vehicle else 1.0
        at, depth = camera.project(np.array([[actor.x_m, actor.y_m, 0.5]]))
        if depth[0] < 1.0:
            return False
        margin = reach_m * camera.focal_px / depth[0]
        x, y = at[0]
        return bool(
            -margin < x < camera.width_px + margin and -margin < y < camera.height_px + margin
        )

    def _draw_actor(self, camera: PinholeCamera, actor: Actor, number: int) -> tuple[Region, int]:
        sprite = actor.sprite()
        body = body_to_world(actor)
        outline, depth = camera.project(_to_world(sprite.outline, body))
        region = region_around(outline, 3.0)
        w, h = region.size
        floor = self._canvas.clipped(region)
        if depth.min() < 1.0 or floor.empty or w > 2000 or h > 2000:
            return region, 0
        to_ground = camera.plane_homography() @ body @ sprite.to_body
        keep = cv2.warpPerspective(
            sprite.keep, floor.shift() @ to_ground, floor.size, borderValue=_NO_SHADOW
        )
        self._canvas.darken(floor, np.asarray(keep, np.uint16))
        layer = np.zeros((h, w, 4), np.uint16)
        place = region.shift() @ to_ground
        # The last row of body @ to_body is 0, 0, 1: height moves the last column alone.
        step = region.shift() @ camera.plane_step()
        for piece in sprite.slices:
            at_height = place.copy()
            at_height[:, 2] += step * piece.height_m
            warped = np.asarray(cv2.warpPerspective(piece.paint, at_height, (w, h)), np.uint16)
            cv2.copyTo(warped, opaque(warped), layer)
        mask = opaque(layer)
        light = np.sqrt(self._ground.light_at(actor.x_m, actor.y_m) / MOST_LIGHT)
        lit = cv2.multiply(layer, np.append(light, 1.0).astype(np.float64))
        self._canvas.stamp(region, np.asarray(lit, np.uint16), mask, number)
        if actor.vehicle:
            self._draw_lights(camera, sprite, body)
        return region, cv2.countNonZero(mask)

    def _draw_lights(self, camera: PinholeCamera, sprite: Sprite, body: Matrix) -> None:
        """Add the head and tail lights of a vehicle where they face the camera."""
        for lights, glow, size_m in (
            (sprite.headlights, self._white_glow, 1.1 * self._scenario.glare**0.5),
            (sprite.taillights, self._red_glow, 0.75),
        ):
            at, depth = camera.project(_to_world(lights, body))
            for place, far_m in zip(at, depth, strict=True):
                draw_glow(self._canvas, glow, place, size_m * camera.focal_px / float(far_m))

    def _draw_beams(self, camera: PinholeCamera, vehicles: list[Actor]) -> None:
        """Light the ground before the vehicles."""
        s = 1 / _BEAM_PX_M
        to_body = np.array([[s, 0, -_BEAM_HALF_M], [0, -s, _BEAM_AHEAD_M], [0, 0, 1.0]])
        h, w = self._beam.shape[:2]
        edge = np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1.0]])
        lit: list[tuple[Region, Light]] = []
        for actor in vehicles:
            place = camera.plane_homography() @ body_to_world(actor) @ to_body
            corners = place @ edge
            if corners[2].min() < 1.0:
                continue
            region = self._canvas.clipped(region_around((corners[:2] / corners[2]).T))
            if not region.empty:
                beam = cv2.warpPerspective(self._beam, region.shift() @ place, region.size)
                lit.append((region, self._canvas.lit_ground(region, np.asarray(beam, np.uint16))))
        for region, light in lit:
            self._canvas.add_light(region, light)

    def _truth(
        self,
        camera: PinholeCamera,
        near: list[tuple[int, Actor]],
        areas: dict[str, tuple[Region, int]],
    ) -> dict[str, Seen]:
        seen = {}
        for number, actor in near:
            region, area = areas[actor.name]
            inside = self._canvas.clipped(region)
            if inside.empty or area == 0:
                continue
            view = self._canvas.owner[inside.y0 : inside.y1, inside.x0 : inside.x1]
            visible = int(np.count_nonzero(view == number)) / area
            box = actor_box(camera, actor) if visible >= HIDDEN_BELOW else None
            seen[actor.name] = Seen(box, visible)
        return seen


def body_to_world(actor: Actor) -> Matrix:
    """Give the 3 x 3 map from body m (x right, y ahead) to the ground."""
    c, s = math.cos(actor.heading), math.sin(actor.heading)
    return np.array([[c, s, actor.x_m], [-s, c, actor.y_m], [0, 0, 1.0]])


def actor_box(camera: PinholeCamera, actor: Actor) -> TruthBox | None:
    """Give the box around an actor's whole body, cut to the frame; None outside it.

    Box px are edges: the first pixel spans 0 … 1.
    """
    points, depth = camera.project(_to_world(actor.sprite().outline, body_to_world(actor)))
    if depth.min() < 0.5:
        return None
    low, high = points.min(0) + 0.5, points.max(0) + 0.5
    x0, y0 = max(float(low[0]), 0.0), max(float(low[1]), 0.0)
    x1, y1 = min(float(high[0]), camera.width_px), min(float(high[1]), camera.height_px)
    if x1 - x0 < 1 or y1 - y0 < 1:
        return None
    return x0, y0, x1 - x0, y1 - y0


def _to_world(points: Matrix, body: Matrix) -> Matrix:
    """Move (N, 3) points in body m to world m."""
    world = points.copy()
    world[:, :2] = points[:, :2] @ body[:2, :2].T + body[:2, 2]
    return np.asarray(world, np.float64)


def _beam_picture() -> Light:
    """Draw the light that headlights throw on the ground: (H, W) encoded, 4 px a metre."""
    h = int((_BEAM_AHEAD_M - _BEAM_FROM_M) * _BEAM_PX_M)
    w = int(2 * _BEAM_HALF_M * _BEAM_PX_M)
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    x = xs / _BEAM_PX_M - _BEAM_HALF_M
    y = _BEAM_AHEAD_M - ys / _BEAM_PX_M
    light = np.zeros((h, w), np.float32)
    for lamp_x in (-0.6, 0.6):
        d = np.maximum(y - 2.0, 0.05)
        spread = 0.35 + 0.15 * d
        cone = np.exp(-0.5 * ((x - lamp_x) / spread) ** 2) / (1 + (d / 6.0) ** 2)
        fade = np.clip((_BEAM_AHEAD_M - y) / 8, 0, 1) * np.clip((y - 2.0) / 1.2, 0, 1)
        edge = np.clip((_BEAM_HALF_M - np.abs(x)) / 1.5, 0, 1)
        light += 1.5 * cone * (fade * edge) ** 2
    return encode(light)
