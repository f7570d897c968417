from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable

import pytest

from drone.errors import ControlError
from drone.olympe_link import Backoff, LinkState, LinkTiming, OlympeLink
from drone.olympe_models import MODELS, OlympeModel
from drone.olympe_settings import VehicleSettings
from model.errors import MissingExtraError
from tests.drone.fake_olympe import FakeDrone, FakeSdk

FAST = LinkTiming(backoff_first_s=0.01, backoff_most_s=0.02, watch_s=0.005, open_s=5.0)
ANAFI = MODELS[0x0914]


def link_of(
    sdk: FakeSdk,
    find: Callable[[str, float], OlympeModel] = lambda _ip, _s: ANAFI,
    timing: LinkTiming = FAST,
) -> OlympeLink:
    return OlympeLink("192.168.42.1", timing=timing, make_sdk=lambda: sdk, find=find)


def wait_until(reached: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def test_pauses_double_up_to_the_longest_and_start_anew() -> None:
    backoff = Backoff(0.5, 5.0)
    assert [backoff.next_s() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_an_open_link_is_connected_and_a_closed_one_left_nothing() -> None:
    sdk = FakeSdk()
    sdk.states = {"common.CommonState.BatteryStateChanged": {"percent": 42}}
    link = link_of(sdk)
    link.open()
    assert link.state is LinkState.CONNECTED
    assert (link.session, link.model) == (1, ANAFI)
    assert link.telemetry().telemetry.battery_percent == 42
    with pytest.raises(ControlError, match="open already"):
        link.open()
    link.close()
    link.close()
    (drone,) = sdk.drones
    assert drone.destroyed
    assert drone.callbacks == {}
    assert link.state is LinkState.CLOSED
    with pytest.raises(ControlError, match="not connected"):
        _ = link.drone


def test_a_lost_drone_is_forgotten_and_connected_again() -> None:
    sdk = FakeSdk()
    link = link_of(sdk)
    link.open()
    sdk.drones[0].tell("common.CommonState.BatteryStateChanged", percent=50)
    assert link.telemetry().telemetry.battery_percent == 50
    sdk.drones[0].connected = False
    wait_until(lambda: link.session == 2 and link.state is LinkState.CONNECTED)
    assert sdk.drones[0].destroyed
    assert len(sdk.drones) == 2
    assert link.telemetry().telemetry.battery_percent is None
    link.close()


def test_a_refused_connection_is_tried_again_with_the_same_object() -> None:
    sdk = FakeSdk()
    sdk.refusals = 3
    link = link_of(sdk)
    link.open()
    assert sdk.attempts == 4
    assert len(sdk.drones) == 1
    link.close()
    assert sdk.drones[0].destroyed


def test_a_drone_that_refuses_for_ever_is_given_up_with_the_reason() -> None:
    sdk = FakeSdk()
    sdk.refusals = 10_000
    link = link_of(sdk, timing=LinkTiming(backoff_first_s=0.01, backoff_most_s=0.02, open_s=0.2))
    with pytest.raises(ControlError, match=r"within 0\.2 s .*refused.*another application"):
        link.open()
    assert link.state is LinkState.CLOSED
    assert all(drone.destroyed for drone in sdk.drones)


def test_nobody_there_ends_the_first_attempt_at_once() -> None:
    def nobody(ip: str, _timeout_s: float) -> OlympeModel:
        raise ControlError(f"no drone at {ip}")

    sdk = FakeSdk()
    link = link_of(sdk, nobody)
    with pytest.raises(ControlError, match=r"no drone at 192\.168\.42\.1"):
        link.open()
    assert sdk.drones == []


def test_a_missing_sdk_names_the_extra() -> None:
    def missing() -> FakeSdk:
        raise MissingExtraError("parrot-olympe", "olympe")

    link = OlympeLink("192.168.42.1", timing=FAST, make_sdk=missing, find=lambda _ip, _s: ANAFI)
    with pytest.raises(MissingExtraError, match=r"pip install 'mlkd-track\[olympe\]'"):
        link.open()


def test_a_dying_thread_is_told_to_who_waits() -> None:
    def broken(_ip: str, _timeout_s: float) -> OlympeModel:
        raise ZeroDivisionError

    link = link_of(FakeSdk(), broken)
    for _ in range(2):  # it may be opened again
        with pytest.raises(ControlError, match="failed: ZeroDivisionError"):
            link.open()


@pytest.mark.parametrize("fault", ["subscribe", "unsubscribe", "disconnect", "destroy"])
def test_an_error_of_the_sdk_s_own_is_a_lost_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    def failing(*_: object) -> None:
        raise concurrent.futures.TimeoutError("nobody knows why")

    sdk = FakeSdk()
    link = link_of(sdk)
    link.open()
    if fault == "subscribe":
        monkeypatch.setattr(FakeDrone, fault, failing)
    else:
        monkeypatch.setattr(sdk.drones[0], fault, failing)
    sdk.drones[0].connected = False
    wait_until(lambda: len(sdk.drones) >= 2)
    monkeypatch.undo()
    wait_until(lambda: link.session == 2 and link.state is LinkState.CONNECTED)
    assert sdk.drones[0].destroyed or fault == "destroy"
    assert "nobody knows why" in caplog.text
    link.close()
    link.open()
    link.close()
    assert link.state is LinkState.CLOSED


def test_settings_that_the_drone_does_not_hold_are_listed() -> None:
    sdk = FakeSdk()
    sdk.states = {
        "camera.streaming_mode": {0: {"cam_id": 0, "value": "low_latency"}},
        "rth.delay": {"delay": 30, "min": 0, "max": 120},
        "rth.auto_trigger_mode": {"mode": "on"},
    }
    link = link_of(sdk)
    link.open()
    link.close()
    assert [str(one) for one in link.settings_read_back if not one.applied] == [
        "setting home_delay_s: wanted 10, the drone has 30",
        "setting home_ending: wanted 'hovering', the drone did not answer",
    ]
    assert [name for name, _ in sdk.drones[0].sent] == [
        "camera.set_streaming_mode",
        "rth.set_delay",
        "rth.set_auto_trigger_mode",
        "rth.set_ending_behavior",
    ]


def test_a_camera_without_streaming_modes_is_not_asked_for_one() -> None:
    sdk = FakeSdk()
    state = {"camera_id": 1, "active": True, "zoom": {"zoom_level_max": 6.0}}
    sdk.states = {"camera2.Event.State": {0: {"camera_id": 0, "active": False}, 1: state}}
    link = link_of(sdk, lambda _ip, _s: MODELS[0x091A])
    link.open()
    assert link.state_of("zoom_most") == 6.0
    link.close()
    assert [one.name for one in link.settings_read_back] == [
        "home_delay_s",
        "home_automatic",
        "home_ending",
    ]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"streaming_mode": "fast"}, "streaming_mode is 'fast'"),
        ({"home_delay_s": 500}, r"home_delay_s is 500: expected 0\.\.120"),
        ({"home_ending": "crash"}, "home_ending is 'crash'"),
    ],
)
def test_a_setting_that_cannot_be_is_named(wrong: dict[str, object], reason: str) -> None:
    with pytest.raises(ControlError, match=reason):
        VehicleSettings(**wrong)  # type: ignore[arg-type]
