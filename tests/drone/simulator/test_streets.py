from __future__ import annotations

import numpy as np
import pytest

from drone.simulator.actors import build_traffic
from drone.simulator.scenarios import SCENARIOS
from drone.simulator.streets import (
    LANE_OFFSET_M,
    ROAD_HALF_M,
    SIDEWALK_M,
    STREETS_M,
    drive_route,
    random_loop,
    rectangle,
    walk_route,
)


def off_centre(points: np.ndarray) -> np.ndarray:
    """Distance of each point from the nearest street's centre line."""
    lines = np.array(STREETS_M)
    gaps = np.abs(points[:, :, None] - lines).min(2)
    return gaps.min(1)


def test_vehicles_stay_on_the_road_and_people_on_the_sidewalk() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        assert off_centre(drive_route(random_loop(rng)).points).max() < ROAD_HALF_M
    for clockwise in (True, False):
        gaps = off_centre(walk_route(1, 0, clockwise).points)
        assert gaps.min() > ROAD_HALF_M
        assert gaps.max() < ROAD_HALF_M + SIDEWALK_M


@pytest.mark.parametrize("clockwise", [True, False])
def test_traffic_keeps_to_the_right(clockwise: bool) -> None:
    route = drive_route(rectangle((0, 1), (0, 1), clockwise))
    x, y, heading = route.at(route.nearest_m(STREETS_M[0], (STREETS_M[0] + STREETS_M[1]) / 2))
    northward = np.cos(heading) > 0
    assert northward == clockwise
    assert x - STREETS_M[0] == pytest.approx(LANE_OFFSET_M if northward else -LANE_OFFSET_M)
    assert abs(np.sin(heading)) < 1e-6
    assert y == pytest.approx((STREETS_M[0] + STREETS_M[1]) / 2, abs=0.3)


def test_a_route_is_closed_smooth_and_slow_in_its_bends() -> None:
    route = drive_route(rectangle((0, 2), (1, 3), True))
    step = np.hypot(*(np.roll(route.points, -1, axis=0) - route.points).T)
    assert step.max() < 0.3
    turn = np.diff(np.unwrap(np.append(route.headings, route.headings[0])))
    assert np.abs(turn).max() < 0.2
    assert route.limits.min() < 5
    assert route.limits.max() > 15
    assert route.at(5.0) == pytest.approx(route.at(5.0 + route.length_m))


def test_nobody_jumps_and_everybody_keeps_moving() -> None:
    traffic = build_traffic(SCENARIOS["default"])
    before = np.array([(a.x_m, a.y_m) for a in traffic.actors])
    driven = np.zeros(len(before))
    for _ in range(60 * 30):
        traffic.step(1 / 30)
        now = np.array([(a.x_m, a.y_m) for a in traffic.actors])
        moved = np.hypot(*(now - before).T)
        assert moved.max() < 1.0
        driven += moved
        before = now
    assert driven[0] > 250
    assert driven.min() > 20


def test_the_target_stops_and_goes() -> None:
    traffic = build_traffic(SCENARIOS["stop_and_go"])
    speeds = []
    for _ in range(30 * 32):
        traffic.step(1 / 30)
        speeds.append(traffic.target.speed_m_s)
    halves = np.array(speeds) < 0.05
    stops = int(np.count_nonzero(halves[1:] & ~halves[:-1]))
    assert stops == 4


def test_the_twin_looks_like_the_target_and_stays_near() -> None:
    traffic = build_traffic(SCENARIOS["alike"])
    twin = next(a for a in traffic.actors if a.name == "twin")
    assert twin.look == traffic.target.look
    gaps = []
    for _ in range(30 * 40):
        traffic.step(1 / 30)
        gaps.append(np.hypot(twin.x_m - traffic.target.x_m, twin.y_m - traffic.target.y_m))
    assert min(gaps) > 4.0
    assert np.median(gaps) < 15
