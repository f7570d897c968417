"""The servo, in a world of one point target: no pixels, no tracker."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drone.control import RateCommand
from drone.frame import Telemetry
from gcs.camera_pose import Turns, bearing_deg, nearest_turn_deg
from gcs.follow_config import FollowConfig
from gcs.servo import Servo, Sighting, observe, sent, steer
from model.errors import ConfigError
from model.geometry import Box
from tests.point_world import FOCAL_PX, FOV_DEG, HEIGHT_PX, START_NS, WIDTH_PX, Place, PointWorld

CONFIG = FollowConfig()
FRAME_S = 1 / 30


@dataclass
class Run:
    errors: np.ndarray
    commands: list[RateCommand]
    world: PointWorld


def fly(
    place: Place,
    latency_s: float = 0.05,
    *,
    told: bool = True,
    seconds: float = 12.0,
    keep_distance: bool = False,
    drift_deg_s: float = 0.0,
    config: FollowConfig = CONFIG,
) -> Run:
    """Servo → camera → servo at 30 Hz; errors are fractions of the frame width, from 2 s on."""
    world = PointWorld(place, told=told)
    servo, link, errors, commands = Servo(), deque(), [], []
    for index in range(round(seconds / FRAME_S)):
        now_s = index * FRAME_S
        world.advance(now_s)
        world.yaw_deg += drift_deg_s * FRAME_S
        link.append((now_s + latency_s, world.see()))
        while link and link[0][0] <= now_s + 1e-9:
            servo = observe(servo, link.popleft()[1], config)
        if keep_distance and servo.wanted_size is None:
            servo = servo.keep_distance()
        command = steer(servo, world.now_ns, config)
        servo = sent(servo, command, world.now_ns, config)
        world.send(command)
        commands.append(command)
        errors.append(world.error_share())
    return Run(np.array(errors[round(2 / FRAME_S) :]), commands, world)


def standing(_time_s: float) -> tuple[float, float, float]:
    return 14.0, -30.0, 50.0


def driving(time_s: float) -> tuple[float, float, float]:
    return 10.0 + 8.0 * time_s, -40.0, 50.0


def weaving(time_s: float) -> tuple[float, float, float]:
    return 20.0 * math.sin(0.8 * time_s), -40.0 + 6.0 * math.sin(0.5 * time_s), 50.0


@pytest.mark.parametrize("told", [True, False], ids=["telemetry", "no telemetry"])
@pytest.mark.parametrize("latency_s", [0.05, 0.15, 0.25])
@pytest.mark.parametrize(("place", "wanted"), [(standing, 0.05), (driving, 0.02), (weaving, 0.08)])
def test_the_target_is_brought_to_the_middle_and_kept(
    place: Place, wanted: float, latency_s: float, told: bool
) -> None:
    run = fly(place, latency_s, told=told)
    assert np.median(run.errors) <= wanted
    assert run.errors.max() <= 0.2


def test_delay_compensation_keeps_a_late_picture_stable() -> None:
    """With a high gain, a servo that is told its late picture is of now swings for ever."""
    eager = FollowConfig(yaw_gain_per_s=5.0, pitch_gain_per_s=5.0, feed_forward=0.0, clamp=0.5)
    run = fly(standing, 0.25, config=eager)
    world, servo, link, errors = PointWorld(standing), Servo(), deque(), []
    for index in range(360):
        now_s = index * FRAME_S
        world.advance(now_s)
        link.append((now_s + 0.25, world.see()))
        while link and link[0][0] <= now_s + 1e-9:
            late = replace(link.popleft()[1], captured_ns=world.now_ns)
            servo = observe(servo, late, eager)
        command = steer(servo, world.now_ns, eager)
        servo = sent(servo, command, world.now_ns, eager)
        world.send(command)
        errors.append(world.error_share())
    assert run.errors.max() < 0.08
    assert max(errors[-90:]) > 0.15


def test_a_vehicle_that_turns_by_itself_is_held() -> None:
    run = fly(standing, 0.1, drift_deg_s=10.0)
    assert np.median(run.errors) <= 0.06


def test_forward_speed_keeps_the_distance_both_ways() -> None:
    away = fly(lambda t: (0.0, -20.0, 50.0 + 1.5 * t), keep_distance=True, seconds=20)
    near = fly(lambda t: (0.0, -20.0, 50.0 - 0.5 * t), keep_distance=True, seconds=20)
    assert away.world.project()[2] == pytest.approx(50.0, rel=0.5)
    assert away.world.project()[2] < 50.0 + 1.5 * 20 - 5
    assert away.world.flown_m > 5
    assert near.world.flown_m < -2


def test_without_a_distance_to_keep_it_never_flies() -> None:
    run = fly(lambda t: (0.0, -20.0, 50.0 + 3 * t))
    assert {command.forward_m_s for command in run.commands} == {0.0}


def test_forward_speed_falls_to_zero_off_the_middle() -> None:
    far = Sighting(Box.from_centre(0.9 * WIDTH_PX, 360, 20, 20), WIDTH_PX, HEIGHT_PX, START_NS)
    servo = observe(Servo(wanted_size=0.0), far, CONFIG)
    servo = replace(servo, last=RateCommand(issued_ns=START_NS - 10**9))
    assert steer(servo, START_NS, CONFIG).forward_m_s == 0.0
    mid = replace(far, box=Box.from_centre(WIDTH_PX / 2, 360, 20, 20))
    servo = observe(Servo(wanted_size=0.0), mid, CONFIG)
    servo = replace(servo, last=RateCommand(issued_ns=START_NS - 10**9))
    assert steer(servo, START_NS, CONFIG).forward_m_s > 0.0


def test_inside_the_dead_zone_a_standing_target_costs_no_command() -> None:
    sighting = Sighting(
        Box.from_centre(WIDTH_PX / 2 + 0.04 * WIDTH_PX, HEIGHT_PX / 2 - 0.04 * HEIGHT_PX, 40, 40),
        WIDTH_PX,
        HEIGHT_PX,
        START_NS,
        Telemetry(yaw_deg=30.0, gimbal_pitch_deg=-10.0, horizontal_fov_deg=FOV_DEG),
    )
    assert steer(observe(Servo(), sighting, CONFIG), START_NS, CONFIG).is_neutral


def seen_at(across: float, along: float, at_s: float) -> Sighting:
    """A target at this error of the frame's middle, by a camera that stands."""
    return Sighting(
        Box.from_centre((0.5 + across) * WIDTH_PX, (0.5 + along) * HEIGHT_PX, 40, 40),
        WIDTH_PX,
        HEIGHT_PX,
        START_NS + round(at_s * 1e9),
        Telemetry(yaw_deg=30.0, gimbal_pitch_deg=-10.0, horizontal_fov_deg=FOV_DEG),
    )


