from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from drone.control import RateCommand
from drone.errors import ControlError
from drone.olympe_command import PilotingLimits
from drone.olympe_control import OlympeControl
from drone.olympe_link import OlympeLink
from drone.olympe_vehicle import OlympeVehicle
from drone.sender import SenderProcess
from tests.olympe.loopback import IP, ROOT, Device, wait_until

PCMD = "ardrone3.Piloting.PCMD"
GIMBAL = "gimbal.set_target"
SOURCE = "skyctrl.CoPiloting.setPilotingSource"


@contextmanager
def flying(device: Device, **limits: int) -> Iterator[tuple[OlympeControl, OlympeVehicle]]:
    device.forget()
    link = OlympeLink(IP)
    link.open()
    vehicle = OlympeVehicle(link, PilotingLimits(**limits))
    control = OlympeControl(vehicle)
    control.open()
    try:
        yield control, vehicle
    finally:
        control.close()
        link.close()


def now(**rates: float) -> RateCommand:
    return RateCommand(**rates, issued_ns=time.monotonic_ns())  # type: ignore[arg-type]


def rates_of(line: dict[str, Any]) -> tuple[int, ...]:
    return tuple(line["args"][key] for key in ("flag", "roll", "pitch", "yaw", "gaz"))


def is_silent(device: Device) -> bool:
    """True when no piloting command came for 0.3 s."""
    mark = device.mark()
    time.sleep(0.3)
    return not device.commands(PCMD, since=mark)


def test_rates_arrive_as_percent_of_what_the_drone_says_is_full(device: Device) -> None:
    with flying(device, yaw_percent=100, climb_percent=100, tilt_percent=100) as (control, _):
        mark = device.mark()
        control.send(now(yaw_deg_s=10.0, forward_m_s=2.0, right_m_s=-1.6, up_m_s=0.5))
        # Full are 40 °/s of yaw and 2 m/s of climb, as the device reports, and 8 m/s as assumed.
        seen = device.wait_for(PCMD, since=mark, yaw=25)
    assert rates_of(seen) == (1, -20, 25, 25, 25)


def test_too_much_is_clamped_and_arrives_as_the_limit(device: Device) -> None:
    with flying(device) as (control, _):
        mark = device.mark()
        control.send(now(yaw_deg_s=80.0, forward_m_s=-15.0, right_m_s=15.0, up_m_s=9.0))
        seen = device.wait_for(PCMD, since=mark, flag=1)
        assert rates_of(seen) == (1, 20, -20, 20, 20)
        mark = device.mark()
        control.send(now(yaw_deg_s=float("nan")))
        assert rates_of(device.wait_for(PCMD, since=mark, yaw=0)) == (0, 0, 0, 0, 0)


def test_a_command_that_is_not_renewed_turns_into_zeros_and_then_silence(device: Device) -> None:
    with flying(device) as (control, vehicle):
        mark = device.mark()
        control.send(now(yaw_deg_s=4.0, gimbal_pitch_deg_s=6.0))
        device.wait_for(PCMD, since=mark, yaw=10)
        device.wait_for(PCMD, since=mark, yaw=0)
        wait_until(lambda: not vehicle.holds_sticks)
        wait_until(lambda: is_silent(device))
        lines = device.commands(PCMD, since=mark)
    yaws = [line["args"]["yaw"] for line in lines]
    first_zero = yaws.index(0)
    assert yaws[:first_zero] == [10] * first_zero
    assert first_zero >= 2, "it is repeated while it is fresh"
    assert set(yaws[first_zero:]) == {0}
    assert len(yaws) - first_zero >= 10, "zeros are said explicitly, and often"


def test_an_old_command_never_goes_out(device: Device) -> None:
    with flying(device) as (control, _):
        mark = device.mark()
        issued_ns = time.monotonic_ns() - 400_000_000
        control.send(RateCommand(yaw_deg_s=8.0, issued_ns=issued_ns))
        device.wait_for(PCMD, since=mark, yaw=0)
        assert {line["args"]["yaw"] for line in device.commands(PCMD, since=mark)} == {0}


def test_the_gimbal_moves_at_a_share_of_its_speed_and_is_stopped(device: Device) -> None:
    def tilts(share: float) -> Callable[[dict[str, Any]], bool]:
        """The wire rounds to 32 bits."""
        return lambda line: (
            line.get("name") == GIMBAL and line["args"]["pitch"] == pytest.approx(share)
        )

    with flying(device) as (control, _):
        mark = device.mark()
        control.send(now(gimbal_pitch_deg_s=-3.0))
        seen = device.wait(tilts(-0.1), since=mark)
        assert seen["args"]["control_mode"] == "velocity"
        assert seen["args"]["yaw_frame_of_reference"] == "none"
        assert seen["args"]["roll_frame_of_reference"] == "none"
        control.send(now(gimbal_pitch_deg_s=80.0))
        device.wait(tilts(0.2), since=mark)
        control.neutral()
        mark = device.mark()
        wait_until(lambda: len(device.commands(GIMBAL, since=mark)) >= 3)
        assert device.commands(GIMBAL, since=mark)[-1]["args"]["pitch"] == 0.0


def test_zoom_is_set_within_what_the_camera_offers(device: Device) -> None:
    with flying(device) as (_, vehicle):
        mark = device.mark()
        vehicle.zoom(2.0)
        seen = device.wait_for("camera.set_zoom_target", since=mark)
        assert (seen["args"]["control_mode"], seen["args"]["target"]) == ("level", 2.0)
        with pytest.raises(ControlError, match=r"zoom level 4\.0: expected 1\.\.3"):
            vehicle.zoom(4.0)


