from __future__ import annotations

import math

import pytest

from drone.frame import Telemetry
from drone.olympe_telemetry import EVENTS, TelemetryStore, merged, telemetry_of_vmeta

S = 1_000_000_000


def test_every_field_carries_its_own_age() -> None:
    store = TelemetryStore()
    store.put({"battery_percent": 80.0}, 10 * S)
    store.put({"yaw_deg": 12.0}, 12 * S)
    seen = store.snapshot(12 * S + S // 2)
    assert seen.telemetry == Telemetry(yaw_deg=12.0, battery_percent=80.0)
    assert seen.age_s == {"battery_percent": 2.5, "yaw_deg": 0.5}
    assert seen.heard_age_s == 0.5


def test_what_the_drone_repeats_grows_old_and_what_it_says_once_does_not() -> None:
    store = TelemetryStore()
    store.put({"battery_percent": 80.0, "height_m": 5.0}, 0)
    assert store.snapshot(S).telemetry.height_m == 5.0
    later = store.snapshot(S + 1_000_000)
    assert later.telemetry.height_m is None
    assert later.telemetry.battery_percent == 80.0
    assert later.age_s["height_m"] == pytest.approx(1.001)


def test_nothing_is_known_of_a_drone_that_fell_silent() -> None:
    store = TelemetryStore()
    store.put({"battery_percent": 80.0, "returning_home": True}, 0)
    store.put({"yaw_deg": 1.0}, S)
    assert store.snapshot(3 * S).telemetry.battery_percent == 80.0
    silent = store.snapshot(3 * S + 1)
    assert silent.telemetry == Telemetry()
    assert silent.age_s["battery_percent"] == pytest.approx(3.0)
    assert silent.returning_home  # its way home is not taken for ended


def test_a_lost_vehicle_is_forgotten() -> None:
    store = TelemetryStore()
    store.put({"battery_percent": 80.0, "returning_home": True}, 0)
    assert store.snapshot(S).returning_home
    store.clear()
    seen = store.snapshot(S)
    assert seen.telemetry == Telemetry()
    assert not seen.returning_home
    assert seen.heard_age_s is None


def test_nothing_heard_is_not_zero() -> None:
    seen = TelemetryStore().snapshot(S)
    assert seen.heard_age_s is None
    assert seen.app_pilots is None
    assert seen.age_s == {}


def test_events_become_fields() -> None:
    read = {name: EVENTS[name] for name in EVENTS}
    quality = read["common.CommonState.LinkSignalQuality"]
    assert quality({"value": 0x45}) == {"link_quality": 1.0}
    assert quality({"value": 0x81}) == {"link_quality": 0.0}
    assert quality({"value": 3}) == {"link_quality": 0.5}
    attitude = read["ardrone3.PilotingState.AttitudeChanged"]({"yaw": math.pi / 2})
    assert attitude["yaw_deg"] == pytest.approx(90.0)
    speed = read["ardrone3.PilotingState.SpeedChanged"]({"speedX": 3.0, "speedY": -4.0})
    assert speed == {"speed_m_s": 5.0}
    home = read["ardrone3.PilotingState.NavigateHomeStateChanged"]
    assert home({"state": "inProgress"}) == {"returning_home": True}
    assert home({"state": "available"}) == {"returning_home": False}
    source = read["skyctrl.CoPilotingState.pilotingSource"]
    assert source({"source": "Controller"}) == {"app_pilots": True}


def test_distance_from_home_is_over_ground() -> None:
    store = TelemetryStore()
    store.put(EVENTS["rth.takeoff_location"]({"latitude": 48.0, "longitude": 2.0}), 0)
    here = EVENTS["ardrone3.PilotingState.GpsLocationChanged"]
    store.put(here({"latitude": 48.001, "longitude": 2.0}), 0)
    # 0.001 degrees of latitude are 111.2 m.
    assert store.snapshot(0).telemetry.home_distance_m == pytest.approx(111.2, abs=0.1)
    store.put(here({"latitude": 48.0, "longitude": 2.001}), 0)
    expected_m = 111.2 * math.cos(math.radians(48.0))
    assert store.snapshot(0).telemetry.home_distance_m == pytest.approx(expected_m, abs=0.1)
    store.put(here({"latitude": 500.0, "longitude": 500.0}), 0)
    assert store.snapshot(0).telemetry.home_distance_m is None


def test_a_take_off_place_that_is_not_known_does_not_hide_home() -> None:
    store = TelemetryStore()
    store.put(EVENTS["rth.takeoff_location"]({"latitude": 500.0, "longitude": 500.0}), 0)
    here = {"latitude": 48.001, "longitude": 2.0}
    store.put(EVENTS["ardrone3.PilotingState.GpsLocationChanged"](here), 0)
    assert store.snapshot(0).telemetry.home_distance_m is None
    home = {"latitude": 48.0, "longitude": 2.0}
    store.put(EVENTS["ardrone3.GPSSettingsState.HomeChanged"](home), 0)
    assert store.snapshot(0).telemetry.home_distance_m == pytest.approx(111.2, abs=0.1)


def test_metadata_of_a_picture_is_read() -> None:
    half = math.radians(30.0) / 2
    values = telemetry_of_vmeta(
        {
            "drone": {
                "quat": {"w": math.cos(half), "x": 0.0, "y": 0.0, "z": math.sin(half)},
                "ground_distance": 12.5,
                "speed": {"north": 3.0, "east": 4.0, "down": 9.0},
                "battery_percentage": 87,
                "flying_state": "FS_HOVERING",
                "piloting_mode": "PM_RETURN_HOME",
            },
            "camera": {
                "quat": {"w": math.cos(half), "x": 0.0, "y": -math.sin(half), "z": 0.0},
                "hfov": math.radians(69.0),
            },
            "links": [{"wifi": {"quality": 3, "rssi": -50}}],
        }
    )
    assert values == {
        "battery_percent": 87.0,
        "height_m": 12.5,
        "yaw_deg": pytest.approx(30.0),
        "speed_m_s": 5.0,
        "flying_state": "hovering",
        "returning_home": True,
        "gimbal_pitch_deg": pytest.approx(-30.0),
        "horizontal_fov_deg": pytest.approx(69.0),
        "link_quality": 0.5,
    }


@pytest.mark.parametrize(
    "vmeta",
    [
        {},
        {"drone": None, "camera": [], "links": [None]},
        {"drone": {"quat": {"w": 0.0, "x": 0.0, "y": 0.0, "z": 0.0}, "ground_distance": math.nan}},
        {"camera": {"hfov": 0.0, "quat": {"w": 1.0}}, "links": [{"starfish": {}}]},
    ],
)
def test_metadata_that_says_nothing_gives_nothing(vmeta: dict[str, object]) -> None:
    assert telemetry_of_vmeta(vmeta) == {}


def test_a_picture_s_word_stands_over_an_older_one() -> None:
    base = Telemetry(yaw_deg=1.0, battery_percent=50.0)
    assert merged(base, {"yaw_deg": 2.0, "zoom_level": 3.0}) == Telemetry(
        yaw_deg=2.0, battery_percent=50.0
    )