def test_a_correction_that_began_outside_the_dead_zone_ends_well_inside_it() -> None:
    servo = observe(Servo(), seen_at(0.06, 0.04, 0.0), CONFIG)
    assert servo.centring == (True, False)
    servo = observe(servo, seen_at(0.02, -0.06, 0.1), CONFIG)
    assert servo.centring == (True, True)
    servo = observe(servo, seen_at(-0.008, -0.02, 0.2), CONFIG)
    assert servo.centring == (False, True)
    servo = observe(servo, seen_at(0.042, 0.0, 0.3), CONFIG)
    assert servo.centring == (False, False)
    without = replace(CONFIG, dead_zone_end=1.0)
    servo = observe(
        observe(Servo(), seen_at(0.06, 0.0, 0.0), without), seen_at(0.042, 0, 1), without
    )
    assert servo.centring == (False, False)
    begun = observe(Servo(), seen_at(0.06, 0.06, 0.0), CONFIG)
    assert begun.forget_target().centring == (False, False)


def test_a_target_beyond_straight_down_is_turned_to() -> None:
    """It is near the picture's middle, and half a turn away."""
    box = Box.from_centre(0.5 * WIDTH_PX, 0.8 * HEIGHT_PX, 40, 40)
    telemetry = Telemetry(yaw_deg=0.0, gimbal_pitch_deg=-84.0, horizontal_fov_deg=FOV_DEG)
    seen = Sighting(box, WIDTH_PX, HEIGHT_PX, START_NS, telemetry)
    servo = replace(observe(Servo(), seen, CONFIG), last=RateCommand(issued_ns=START_NS - 10**9))
    assert servo.centring[0]
    assert abs(steer(servo, START_NS, CONFIG).yaw_deg_s) > 10.0


def test_a_target_that_creeps_is_not_left_at_the_border_of_the_dead_zone() -> None:
    """0.5 degrees a second counts as standing."""

    def median(config: FollowConfig) -> float:
        run = fly(lambda t: (0.5 * t, -30.0, 50.0), seconds=40, config=config)
        return float(np.median(run.errors[-900:]))

    assert median(CONFIG) < 0.75 * median(replace(CONFIG, dead_zone_end=1.0))


