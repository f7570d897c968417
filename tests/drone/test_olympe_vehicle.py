from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from drone.control import RateCommand
from drone.errors import ControlError
from drone.frame import Telemetry
from drone.olympe_link import LinkState, LinkTiming, OlympeLink
from drone.olympe_models import MODELS
from drone.olympe_vehicle import PCMD, PILOTING_SOURCE, OlympeVehicle, telemetry_of_report
from tests.drone.fake_olympe import FakeDrone, FakeSdk
from tests.fakes import FakeClock

GIMBAL = "gimbal.set_target"
YAW = RateCommand(yaw_deg_s=4.0)
Make = Callable[..., tuple[OlympeVehicle, FakeDrone, FakeClock]]


@pytest.fixture
def make() -> Iterator[Make]:
    links: list[OlympeLink] = []

    def start(number: int = 0x0914) -> tuple[OlympeVehicle, FakeDrone, FakeClock]:
        sdk, clock = FakeSdk(), FakeClock()
        link = OlympeLink(
            "192.168.42.1",
            timing=LinkTiming(watch_s=0.005, backoff_first_s=0.01),
            make_sdk=lambda: sdk,
            find=lambda _ip, _s: MODELS[number],
            clock=clock,
        )
        link.open()
        links.append(link)
        drone = sdk.drones[0]
        drone.sent.clear()
        return OlympeVehicle(link, clock=clock), drone, clock

    yield start
    for link in links:
        link.close()


def reconnected(vehicle: OlympeVehicle) -> FakeDrone:
    """Wait for the session after the first one, whose commands are forgotten."""
    deadline_s = time.monotonic() + 10
    while vehicle.link.session < 2 or vehicle.link.state is not LinkState.CONNECTED:
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
    drone: Any = vehicle.link.drone
    drone.sent.clear()
    return drone  # type: ignore[no-any-return]


def yaws(drone: FakeDrone) -> list[int]:
    return [args["yaw"] for args in drone.take(PCMD)]


def test_a_command_goes_out_in_percent(make: Make) -> None:
    vehicle, drone, _ = make()
    drone.tell("ardrone3.SpeedSettingsState.MaxRotationSpeedChanged", current=80.0)
    vehicle.write(YAW)
    sent = {"flag": 0, "roll": 0, "pitch": 0, "yaw": 5, "gaz": 0, "timestampAndSeqNum": 0}
    assert drone.take(PCMD) == [sent]
    assert all(type(value) is int for value in sent.values())


def test_without_a_controller_there_are_no_sticks_to_take(make: Make) -> None:
    vehicle, drone, _ = make()
    vehicle.write(YAW)
    vehicle.release()
    assert drone.take(PILOTING_SOURCE) == []
    assert yaws(drone) == [10, 0]


def test_sticks_are_taken_once_and_given_back_after_the_zeros(make: Make) -> None:
    vehicle, drone, _ = make(0x0918)
    vehicle.write(RateCommand())
    assert drone.take(PILOTING_SOURCE) == []
    vehicle.write(YAW)
    vehicle.write(YAW)
    assert [args["source"] for args in drone.take(PILOTING_SOURCE)] == ["Controller"]
    vehicle.release()
    vehicle.release()
    names = [name for name, _ in drone.sent]
    assert names[-1] == PILOTING_SOURCE
    assert [args["source"] for args in drone.take(PILOTING_SOURCE)] == ["SkyController"]
    assert yaws(drone)[-1] == 0


def test_sticks_are_forgotten_with_their_connection_and_taken_again(make: Make) -> None:
    vehicle, drone, _ = make(0x0918)
    vehicle.write(YAW)
    assert vehicle.holds_sticks
    drone.connected = False
    again = reconnected(vehicle)
    vehicle.report()
    assert not vehicle.holds_sticks
    vehicle.write(YAW)
    assert [args["source"] for args in again.take(PILOTING_SOURCE)] == ["Controller"]


def test_a_gimbal_that_somebody_left_turning_is_stopped(make: Make) -> None:
    vehicle, drone, clock = make()
    for _ in range(40):
        vehicle.report()
        clock.advance(0.05)
    assert [args["pitch"] for args in drone.take(GIMBAL)] == [0.0] * 5
    assert yaws(drone) == [0]
    vehicle, drone, _ = make(0x0918)  # its pilot may be moving it
    vehicle.report()
    assert drone.sent == []


def test_the_gimbal_s_zeros_are_said_to_their_end_after_the_release(make: Make) -> None:
    vehicle, drone, clock = make(0x0918)
    vehicle.write(RateCommand(gimbal_pitch_deg_s=6.0))
    drone.sent.clear()
    vehicle.release()
    for _ in range(40):
        clock.advance(0.05)
        vehicle.release_if_idle()
    assert [args["pitch"] for args in drone.take(GIMBAL)] == [0.0] * 5
    assert yaws(drone) == [0]


def test_silence_gives_the_sticks_back(make: Make) -> None:
    vehicle, drone, clock = make(0x0918)
    vehicle.write(YAW)
    clock.advance(0.4)
    vehicle.release_if_idle()
    assert vehicle.holds_sticks
    clock.advance(0.2)
    vehicle.release_if_idle()
    assert not vehicle.holds_sticks
    assert yaws(drone)[-1] == 0


