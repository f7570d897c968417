from __future__ import annotations

import functools
import gc
import threading
from pathlib import Path

import pytest

from drone.errors import ControlError, SourceError
from drone.frame import Telemetry
from drone.olympe_drone import OlympeDrone
from drone.olympe_link import LinkState, LinkTiming, OlympeLink
from drone.olympe_models import identify
from drone.olympe_sdk import import_olympe
from tests.olympe.conftest import DeviceKeeper
from tests.olympe.loopback import IP, Device, Video, wait_until


def test_what_the_sdk_makes_at_its_import_is_not_walked_through_in_flight() -> None:
    import_olympe()
    frozen = gc.get_freeze_count()
    assert frozen > 100_000
    import_olympe()
    assert gc.get_freeze_count() == frozen, "what came since is not kept for good"
    assert gc.isenabled()


def test_states_of_the_drone_arrive_with_their_ages(device: Device) -> None:
    link = OlympeLink(IP)
    link.open()
    try:
        assert link.model is not None
        assert link.model.name == "ANAFI"
        seen = link.telemetry()
        assert seen.telemetry.battery_percent == 87
        assert seen.telemetry.flying_state == "hovering"
        assert seen.telemetry.link_quality == 1.0
        assert seen.telemetry.yaw_deg == pytest.approx(90.0, abs=0.01)
        assert seen.telemetry.speed_m_s == pytest.approx(5.0)
        assert set(seen.age_s) >= {"battery_percent", "yaw_deg", "height_m"}
        assert link.state_of("yaw_full_deg_s") == 40.0
        assert link.state_of("gimbal_full_deg_s") == 30.0

        device.send("common.CommonState.BatteryStateChanged", percent=9)
        wait_until(lambda: link.telemetry().telemetry.battery_percent == 9)
        newer = link.telemetry()
        assert newer.heard_age_s is not None
        assert newer.age_s["battery_percent"] < newer.age_s["flying_state"]
    finally:
        link.close()
    assert link.state is LinkState.CLOSED


def test_settings_are_set_and_read_back(device: Device) -> None:
    link = OlympeLink(IP)
    link.open()
    link.close()
    device.wait_for("camera.set_streaming_mode", value="low_latency")
    device.wait_for("rth.set_delay", delay=10)
    device.wait_for("rth.set_auto_trigger_mode", mode="on")
    device.wait_for("rth.set_ending_behavior", ending_behavior="hovering")
    assert len(link.settings_read_back) == 4
    assert all(result.applied for result in link.settings_read_back)


def test_a_setting_that_the_drone_does_not_keep_is_reported(device: Device) -> None:
    device.become("anafi", stubborn=True)
    link = OlympeLink(IP)
    link.open()
    link.close()
    refused = [str(result) for result in link.settings_read_back if not result.applied]
    assert refused == [
        "setting streaming_mode: wanted 'low_latency', the drone has 'high_reliability'"
    ]


def test_nobody_at_the_address_is_said_at_once() -> None:
    link = OlympeLink(IP, find=functools.partial(identify, port=9))
    with pytest.raises(ControlError, match=r"no drone at 127\.0\.0\.1.*expected a powered drone"):
        link.open()
    assert link.state is LinkState.CLOSED


def test_a_model_that_is_not_supported_is_named(device: Device) -> None:
    device.become("bebop2")
    with pytest.raises(ControlError, match="model 0x090c: expected ANAFI, ANAFI USA"):
        OlympeLink(IP).open()


def test_a_second_application_is_refused_with_the_reason(device: Device) -> None:
    first = OlympeLink(IP)
    first.open()
    try:
        second = OlympeLink(IP, timing=LinkTiming(open_s=3.0))
        with pytest.raises(ControlError, match="is another application connected"):
            second.open()
        assert first.state is LinkState.CONNECTED
    finally:
        first.close()


def test_a_drone_that_was_killed_is_connected_again(device: Device, keeper: DeviceKeeper) -> None:
    link = OlympeLink(IP)
    link.open()
    try:
        device.kill()
        wait_until(lambda: link.state is LinkState.WAITING)
        with pytest.raises(ControlError, match="not connected"):
            link.command("ardrone3.Piloting.PCMD", flag=0)
        assert link.telemetry().telemetry.battery_percent is None
        keeper.get()
        wait_until(lambda: link.state is LinkState.CONNECTED, 30.0)
        assert link.session == 2
    finally:
        link.close()


def test_a_drone_that_froze_is_lost_refuses_and_comes_back(device: Device) -> None:
    link = OlympeLink(IP)
    link.open()
    try:
        device.freeze()
        # The SDK needs 8 s to notice; until then nothing is known of a drone that is silent.
        wait_until(lambda: link.telemetry().telemetry == Telemetry())
        wait_until(lambda: link.state is not LinkState.CONNECTED, 20.0)
        wait_until(lambda: link.state is LinkState.WAITING)
        device.thaw()
        wait_until(lambda: link.state is LinkState.CONNECTED, 40.0)
        assert link.session == 2
        assert link.telemetry().telemetry.battery_percent == 87
    finally:
        link.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_closing_leaves_no_thread_and_no_file_open(device: Device, video: Video) -> None:
    def cycle() -> None:
        device.forget()
        with OlympeDrone(IP, url=video.url) as drone:
            assert drone.source.read(1.0) is not None

    cycle()  # the first one starts the SDK's own log thread
    wait_until(lambda: "olympe-link" not in {t.name for t in threading.enumerate()})
    threads, files = threading.active_count(), open_files()
    for _ in range(3):
        cycle()
    wait_until(lambda: threading.active_count() <= threads)
    wait_until(lambda: open_files() <= files)


def test_a_drone_without_video_leaves_nothing_open(device: Device) -> None:
    drone = OlympeDrone(IP, url=f"rtsp://{IP}:9/live")
    with pytest.raises(SourceError, match="no video server answers"):
        drone.open()
    assert drone.link.state is LinkState.CLOSED
    assert not drone.control.alive
