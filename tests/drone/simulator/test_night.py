from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from drone.control import RateCommand
from drone.errors import ControlError, FrameTimeoutError, SourceError
from drone.frame import Frame
from drone.simulator import SCENARIOS, NightSimulator, Scenario
from drone.simulator.flight import FlightDynamics

SMALL = replace(SCENARIOS["default"], width_px=320, height_px=180)
HOVER = replace(SMALL, flight="hover")


def test_the_same_seed_gives_the_same_night_and_another_seed_another() -> None:
    def run(scenario: Scenario) -> list[Frame]:
        simulator = NightSimulator(scenario)
        return [simulator.step(0.1) for _ in range(12)]

    first, second = run(SMALL), run(SMALL)
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.image, b.image)
        assert (a.truth, a.telemetry, a.captured_ns) == (b.truth, b.telemetry, b.captured_ns)
    assert not np.array_equal(first[-1].image, run(replace(SMALL, seed=8))[-1].image)


def test_frames_are_numbered_timed_and_as_dark_as_real_night_video() -> None:
    simulator = NightSimulator()
    frames = [simulator.step() for _ in range(3)]
    assert [f.number for f in frames] == [0, 1, 2]
    assert [f.captured_ns for f in frames] == [round(n * 1e9 / 30) for n in (1, 2, 3)]
    frame = frames[-1]
    assert frame.image.shape == (720, 1280, 3)
    assert frame.image.dtype == np.uint8
    for _ in range(6):
        frame = simulator.step(5.0)
        grey = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        assert 5 < grey.mean() < 40  # the real first frames lie between 4 and 66
        assert np.percentile(grey, 99.9) > 80
        assert frame.truth["target"] is not None


def test_the_scripted_pilot_keeps_a_target_worth_tracking_for_a_minute() -> None:
    simulator = NightSimulator(SMALL)
    places = []
    for _ in range(150):
        box = simulator.step(0.4).truth["target"]
        assert box is not None
        places.append((box[0] + box[2] / 2, box[1] + box[3] / 2))
        assert max(box[2:]) * 4 > 60  # px of the full frame, four times as wide
    xs, ys = np.array(places).T
    assert xs.min() > 0
    assert xs.max() < 320
    assert np.ptp(xs) > 0.25 * 320
    assert np.ptp(ys) > 0.2 * 180


@pytest.mark.parametrize("name", ["stop_and_go", "alike", "glare", "pan", "wind"])
@pytest.mark.slow
def test_every_escorted_scenario_keeps_its_target_in_frame(name: str) -> None:
    simulator = NightSimulator(replace(SCENARIOS[name], width_px=320, height_px=180))
    seen = [simulator.step(0.25).truth["target"] is not None for _ in range(240)]
    assert np.mean(seen) > 0.95


@pytest.mark.slow
def test_the_trees_of_the_occlusion_scenario_hide_the_target_now_and_then() -> None:
    scenario = replace(SCENARIOS["occlusion"], width_px=320, height_px=180)
    simulator = NightSimulator(scenario)
    hidden = [simulator.step(0.2).truth["target"] is None for _ in range(300)]
    assert 0.04 < np.mean(hidden) < 0.4
    events = np.count_nonzero(np.diff(np.array(hidden).astype(int)) == 1)
    assert events >= 3


def command(simulator: NightSimulator, seconds: float, **rates: float) -> Frame:
    """Renew a command at 20 Hz for a while."""
    frame = simulator.step(0.0)
    for _ in range(round(seconds * 20)):
        simulator.send(RateCommand(**rates, issued_ns=simulator.now_ns))  # type: ignore[arg-type]
        frame = simulator.step(0.05)
    return frame


def test_commands_move_the_camera_and_the_picture() -> None:
    simulator = NightSimulator(replace(HOVER, noise=0.0, vehicles=0, pedestrians=0))
    before = simulator.step(0.05)
    after = command(simulator, 0.3, yaw_deg_s=20.0)
    assert after.telemetry.yaw_deg is not None
    assert after.telemetry.yaw_deg > 0.5
    # The camera turns clockwise: what stands still moves to the left, more so far ahead (top).
    a, b = (cv2.cvtColor(f.image, cv2.COLOR_BGR2GRAY).astype(np.float32) for f in (before, after))
    (dx, _), _ = cv2.phaseCorrelate(a[:90], b[:90])
    assert dx < -1
    pitch = simulator.pose.pitch_deg
    command(simulator, 0.5, gimbal_pitch_deg_s=-20.0)
    assert simulator.pose.pitch_deg < pitch - 5
    height = simulator.pose.height_m
    command(simulator, 1.0, up_m_s=-2.0)
    assert simulator.pose.height_m < height - 0.5