@pytest.mark.parametrize(("side", "sign"), [(0.9, 1.0), (0.1, -1.0)])
def test_signs(side: float, sign: float) -> None:
    """Right of the middle: clockwise. Above the middle: gimbal up."""
    box = Box.from_centre(side * WIDTH_PX, (1 - side) * HEIGHT_PX, 40, 40)
    telemetry = Telemetry(yaw_deg=0.0, gimbal_pitch_deg=-30.0, horizontal_fov_deg=FOV_DEG)
    servo = observe(Servo(), Sighting(box, WIDTH_PX, HEIGHT_PX, START_NS, telemetry), CONFIG)
    servo = replace(servo, last=RateCommand(issued_ns=START_NS - 10**9))
    command = steer(servo, START_NS, CONFIG)
    assert command.yaw_deg_s * sign > 0
    assert command.gimbal_pitch_deg_s * sign > 0


def test_the_gimbal_is_not_driven_past_its_limits() -> None:
    box = Box.from_centre(WIDTH_PX / 2, 0.1 * HEIGHT_PX, 40, 40)
    telemetry = Telemetry(gimbal_pitch_deg=CONFIG.max_gimbal_pitch_deg + 0.1)
    servo = observe(Servo(), Sighting(box, WIDTH_PX, HEIGHT_PX, START_NS, telemetry), CONFIG)
    servo = replace(servo, last=RateCommand(issued_ns=START_NS - 10**9))
    assert steer(servo, START_NS, CONFIG).gimbal_pitch_deg_s <= 0.0


def test_a_yaw_across_the_north_or_south_is_a_small_turn() -> None:
    world = PointWorld(lambda t: (176.0 + 6.0 * t, -30.0, 50.0), yaw_deg=176.0)
    servo = Servo()
    for index in range(120):
        world.advance(index * FRAME_S)
        servo = observe(servo, world.see(), CONFIG)
        command = steer(servo, world.now_ns, CONFIG)
        servo = sent(servo, command, world.now_ns, CONFIG)
        world.send(command)
        assert world.error_share() < 0.15
    assert world.yaw_deg > 185


def test_an_old_sighting_changes_nothing() -> None:
    world = PointWorld(standing)
    world.advance(1.0)
    servo = observe(Servo(), world.see(), CONFIG)
    assert observe(servo, replace(world.see(), captured_ns=START_NS), CONFIG) is servo


def test_without_a_target_it_is_neutral() -> None:
    assert steer(Servo(), START_NS, CONFIG).is_neutral


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
boxes = st.builds(
    Box.from_centre,
    st.floats(0, WIDTH_PX),
    st.floats(0, HEIGHT_PX),
    st.floats(1e-3, WIDTH_PX),
    st.floats(1e-3, HEIGHT_PX),
)
telemetries = st.builds(
    Telemetry,
    yaw_deg=st.none() | st.floats(allow_nan=True, allow_infinity=True),
    gimbal_pitch_deg=st.none() | st.floats(allow_nan=True) | st.floats(-95, 45),
    horizontal_fov_deg=st.none() | st.floats(allow_nan=True) | st.floats(1, 179),
)


@given(
    st.lists(
        st.tuples(boxes, telemetries, st.integers(0, 400), st.integers(0, 300), st.booleans()),
        max_size=25,
    )
)
def test_any_history_stays_within_clamp_and_slew(
    history: list[tuple[Box, Telemetry, int, int, bool]],
) -> None:
    servo, now_ns = Servo(), START_NS
    for box, telemetry, gap_ms, age_ms, keep in history:
        now_ns += gap_ms * 1_000_000
        seen = Sighting(box, WIDTH_PX, HEIGHT_PX, now_ns - age_ms * 1_000_000, telemetry)
        servo = observe(servo, seen, CONFIG)
        servo = servo.keep_distance() if keep else servo
        last, command = servo.last, steer(servo, now_ns, CONFIG)
        step_s = min((now_ns - last.issued_ns) / 1e9, 0.1) + 1e-9
        for name, low, high, slew in (
            ("yaw_deg_s", -36.0, 36.0, CONFIG.slew_yaw_deg_s2),
            ("gimbal_pitch_deg_s", -36.0, 36.0, CONFIG.slew_gimbal_pitch_deg_s2),
            ("forward_m_s", -1.0, 3.0, CONFIG.slew_forward_m_s2),
        ):
            value = getattr(command, name)
            assert low - 1e-9 <= value <= high + 1e-9
            assert value == 0.0 or abs(value - getattr(last, name)) <= slew * step_s + 1e-6
        assert command.right_m_s == 0.0
        assert command.up_m_s == 0.0
        servo = sent(servo, command, now_ns, CONFIG)