def test_a_pilot_who_takes_over_is_obeyed_until_the_commands_end(make: Make) -> None:
    vehicle, drone, _ = make(0x0918)
    source = "skyctrl.CoPilotingState.pilotingSource"
    drone.tell(source, source="SkyController")
    vehicle.write(YAW)
    vehicle.write(YAW)  # not confirmed yet: the sticks are still on their way to us
    assert vehicle.holds_sticks
    drone.tell(source, source="Controller")
    vehicle.write(YAW)
    drone.tell(source, source="SkyController")
    drone.take(PILOTING_SOURCE)
    drone.take(PCMD)
    for _ in range(3):
        with pytest.raises(ControlError, match="the pilot took the sticks back"):
            vehicle.write(YAW)
    assert drone.take(PILOTING_SOURCE) == []
    assert yaws(drone) == [0, 0, 0]
    vehicle.write(RateCommand())
    vehicle.write(YAW)
    assert [args["source"] for args in drone.take(PILOTING_SOURCE)] == ["Controller"]


def test_the_way_home_wins(make: Make) -> None:
    vehicle, drone, _ = make()
    drone.tell("rth.state", state="in_progress", reason="low_battery")
    with pytest.raises(ControlError, match="flies home"):
        vehicle.write(YAW)
    assert yaws(drone) == [0]
    drone.tell("rth.state", state="available", reason="stopped")
    vehicle.write(YAW)
    assert yaws(drone) == [10]


def test_the_gimbal_s_zeros_are_repeated_and_end(make: Make) -> None:
    vehicle, drone, clock = make()
    vehicle.write(RateCommand(gimbal_pitch_deg_s=6.0))
    vehicle.write(RateCommand(gimbal_pitch_deg_s=6.0))
    assert [args["pitch"] for args in drone.take(GIMBAL)] == [pytest.approx(0.2)]
    for _ in range(40):
        vehicle.write(RateCommand())
        clock.advance(0.05)
    assert [args["pitch"] for args in drone.take(GIMBAL)] == [0.0] * 5


def test_a_gimbal_that_moved_when_the_link_broke_is_stopped_after_it(make: Make) -> None:
    vehicle, drone, clock = make()
    vehicle.write(RateCommand(gimbal_pitch_deg_s=6.0))
    drone.connected = False
    again = reconnected(vehicle)
    clock.advance(1.0)
    vehicle.release_if_idle()
    assert [args["pitch"] for args in again.take(GIMBAL)] == [0.0]


def zeros_while_neutral_flows(vehicle: OlympeVehicle, drone: FakeDrone, clock: FakeClock) -> int:
    for _ in range(40):
        vehicle.write(RateCommand())
        vehicle.report()
        clock.advance(0.04)
    pitches = [args["pitch"] for args in drone.take(GIMBAL)]
    assert not any(pitches)
    return len(pitches)


@pytest.mark.parametrize("number", [0x0914, 0x0918])
def test_zeros_that_a_frozen_link_swallowed_are_said_again(make: Make, number: int) -> None:
    vehicle, drone, clock = make(number)
    vehicle.write(RateCommand(gimbal_pitch_deg_s=6.0))
    drone.take(GIMBAL)
    assert zeros_while_neutral_flows(vehicle, drone, clock) == 5
    drone.connected = False
    again = reconnected(vehicle)
    assert zeros_while_neutral_flows(vehicle, again, clock) == 5


def test_a_gimbal_that_we_never_moved_is_its_pilot_s(make: Make) -> None:
    vehicle, drone, clock = make(0x0918)
    vehicle.write(YAW)
    assert zeros_while_neutral_flows(vehicle, drone, clock) == 0
    drone.connected = False
    again = reconnected(vehicle)
    assert zeros_while_neutral_flows(vehicle, again, clock) == 0


def test_the_report_is_plain_json_and_reads_back(make: Make) -> None:
    vehicle, drone, _ = make()
    drone.tell("common.CommonState.BatteryStateChanged", percent=33)
    report = json.loads(json.dumps(vehicle.report()))
    assert report["model"] == "ANAFI"
    assert report["state"] == "CONNECTED"
    assert telemetry_of_report(report) == Telemetry(battery_percent=33)
    assert telemetry_of_report(None) == Telemetry()


def test_zoom_beyond_the_camera_s_is_refused(make: Make) -> None:
    vehicle, drone, _ = make()
    drone.tell("camera.zoom_info", maximum_level=3.0)
    vehicle.zoom(2.0)
    assert [args["target"] for args in drone.take("camera.set_zoom_target")] == [2.0]
    with pytest.raises(ControlError, match=r"expected 1\.\.3"):
        vehicle.zoom(float("nan"))


def test_an_anafi_ai_is_zoomed_through_its_active_camera(make: Make) -> None:
    vehicle, drone, _ = make(0x091A)
    event = "camera2.Event.State"
    drone.tell(event, camera_id=2, active=True, zoom={"zoom_level_max": 6.0})
    drone.tell(event, camera_id=0, active=False, zoom={"zoom_level_max": 1.0})
    vehicle.zoom(5.0)
    sent = drone.take("camera2.Command.SetZoomTarget")
    assert [(args["camera_id"], args["target"]) for args in sent] == [(2, 5.0)]
    assert drone.take("camera.set_zoom_target") == []
    with pytest.raises(ControlError, match=r"expected 1\.\.6"):
        vehicle.zoom(6.5)