def test_a_command_that_is_not_renewed_ends_in_a_hover() -> None:
    simulator = NightSimulator(HOVER)
    command(simulator, 1.0, forward_m_s=6.0, yaw_deg_s=30.0)
    assert simulator.step(0.05).telemetry.flying_state == "flying"
    simulator.step(simulator.expiry_s + 4.0)
    place = simulator.pose
    frame = simulator.step(1.0)
    assert frame.telemetry.flying_state == "hovering"
    assert simulator.pose.yaw_deg == pytest.approx(place.yaw_deg, abs=0.01)
    assert math.hypot(simulator.pose.x_m - place.x_m, simulator.pose.y_m - place.y_m) < 0.05


def test_neutral_brakes_at_once() -> None:
    slow, quick = NightSimulator(HOVER), NightSimulator(HOVER)
    for simulator in (slow, quick):
        command(simulator, 1.0, forward_m_s=8.0)
    quick.neutral()
    for simulator in (slow, quick):
        simulator.step(0.2)
    slow_speed, quick_speed = (s.step(0.0).telemetry.speed_m_s for s in (slow, quick))
    assert slow_speed is not None
    assert quick_speed is not None
    assert quick_speed < 0.75 * slow_speed


def test_the_first_command_takes_over_from_the_pilot_who_comes_back_later() -> None:
    simulator = NightSimulator(SMALL, pilot_returns_s=5.0)
    simulator.send(RateCommand(issued_ns=simulator.now_ns))
    assert simulator.step(2.0).telemetry.flying_state == "flying"  # neutral takes nothing over
    command(simulator, 0.2, yaw_deg_s=5.0)
    assert simulator.step(4.0).telemetry.flying_state == "hovering"
    simulator.step(3.0)
    assert simulator.step(1.0).telemetry.flying_state == "flying"


def test_commands_are_refused_when_closed_or_not_finite() -> None:
    simulator = NightSimulator(SMALL)
    with pytest.raises(ControlError, match="expected finite rates"):
        simulator.send(RateCommand(yaw_deg_s=math.nan, issued_ns=0))
    simulator.close()
    with pytest.raises(ControlError, match="closed; open it before"):
        simulator.send(RateCommand())
    simulator.neutral()


def test_live_frames_follow_the_clock_and_the_newest_wins() -> None:
    simulator = NightSimulator(SMALL)
    simulator.open()
    try:
        with pytest.raises(SourceError, match="runs in real time"):
            simulator.step()
        numbers = []
        while len(numbers) < 5:
            frame = simulator.read(20.0)
            assert frame is not None
            numbers.append(frame.number)
        assert numbers == sorted(set(numbers))
        while simulator.dropped < 4:
            pass
        late = simulator.read(20.0)
        assert late is not None
        assert late.number > numbers[-1] + 4
        assert late.captured_ns <= simulator.now_ns
    finally:
        simulator.close()
    simulator.close()
    assert simulator.read(0.1) is None or simulator.read(0.1) is None


def test_live_commands_use_the_clock_of_the_host() -> None:
    simulator = NightSimulator(HOVER, dynamics=FlightDynamics(expiry_s=30.0))
    simulator.open()
    try:
        simulator.send(RateCommand(yaw_deg_s=40.0, issued_ns=simulator.now_ns))
        for _ in range(400):
            frame = simulator.read(20.0)
            assert frame is not None
            if abs(frame.telemetry.yaw_deg or 0.0) > 3:
                break
        else:
            raise AssertionError("the camera did not turn")
    finally:
        simulator.close()


def test_a_live_read_times_out_between_frames() -> None:
    simulator = NightSimulator(replace(SMALL, fps=1.0))
    simulator.open()
    try:
        simulator.read(20.0)
        with pytest.raises(FrameTimeoutError, match="simulator:default: no frame within"):
            simulator.read(0.01)
    finally:
        simulator.close()


def test_settings_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(SourceError, match="expected 64 … 4096"):
        replace(SMALL, width_px=10)
    with pytest.raises(SourceError, match="expected 1 … 240"):
        replace(SMALL, fps=0.0)
    with pytest.raises(SourceError, match="is unknown: expected one of"):
        NightSimulator("noon")
