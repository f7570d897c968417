"""The pilot: levels, confirmations, overrides and the vehicle's refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from drone.control import RateCommand
from drone.errors import ControlError
from drone.frame import Frame, Telemetry
from gcs.pilot import GrantError, Pilot, situation_of
from gcs.session import Phase
from gcs.situation import ControlLevel
from gcs.target import Answer
from model.confidence import Level
from model.geometry import Box
from tests.fakes import FakeClock, draw_scene
from tests.gcs.flight import BOX, CONFIG, MS, NOW_NS, WELL


class Vehicle:
    """Records what it is sent."""

    expiry_s = 0.25

    def __init__(self) -> None:
        self.sent: list[RateCommand | None] = []
        self.broken = False

    def send(self, command: RateCommand) -> None:
        if self.broken:
            raise ControlError("out of reach")
        self.sent.append(command)

    def neutral(self) -> None:
        if self.broken:
            raise ControlError("out of reach")
        self.sent.append(None)


class Flight:
    """A pilot with a target right of the middle, at 30 fps."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.vehicle = Vehicle()
        self.events: list[tuple[str, str]] = []
        self.pilot = Pilot(
            self.vehicle,
            CONFIG,
            note=lambda kind, message: self.events.append((kind, message)),
            clock=self.clock,
        )
        self.number = 0

    def frame(self, **changes: Any) -> Frame:
        self.number += 1
        self.clock.advance(0.033)
        fields: dict[str, Any] = {
            "number": self.number,
            "image": draw_scene(250, 120),
            "captured_ns": self.clock() - 20 * MS,
            "telemetry": WELL,
        }
        return Frame(**{**fields, **changes})

    def see(self, answer: Answer | None = None, **changes: Any) -> RateCommand | None:
        answer = answer or Answer(Box.from_centre(250, 120, 24, 24), 0.9, Level.SURE)
        decision = self.pilot.decide(self.frame(**changes), answer, Phase.TRACKING)
        if decision.command is not None:
            self.pilot.gate.send(decision.command)
        return decision.command


def steered() -> tuple[Flight, RateCommand]:
    """A flight on CAMERA, and a command that is decided and not yet passed on."""
    flight = Flight()
    flight.pilot.grant(ControlLevel.CAMERA)
    for _ in range(10):
        command = flight.see()
    assert command is not None
    assert not command.is_neutral
    answer = Answer(Box.from_centre(250, 120, 24, 24), 0.9, Level.SURE)
    late = flight.pilot.decide(flight.frame(), answer, Phase.TRACKING).command
    assert late is not None
    assert not late.is_neutral
    flight.vehicle.sent.clear()
    return flight, late


@pytest.mark.parametrize("event", ["stop", "level", "override"])
def test_what_was_decided_before_a_stop_does_not_go_out_after_it(event: str) -> None:
    flight, late = steered()
    if event == "stop":
        flight.pilot.reset()
    elif event == "level":
        flight.pilot.grant(ControlLevel.CAMERA)
    else:
        flight.pilot.override("api")
        flight.vehicle.sent.clear()
    flight.pilot.gate.send(late)
    assert flight.vehicle.sent == []
    assert flight.pilot.refusal is not None
    if event != "override":  # boxes from after it steer again
        for _ in range(10):
            flight.see()
        assert any(c is not None and not c.is_neutral for c in flight.vehicle.sent)
        assert flight.pilot.refusal is None


def test_a_vehicle_out_of_reach_is_told_as_the_reason() -> None:
    flight, late = steered()
    flight.vehicle.broken = True
    flight.pilot.gate.send(late)
    assert flight.pilot.refusal == "out of reach"


def test_off_leaves_the_vehicle_to_its_pilot() -> None:
    flight = Flight()
    assert flight.see() is None
    assert flight.vehicle.sent == []


def test_camera_turns_towards_the_target_and_stamps_the_capture() -> None:
    flight = Flight()
    flight.pilot.grant(ControlLevel.CAMERA)
    commands = [flight.see() for _ in range(5)]
    last = commands[-1]
    assert last is not None
    assert last.yaw_deg_s > 0
    assert last.forward_m_s == 0
    assert last.issued_ns == flight.clock() - 20 * MS
    assert commands[0] is not None
    assert commands[0].is_neutral


def test_follow_flies_only_after_the_confirmation() -> None:
    flight = Flight()
    flight.pilot.grant(ControlLevel.FOLLOW)
    with pytest.raises(GrantError, match="no target is held"):
        flight.pilot.confirm()
    middle = Answer(Box.from_centre(160, 120, 24, 24), 0.9, Level.SURE)
    far = Answer(Box.from_centre(160, 120, 20, 20), 0.9, Level.SURE)
    for _ in range(5):
        flight.see(middle)
    flight.pilot.confirm()
    commands = [flight.see(far) for _ in range(30)]
    assert commands[-1] is not None
    assert commands[-1].forward_m_s > 0.1
    flight.pilot.reset()
    commands = [flight.see(far) for _ in range(30)]
    assert {command.forward_m_s for command in commands if command is not None} == {0.0}


@pytest.mark.parametrize("source", ["key", "api", "stick"])
def test_an_override_is_neutral_before_it_returns(source: str) -> None:
    """No frame and no passing of time is needed: the call itself sends it."""
    flight = Flight()
    flight.pilot.grant(ControlLevel.CAMERA)
    for _ in range(5):
        flight.see()
    answer = Answer(Box.from_centre(250, 120, 24, 24), 0.9, Level.SURE)
    late = flight.pilot.decide(flight.frame(), answer, Phase.TRACKING)
    assert late.command is not None
    assert not late.command.is_neutral
    if source == "stick":
        flight.pilot.stick(0.1)
        assert flight.pilot.status.level is ControlLevel.CAMERA
        flight.pilot.stick(-0.5)
    else:
        flight.pilot.override(source)
    assert flight.vehicle.sent[-1] is None
    assert flight.pilot.status.level is ControlLevel.OFF
    # What the loop had decided before the override does not go out after it.
    before = len(flight.vehicle.sent)
    flight.pilot.gate.send(late.command)
    assert len(flight.vehicle.sent) == before
    assert flight.see() is None
    assert "override" in [kind for kind, _ in flight.events]


