from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from drone.control import RateCommand
from drone.errors import ControlError
from drone.simulator.camera import CameraPose, PinholeCamera
from drone.simulator.flight import CommandQueue, FlightDynamics, FlightState, Wind, fly
from drone.simulator.streets import WORLD_M

DYNAMICS = FlightDynamics()
START = FlightState(CameraPose(100.0, 100.0, 40.0, 0.0, -60.0))
MS = 1_000_000


def run(command: RateCommand, seconds: float, state: FlightState = START) -> FlightState:
    for _ in range(round(seconds * 100)):
        state = fly(state, command, 0.01, DYNAMICS, 240.0)
    return state


def test_each_rate_moves_its_own_axis_in_the_documented_direction() -> None:
    assert run(RateCommand(yaw_deg_s=20), 1).pose.yaw_deg > 10
    assert run(RateCommand(gimbal_pitch_deg_s=10), 1).pose.pitch_deg > -55
    north = run(RateCommand(forward_m_s=5), 1).pose
    assert north.y_m > 102
    assert north.x_m == pytest.approx(100)
    east = run(RateCommand(right_m_s=5), 1).pose
    assert east.x_m > 102
    assert east.y_m == pytest.approx(100)
    assert run(RateCommand(up_m_s=2), 1).pose.height_m > 40.8


def test_forward_follows_the_heading() -> None:
    facing_east = replace(START, pose=replace(START.pose, yaw_deg=90.0))
    pose = run(RateCommand(forward_m_s=5), 2, facing_east).pose
    assert pose.x_m > 106
    assert pose.y_m == pytest.approx(100, abs=1e-6)


def test_a_rate_approaches_its_command_as_a_first_order_lag() -> None:
    state = run(RateCommand(yaw_deg_s=40), DYNAMICS.yaw_lag_s)
    assert state.yaw_deg_s == pytest.approx(40 * (1 - math.exp(-1)))
    state = run(RateCommand(), DYNAMICS.yaw_lag_s, state)
    assert state.yaw_deg_s == pytest.approx(40 * (1 - math.exp(-1)) * math.exp(-1))


def test_limits_hold() -> None:
    wild = RateCommand(1e6, 1e6, 1e6, 1e6, 1e6)
    state = run(wild, 30)
    assert state.yaw_deg_s <= DYNAMICS.most_yaw_deg_s
    assert state.speed_m_s <= DYNAMICS.most_speed_m_s + 1e-6
    assert state.pose.pitch_deg == DYNAMICS.pitch_range_deg[1]
    assert state.gimbal_deg_s == 0
    assert state.pose.height_m == DYNAMICS.height_range_m[1]
    assert -180 <= state.pose.yaw_deg < 180
    assert 6 <= state.pose.x_m <= 234
    assert 6 <= state.pose.y_m <= 234


def test_a_command_takes_effect_after_its_delay_and_expires() -> None:
    queue = CommandQueue(FlightDynamics(delay_s=0.05, expiry_s=0.3))
    queue.send(RateCommand(yaw_deg_s=10, issued_ns=1000 * MS), 1000 * MS)
    assert queue.current(1049 * MS).is_neutral
    assert queue.current(1051 * MS).yaw_deg_s == 10
    assert queue.current(1300 * MS).yaw_deg_s == 10
    assert queue.current(1301 * MS).is_neutral


def test_an_old_command_that_arrives_late_is_never_obeyed() -> None:
    queue = CommandQueue(DYNAMICS)
    queue.send(RateCommand(yaw_deg_s=10, issued_ns=0), 1000 * MS)
    assert queue.current(1100 * MS).is_neutral


def test_neutral_acts_at_once_and_drops_what_waits() -> None:
    queue = CommandQueue(DYNAMICS)
    queue.send(RateCommand(yaw_deg_s=10, issued_ns=1000 * MS), 1000 * MS)
    queue.current(1100 * MS)
    queue.send(RateCommand(yaw_deg_s=20, issued_ns=1100 * MS), 1100 * MS)
    queue.neutral(1101 * MS)
    assert queue.current(1101 * MS).is_neutral
    assert queue.current(1200 * MS).is_neutral


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rates_that_are_not_numbers_are_refused(bad: float) -> None:
    queue = CommandQueue(DYNAMICS)
    for name in ("yaw_deg_s", "gimbal_pitch_deg_s", "forward_m_s", "right_m_s", "up_m_s"):
        with pytest.raises(ControlError, match="expected finite rates"):
            queue.send(RateCommand(**{name: bad, "issued_ns": 0}), 0)  # type: ignore[arg-type]
    assert queue.current(60 * MS).is_neutral


def test_wind_pushes_and_rolls_and_repeats_with_its_seed() -> None:
    def blown(seed: int, mean: float) -> CameraPose:
        wind, pose = Wind(mean, seed), START.pose
        for _ in range(300):
            pose = wind.blow(pose, 1 / 60)
        return pose

    assert blown(1, 0.0) == START.pose
    assert blown(1, 8.0) == blown(1, 8.0)
    assert blown(1, 8.0) != blown(2, 8.0)
    pose = blown(1, 8.0)
    assert math.hypot(pose.x_m - 100, pose.y_m - 100) > 0.5
    assert 0 < abs(pose.roll_deg) < 10


def behind_shown(pitch_deg: float) -> bool:
    """Whether any ground of the world lies in the picture and behind the camera."""
    line = np.linspace(0.0, WORLD_M, 60)
    places = np.array([(x, y, 0.0) for x in line for y in line])
    for place, yaw_deg in ((0.1, 225.0), (0.1, 180.0), (0.5, 0.0), (0.9, 45.0)):
        pose = CameraPose(place * WORLD_M, place * WORLD_M, 40.0, yaw_deg, pitch_deg, 4.0)
        camera = PinholeCamera(pose, 1280, 720, 69.0)
        seen = places[:, :2] @ camera.plane_homography()[:, :2].T + camera.plane_homography()[:, 2]
        behind = seen[:, 2] < 0
        x, y = (seen[behind, axis] / seen[behind, 2] for axis in (0, 1))
        if np.any((x >= 0) & (x < 1280) & (y >= 0) & (y < 720)):
            return True
    return False


def test_no_ground_from_behind_is_drawn_above_the_horizon() -> None:
    assert not behind_shown(DYNAMICS.pitch_range_deg[1])
    assert behind_shown(-5.0)
