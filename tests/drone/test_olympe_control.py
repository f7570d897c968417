"""The sending thread, with a vehicle that writes down what it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drone.control import RateCommand
from drone.errors import ControlError
from drone.olympe_control import CLOSING_ZEROS, LAST_ZEROS, URGENT_ZEROS, OlympeControl
from drone.olympe_link import LinkState
from drone.sender_core import SenderConfig
from tests.fakes import FakeClock

YAW = RateCommand(yaw_deg_s=4.0)


class FakeVehicle:
    """Keeps what it is told: "move", "zero", "release"; `each` runs in every write."""

    def __init__(self) -> None:
        self.link = SimpleNamespace(state=LinkState.CONNECTED, ip="192.168.42.1")
        self.told: list[str] = []
        self.each: Callable[[RateCommand], None] = lambda _command: None

    def write(self, command: RateCommand) -> None:
        self.each(command)
        self.told.append("zero" if command.is_neutral else "move")

    def release(self) -> None:
        self.told.append("release")

    def release_if_idle(self) -> None:
        pass


class Bench:
    """A control whose clock stands still: no command expires."""

    def __init__(self) -> None:
        self.vehicle, self.clock = FakeVehicle(), FakeClock()
        self.control = OlympeControl(
            cast(Any, self.vehicle), SenderConfig(rate_hz=40.0), self.clock
        )

    def send(self, command: RateCommand) -> None:
        rates = (command.yaw_deg_s, command.gimbal_pitch_deg_s, command.forward_m_s)
        self.control.send(RateCommand(*rates, issued_ns=self.clock.now_ns))

    def move(self) -> None:
        self.control.open()
        self.send(YAW)
        self.wait_for("move")

    def wait_for(self, what: str, times: int = 1) -> None:
        deadline_s = time.monotonic() + 10
        while self.vehicle.told.count(what) < times:
            assert time.monotonic() < deadline_s, self.vehicle.told
            time.sleep(0.002)

    @property
    def after_the_moves(self) -> list[str]:
        told = self.vehicle.told
        return told[len(told) - told[::-1].index("move") :]


@pytest.fixture
def bench() -> Iterator[Bench]:
    one = Bench()
    yield one
    one.control.close()


def test_a_sender_that_fails_goes_on(bench: Bench) -> None:
    with pytest.raises(ControlError, match="not running"):
        bench.send(YAW)
    failing = [True]

    def write(_command: RateCommand) -> None:
        if failing:
            raise RuntimeError("the interface is destroyed")

    bench.vehicle.each = write
    bench.control.open()
    bench.send(YAW)
    deadline_s = time.monotonic() + 10
    while not bench.control.failures and time.monotonic() < deadline_s:
        time.sleep(0.002)
    assert "the interface is destroyed" in str(bench.control.last_error)
    failing.clear()
    bench.wait_for("move")
    bench.control.close()
    assert not bench.control.alive


def test_without_a_connection_commands_are_refused(bench: Bench) -> None:
    bench.control.open()
    bench.vehicle.link.state = LinkState.WAITING
    with pytest.raises(ControlError, match=r"192\.168\.42\.1: not connected"):
        bench.send(YAW)


def test_closing_sends_zeros_and_gives_the_sticks_back(bench: Bench) -> None:
    bench.move()
    bench.control.close()
    assert bench.after_the_moves == ["zero"] * CLOSING_ZEROS + ["release"]
    assert not bench.control.alive


def test_neutral_goes_out_at_once_whenever_it_comes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = bench.control._changed
    wait = changed.wait
    # A tick that does not come by itself: only what is urgent goes out.
    monkeypatch.setattr(changed, "wait", lambda _s: wait(60.0))
    bench.vehicle.each = lambda command: None if command.is_neutral else bench.control.neutral()
    bench.move()
    bench.wait_for("zero")


def test_after_an_override_the_sticks_go_back_behind_a_few_zeros(bench: Bench) -> None:
    bench.move()
    bench.control.neutral()
    bench.wait_for("release")
    assert bench.after_the_moves == ["zero"] * URGENT_ZEROS + ["release"]
    bench.send(YAW)  # granted anew
    bench.wait_for("move", times=bench.vehicle.told.count("move") + 1)


def test_a_last_neutral_command_gives_the_sticks_back(bench: Bench) -> None:
    bench.move()
    bench.send(RateCommand())
    bench.wait_for("release")
    assert bench.after_the_moves == ["zero"] * LAST_ZEROS + ["release"]


@pytest.mark.parametrize("by", ["neutral", "send"])
def test_neutral_that_is_renewed_keeps_the_sticks(bench: Bench, by: str) -> None:
    def renew(command: RateCommand) -> None:
        if command.is_neutral:
            bench.control.neutral() if by == "neutral" else bench.send(RateCommand())

    bench.move()
    bench.vehicle.each = renew
    bench.control.neutral()
    bench.wait_for("zero", times=2 * LAST_ZEROS)
    assert "release" not in bench.vehicle.told
    bench.vehicle.each = lambda _command: None
    bench.wait_for("release")


def test_a_command_takes_an_urgent_neutral_back(bench: Bench) -> None:
    bench.move()
    with bench.control._changed:  # no tick between the two
        bench.control.neutral()
        bench.send(YAW)
    bench.wait_for("move", times=10)
    assert "release" not in bench.vehicle.told


def test_zeros_that_did_not_go_out_do_not_count(bench: Bench) -> None:
    failures = 5 * URGENT_ZEROS

    def write(command: RateCommand) -> None:
        nonlocal failures
        if command.is_neutral and failures:
            failures -= 1
            raise RuntimeError("not sent")

    bench.move()
    bench.vehicle.each = write
    bench.control.neutral()
    bench.wait_for("release")
    assert bench.after_the_moves == ["zero"] * URGENT_ZEROS + ["release"]