def test_a_stick_that_is_no_number_counts_as_moved() -> None:
    flight = Flight()
    flight.pilot.grant(ControlLevel.CAMERA)
    flight.pilot.stick(math.nan)
    assert flight.pilot.status.level is ControlLevel.OFF


def test_turning_the_level_off_is_neutral_at_once() -> None:
    flight = Flight()
    flight.pilot.grant(ControlLevel.CAMERA)
    for _ in range(5):
        flight.see()
    flight.pilot.grant(ControlLevel.OFF)
    assert flight.vehicle.sent[-1] is None


def test_a_release_sends_one_neutral_then_nothing() -> None:
    flight = Flight()
    flight.pilot.grant(ControlLevel.CAMERA)
    for _ in range(5):
        flight.see()
    released = flight.see(telemetry=replace(WELL, battery_percent=3.0))
    assert released is not None
    assert released.is_neutral
    assert flight.see() is None


def test_a_vehicle_out_of_reach_is_noted_once_and_does_not_stop_the_loop() -> None:
    flight = Flight()
    flight.pilot.grant(ControlLevel.CAMERA)
    flight.vehicle.broken = True
    for _ in range(5):
        flight.see()
    flight.pilot.override("key")
    assert [kind for kind, _ in flight.events].count("control_failed") == 1


def test_a_link_that_was_lost_asks_for_a_new_confirmation() -> None:
    flight = Flight()
    flight.pilot.grant(ControlLevel.FOLLOW)
    for _ in range(5):
        flight.see()
    flight.pilot.confirm()
    flight.vehicle.broken = True
    flight.see()
    flight.vehicle.broken = False
    assert not flight.pilot.status.confirmed
    back = [flight.see() for _ in range(CONFIG.regain_frames)]
    assert [command is not None and command.is_neutral for command in back] == [True, True, False]
    assert all(command is not None and command.forward_m_s == 0.0 for command in back)


def test_each_change_of_rule_is_noted_with_its_reason() -> None:
    flight = Flight()
    flight.pilot.grant(ControlLevel.CAMERA)
    for _ in range(6):
        flight.see()
    noted = [message for kind, message in flight.events if kind == "control"]
    assert [message.split(":")[0] for message in noted] == ["unproven", "camera"]


def test_a_repeated_old_box_of_a_miss_is_not_taken_for_a_new_one() -> None:
    frame = Frame(1, draw_scene(160, 120), NOW_NS)
    for answer in (
        Answer(BOX, 0.1, Level.LOW),
        Answer(BOX, None, Level.LOW),
        Answer(BOX, 0.9, Level.SURE, refused="the engine failed"),
    ):
        assert situation_of(frame, answer, Phase.TRACKING, NOW_NS, 0.3).box is None
    kept = situation_of(frame, Answer(BOX, 0.5, Level.LOW), Phase.TRACKING, NOW_NS, 0.3)
    assert kept.box == BOX
    assert kept.low


def test_a_damaged_picture_never_gives_a_box_to_steer_by() -> None:
    frame = replace(Frame(1, draw_scene(160, 120), NOW_NS), damaged=True)
    seen = situation_of(frame, Answer(BOX, 0.9, Level.SURE), Phase.TRACKING, NOW_NS, 0.3)
    assert (seen.box, seen.damaged) == (None, True)


def test_misses_end_in_neutral_when_the_last_box_is_too_old() -> None:
    flight = Flight()
    flight.pilot.grant(ControlLevel.CAMERA)
    for _ in range(5):
        flight.see()
    miss = Answer(Box.from_centre(250, 120, 24, 24), 0.1, Level.LOW)
    commands = [flight.see(miss) for _ in range(12)]
    for step, command in enumerate(commands):
        age_ms = 20 + 33 * (step + 1)
        assert command is not None
        if age_ms > CONFIG.command_age_ms:
            assert command.is_neutral
    assert commands[0] is not None
    assert not commands[0].is_neutral
    assert commands[-1] is not None
    assert commands[-1].is_neutral


def test_the_hard_limit_is_a_share_of_what_the_vehicle_says_is_full() -> None:
    flight = Flight()
    flight.pilot.grant(ControlLevel.CAMERA)
    slow = replace(WELL, yaw_full_deg_s=40.0, gimbal_full_deg_s=30.0)
    answer = Answer(Box.from_centre(290, 220, 24, 24), 0.9, Level.SURE)
    commands = [flight.see(answer, telemetry=slow) for _ in range(12)]
    yaws = [command.yaw_deg_s for command in commands if command is not None]
    pitches = [command.gimbal_pitch_deg_s for command in commands if command is not None]
    assert max(yaws) == pytest.approx(CONFIG.clamp * 40.0)
    assert min(pitches) == pytest.approx(-CONFIG.clamp * 30.0)


@pytest.mark.parametrize("told", [0.0, -1.0, math.nan, math.inf])
def test_a_full_rate_that_cannot_be_is_not_believed(told: float) -> None:
    said = Telemetry(yaw_full_deg_s=told, gimbal_full_deg_s=told)
    assert CONFIG.of_vehicle(said) == CONFIG
