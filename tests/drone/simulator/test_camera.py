from __future__ import annotations

import numpy as np
import pytest

from drone.simulator.camera import CameraPose, PinholeCamera


def camera(**pose: float) -> PinholeCamera:
    at = {"x_m": 0.0, "y_m": 0.0, "height_m": 10.0, "yaw_deg": 0.0, "pitch_deg": -90.0, **pose}
    # A field of view of 90 degrees: the focal length is half the width, 50 px.
    return PinholeCamera(CameraPose(**at), 101, 61, 90.0)


def project(view: PinholeCamera, x: float, y: float, z: float = 0.0) -> tuple[float, float]:
    at, depth = view.project(np.array([[x, y, z]]))
    assert depth[0] > 0
    return float(at[0, 0]), float(at[0, 1])


def test_straight_down_north_is_up_and_east_is_right() -> None:
    view = camera()
    assert project(view, 0, 0) == pytest.approx((50, 30))
    assert project(view, 2, 0) == pytest.approx((50 + 50.5 * 2 / 10, 30))
    assert project(view, 0, 2) == pytest.approx((50, 30 - 50.5 * 2 / 10))
    assert project(view, 2, 0, 5) == pytest.approx((50 + 50.5 * 2 / 5, 30))


def test_yaw_is_clockwise_pitch_is_up_and_roll_lowers_the_right_side() -> None:
    assert project(camera(yaw_deg=90), 2, 0) == pytest.approx((50, 30 - 10.1))
    ahead = camera(height_m=10, pitch_deg=-45)
    assert project(ahead, 0, 10) == pytest.approx((50, 30))
    assert project(camera(pitch_deg=-44), 0, 10)[1] > 30  # the camera looks higher: it sinks
    # The camera's right side sinks, so the ground on the right rises in the picture.
    assert project(camera(roll_deg=10, pitch_deg=-45), 5, 10)[1] < 30


def test_the_plane_homography_agrees_with_the_projection() -> None:
    view = camera(x_m=3, y_m=-2, yaw_deg=33, pitch_deg=-50, roll_deg=4)
    for z in (0.0, 1.5):
        at = view.plane_homography(z) @ np.array([4.0, 9.0, 1.0])
        assert tuple(at[:2] / at[2]) == pytest.approx(project(view, 4, 9, z))
    step = view.plane_homography(2.0) - view.plane_homography(1.0)
    assert step[:, 2] == pytest.approx(view.plane_step())