@given(st.floats(-60, 60), st.floats(-80, 20), st.floats(-25, 25), st.floats(-15, 15))
def test_a_bearing_agrees_with_the_rotation_matrix(
    yaw: float, pitch: float, off_x: float, off_y: float
) -> None:
    """Oracle: turn the pixel's ray by matrices (east, north, up) and read its angles."""
    x = WIDTH_PX / 2 + FOCAL_PX * math.tan(math.radians(off_x))
    y = HEIGHT_PX / 2 + FOCAL_PX * math.tan(math.radians(off_y))
    ray = np.array([(x - WIDTH_PX / 2) / FOCAL_PX, 1.0, -(y - HEIGHT_PX / 2) / FOCAL_PX])
    p, a = math.radians(pitch), math.radians(-yaw)
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    east, north, up = about_z @ about_x @ ray
    azimuth, elevation = bearing_deg(x, y, WIDTH_PX, HEIGHT_PX, FOV_DEG, pitch)
    expected = math.degrees(math.atan2(east, north))
    assert nearest_turn_deg(azimuth + yaw, expected) == pytest.approx(expected, abs=1e-6)
    assert elevation == pytest.approx(
        math.degrees(math.atan2(up, math.hypot(east, north))), abs=1e-6
    )


def test_turns_follow_a_step_with_lag_and_dead_time() -> None:
    turns = Turns().commanded(RateCommand(yaw_deg_s=10.0), START_NS, 0.2)
    yaw, pitch = turns.between(START_NS, START_NS + 10**9, 0.2, 0.1)
    # Integral of 10·(1 − e^(−t/0.2)) over 0.9 s.
    assert yaw == pytest.approx(10 * 0.9 - 10 * 0.2 * (1 - math.exp(-0.9 / 0.2)), rel=1e-9)
    assert pitch == 0.0


def test_turns_do_not_depend_on_how_often_the_command_is_repeated() -> None:
    once = Turns().commanded(RateCommand(yaw_deg_s=10.0), START_NS, 0.2)
    often = once
    for step in range(1, 31):
        often = often.commanded(RateCommand(yaw_deg_s=10.0), START_NS + step * 33_000_000, 0.2)
    span = (START_NS, START_NS + 10**9, 0.2, 0.05)
    assert often.between(*span)[0] == pytest.approx(once.between(*span)[0], rel=1e-4)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"clamp": 1.5}, "clamp"),
        ({"clamp": 0.0}, "clamp"),
        ({"yaw_gain_per_s": math.nan}, "yaw_gain_per_s"),
        ({"dead_zone": 0.3}, "dead_zone 0.3 and forward_cone 0.25"),
        ({"dead_zone_end": 0.0}, "dead_zone_end is 0: expected a value above 0"),
        ({"command_age_ms": 600.0}, "command_age_ms 600 and lost_age_ms 500"),
        ({"command_age_ms": 290.0}, "command_age_ms is 290"),
        ({"abandon_age_s": 0.4}, "lost_age_ms 500 and abandon_age_s 0.4"),
        ({"low_frames": 20}, "low_frames 20 and hold_frames 15"),
        ({"min_height_m": 130.0}, "min_height_m 130 and max_height_m 120"),
        ({"min_gimbal_pitch_deg": 30.0}, "min_gimbal_pitch_deg 30 and max_gimbal_pitch_deg 20"),
        ({"max_backward_m_s": 4.0}, "max_backward_m_s 4 is above"),
        ({"min_link_quality": 2.0}, "min_link_quality"),
        ({"forward_cone": 0.7}, "forward_cone"),
        ({"area_jump": 1.0}, "area_jump"),
        ({"fov_deg": 200.0}, "fov_deg"),
        ({"max_gimbal_pitch_deg": 100.0}, "max_gimbal_pitch_deg"),
        ({"max_distance_m": -1.0}, "max_distance_m"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(values: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        FollowConfig(**values)  # type: ignore[arg-type]