def test_an_anafi_ai_is_zoomed_by_its_own_messages(device: Device) -> None:
    device.become("anafi-ai")
    with flying(device) as (_, vehicle):
        wait_until(lambda: vehicle.link.state_of("zoom_most") == 6.0)
        asked = [one.name for one in vehicle.link.settings_read_back]
        assert asked == ["home_delay_s", "home_automatic", "home_ending"]
        assert all(one.applied for one in vehicle.link.settings_read_back)
        mark = device.mark()
        vehicle.zoom(5.0)
        seen = device.wait_for("camera2.Command.SetZoomTarget", since=mark)
        assert (seen["args"]["camera_id"], seen["args"]["target"]) == (1, 5.0)
        wait_until(lambda: vehicle.link.state_of("zoom_level") == 5.0)
        with pytest.raises(ControlError, match=r"zoom level 7\.0: expected 1\.\.6"):
            vehicle.zoom(7.0)


def test_closing_sends_zeros_last(device: Device) -> None:
    with flying(device) as (control, _):
        mark = device.mark()
        control.send(now(yaw_deg_s=4.0))
        device.wait_for(PCMD, since=mark, yaw=10)
        control.close()
        device.wait_for(PCMD, since=mark, yaw=0)
        yaws = [line["args"]["yaw"] for line in device.commands(PCMD, since=mark)]
        assert yaws[-1] == 0
        with pytest.raises(ControlError, match="not running"):
            control.send(now(yaw_deg_s=4.0))


def test_the_drone_s_way_home_is_not_disturbed(device: Device) -> None:
    home = "ardrone3.PilotingState.NavigateHomeStateChanged"
    with flying(device) as (control, vehicle):
        device.send(home, state="inProgress", reason="lowBattery")
        wait_until(lambda: vehicle.link.telemetry().returning_home)
        mark = device.mark()
        control.send(now(yaw_deg_s=4.0))
        device.wait_for(PCMD, since=mark)
        wait_until(lambda: control.failures > 0)
        assert "flies home" in str(control.last_error)
        assert {line["args"]["yaw"] for line in device.commands(PCMD, since=mark)} == {0}
        device.send(home, state="available", reason="stopped")


def test_the_sticks_are_taken_with_the_first_command_and_given_back(device: Device) -> None:
    device.become("skycontroller3")
    with flying(device) as (control, vehicle):
        assert vehicle.link.model is not None
        assert vehicle.link.model.through_controller
        mark = device.mark()
        control.neutral()
        control.send(now(yaw_deg_s=4.0))
        device.wait_for(SOURCE, since=mark, source="Controller")
        device.wait_for(PCMD, since=mark, yaw=10)
        wait_until(lambda: vehicle.link.telemetry().app_pilots is True)
        assert vehicle.holds_sticks
        device.wait_for(SOURCE, since=mark, source="SkyController")
        assert not vehicle.holds_sticks


def test_a_pilot_who_takes_the_sticks_back_keeps_them(device: Device) -> None:
    device.become("skycontroller3")
    with flying(device) as (control, vehicle):
        mark = device.mark()
        control.send(now(yaw_deg_s=4.0))
        wait_until(lambda: vehicle.link.telemetry().app_pilots is True)
        device.wait_for(PCMD, since=mark, yaw=10)
        control.send(now(yaw_deg_s=4.0))
        device.send("skyctrl.CoPilotingState.pilotingSource", source="SkyController")
        wait_until(lambda: vehicle.link.telemetry().app_pilots is False)
        mark = device.mark()
        for _ in range(10):
            control.send(now(yaw_deg_s=4.0))
            time.sleep(0.03)
        assert not vehicle.holds_sticks
        assert "took the sticks back" in str(control.last_error)
        assert device.commands(SOURCE, since=mark) == []
        assert {line["args"]["yaw"] for line in device.commands(PCMD, since=mark)} <= {0}


def test_the_sender_in_its_own_process_flies_the_drone(device: Device) -> None:
    device.forget()
    mark = device.mark()
    sender = SenderProcess("drone.olympe_vehicle:open_vehicle", {"ip": IP})
    sender.open(timeout_s=90.0)
    try:
        # Whatever a sender that died before it left turning.
        assert device.wait_for(GIMBAL, since=mark)["args"]["pitch"] == 0.0
        mark = device.mark()
        sender.send(now(yaw_deg_s=4.0))
        device.wait_for(PCMD, since=mark, yaw=10)
        device.wait_for(PCMD, since=mark, yaw=0)
        wait_until(lambda: (sender.status.report or {}).get("state") == "CONNECTED")
        report = sender.status.report
        assert report is not None
        assert report["model"] == "ANAFI"
        assert report["telemetry"]["battery_percent"] == 87
    finally:
        sender.close()


PARENT = """
    import time
    from drone.control import RateCommand
    from drone.sender import SenderProcess

    sender = SenderProcess("drone.olympe_vehicle:open_vehicle", {"ip": "127.0.0.1"})
    sender.open(timeout_s=90)
    while True:
        sender.send(RateCommand(yaw_deg_s=4.0, issued_ns=time.monotonic_ns()))
        time.sleep(0.03)
"""


def test_a_parent_that_is_killed_ends_in_zeros_at_the_drone(device: Device) -> None:
    device.forget()
    mark = device.mark()
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PARENT)], cwd=ROOT)
    try:
        device.wait_for(PCMD, 90.0, mark, yaw=10)
        mark = device.mark()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(5)
        device.wait_for(PCMD, since=mark, yaw=0)
        wait_until(lambda: len(device.commands(PCMD, since=mark)) > 10)
        yaws = [line["args"]["yaw"] for line in device.commands(PCMD, since=mark)]
        assert set(yaws[yaws.index(0) :]) == {0}
    finally:
        parent.kill()
        parent.wait(5)
