"""A pinhole camera under a drone: where a point of the world falls in the picture.

World: x east, y north, z up, m; the ground is z = 0. Yaw clockwise from north, pitch up positive
(-90: straight down), roll right side down positive. Pixels: centre of the first pixel at (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CameraPose:
    """Place and direction of the camera; m and degrees."""

    x_m: float
    y_m: float
    height_m: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float = 0.0


class PinholeCamera:
    """Projects the world into a picture of `width_px` x `height_px` from one pose."""

    def __init__(
        self, pose: CameraPose, width_px: int, height_px: int, horizontal_fov_deg: float
    ) -> None:
        """Work out the axes and the projection matrix."""
        self.pose = pose
        self.width_px, self.height_px = width_px, height_px
        self.focal_px = width_px / 2 / math.tan(math.radians(horizontal_fov_deg) / 2)
        yaw, pitch, roll = (math.radians(v) for v in (pose.yaw_deg, pose.pitch_deg, pose.roll_deg))
        forward = np.array(
            [math.sin(yaw) * math.cos(pitch), math.cos(yaw) * math.cos(pitch), math.sin(pitch)]
        )
        level = np.array([math.cos(yaw), -math.sin(yaw), 0.0])
        down = -np.cross(level, forward)
        right = math.cos(roll) * level + math.sin(roll) * down
        down = math.cos(roll) * down - math.sin(roll) * level
        centre = np.array([pose.x_m, pose.y_m, pose.height_m])
        cx, cy = (width_px - 1) / 2, (height_px - 1) / 2
        rows = np.stack(
            [self.focal_px * right + cx * forward, self.focal_px * down + cy * forward, forward]
        )
        self._matrix: Float = np.column_stack([rows, -rows @ centre])
        self._ground_plane: Float = np.ascontiguousarray(self._matrix[:, [0, 1, 3]])

    def project(self, points: Float) -> tuple[Float, Float]:
        """Project (N, 3) world points, m.

        Returns:
            (N, 2) x, y in px and (N,) depth along the optical axis in m; a point with a depth of
            0 or less lies behind the camera and its px mean nothing.
        """
        homogeneous = points @ self._matrix[:, :3].T + self._matrix[:, 3]
        depth = homogeneous[:, 2]
        safe = np.where(depth > 1e-6, depth, 1e-6)
        return homogeneous[:, :2] / safe[:, None], depth

    def plane_homography(self, height_m: float = 0.0) -> Float:
        """Give the 3 x 3 map from (x, y, 1) on the level plane at `height_m` to the picture."""
        plane: Float = self._ground_plane.copy()
        plane[:, 2] += self._matrix[:, 2] * height_m
        return plane

    def plane_step(self) -> Float:
        """Give what a metre of height adds to the last column of `plane_homography`."""
        return np.asarray(self._matrix[:, 2])
