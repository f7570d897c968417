from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drone.control import RateCommand
from drone.errors import ControlError
from drone.olympe_command import NEUTRAL, FullScale, PilotingLimits, piloting_command

OPEN = PilotingLimits(yaw_percent=100, tilt_percent=100, climb_percent=100, gimbal_percent=100)
FULL = FullScale(yaw_deg_s=40.0, up_m_s=2.0, gimbal_deg_s=30.0, speed_m_s=8.0)
any_rate = st.floats(allow_nan=True, allow_infinity=True)


def test_signs_and_scale_are_those_of_the_piloting_command() -> None:
    asked = RateCommand(
        yaw_deg_s=10.0, gimbal_pitch_deg_s=-15.0, forward_m_s=2.0, right_m_s=-4.0, up_m_s=1.0
    )
    out = piloting_command(asked, OPEN, FULL)
    assert (out.yaw, out.pitch, out.roll, out.gaz) == (25, 25, -50, 50)
    assert out.gimbal == pytest.approx(-0.5)
    assert out.flag == 1


def test_roll_and_pitch_count_only_where_there_are_some() -> None:
    assert piloting_command(RateCommand(yaw_deg_s=10.0), OPEN, FULL).flag == 0


def test_what_is_too_much_is_cut_to_the_limit() -> None:
    asked = RateCommand(60.0, 60.0, -20.0, 20.0, 20.0)
    out = piloting_command(asked, PilotingLimits(), FULL)
    assert (out.yaw, out.pitch, out.roll, out.gaz, out.gimbal) == (20, -20, 20, 20, 0.2)


@given(any_rate, any_rate, any_rate, any_rate, any_rate, st.integers(1, 100))
def test_nothing_but_whole_numbers_within_the_limits_goes_out(
    yaw: float, gimbal: float, forward: float, right: float, up: float, most: int
) -> None:
    limits = PilotingLimits(most, most, most, most)
    out = piloting_command(RateCommand(yaw, gimbal, forward, right, up), limits, FULL)
    for percent in (out.yaw, out.pitch, out.roll, out.gaz):
        assert type(percent) is int
        assert -most <= percent <= most
    assert -most / 100 <= out.gimbal <= most / 100
    if not all(math.isfinite(rate) for rate in (yaw, gimbal, forward, right, up)):
        assert out == NEUTRAL


def test_a_drone_that_reports_no_full_speed_gets_nothing() -> None:
    out = piloting_command(RateCommand(yaw_deg_s=5.0), OPEN, FullScale(yaw_deg_s=0.0))
    assert out == NEUTRAL


@pytest.mark.parametrize("value", [0, 101, -5, 20.0, True])
def test_a_limit_that_cannot_be_is_named(value: int) -> None:
    with pytest.raises(ControlError, match=r"tilt_percent is .*expected a whole number, 1\.\.100"):
        PilotingLimits(tilt_percent=value)
