"""The level of control over HTTP: grant, confirm, take over, stop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drone.control import Told
from drone.errors import ControlError
from drone.frame import Frame, Telemetry
from gcs.flights import list_flights
from gcs.station import Station, assemble
from tests.fakes import BrightnessBackend, FakeControl, MovingSource
from tests.serving import (
    MemoryClient,
    flight_folder,
    in_memory,
    make_station,
    settings_for,
    wait_until,
)

WELL = Telemetry(
    yaw_deg=0.0,
    gimbal_pitch_deg=-20.0,
    height_m=30.0,
    home_distance_m=5.0,
    battery_percent=90.0,
    link_quality=1.0,
    flying_state="hovering",
)

MOVE = {"yaw_deg_s": 10}


class FlyingSource(MovingSource):
    """The moving square, seen from a vehicle that tells its state; can hide the square."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = False
        self.telemetry = WELL

    def read(self, timeout_s: float) -> Frame | None:
        frame = super().read(timeout_s)
        if frame is None:
            return None
        image = frame.image * 0 + 20 if self.hidden else frame.image
        return replace(frame, image=image, telemetry=self.telemetry)


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def source() -> FlyingSource:
    return FlyingSource()


@pytest.fixture
def station(tmp_path: Path, source: FlyingSource, control: FakeControl) -> Station:
    return make_station(tmp_path, source, control=control)


@pytest.fixture
def client(station: Station) -> Iterator[MemoryClient]:
    with in_memory(station) as made:
        wait_until(lambda: station.hub.latest_picture)
        yield made


def start(client: MemoryClient, station: Station) -> None:
    newest = station.hub.latest_picture
    source = station.feed.source
    assert newest is not None
    assert isinstance(source, MovingSource)
    number = newest.status.frame_id or 0
    x, y = source.place(number)
    body = {"box": [x - 14, y - 14, 28, 28], "frame_id": number}
    answer = client.post("/api/tracking/start", json=body)
    assert answer.is_success, answer.text


def grant(client: MemoryClient, level: str) -> dict[str, Any]:
    answer = client.post("/api/follow", json={"level": level})
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body


def confirm(client: MemoryClient) -> None:
    wait_until(lambda: client.post("/api/follow/confirm").is_success)


def later_frames(station: Station, count: int = 10) -> None:
    """Wait until the loop has looked at some more frames."""
    first = station.status().frame_id or 0
    wait_until(lambda: (station.status().frame_id or 0) > first + count)


def kinds(station: Station) -> list[str]:
    return [event.kind for event in station.journal.events]


def test_off_sends_nothing_while_tracking_and_while_lost(
    client: MemoryClient, station: Station, source: FlyingSource, control: FakeControl
) -> None:
    assert client.get("/api/follow").json()["level"] == "OFF"
    start(client, station)
    later_frames(station)
    assert control.sent == []
    source.hidden = True
    wait_until(lambda: station.status().state == "LOST")
    later_frames(station, 2)
    neutrals = control.neutrals
    assert client.post("/api/camera", json=MOVE).status_code == 204
    later_frames(station)
    assert [command.yaw_deg_s for command in control.sent] == [10]
    assert control.neutrals == neutrals, "the move by hand is not cut short"


def test_camera_turns_and_never_flies(
    client: MemoryClient, station: Station, control: FakeControl
) -> None:
    assert grant(client, "CAMERA")["level"] == "CAMERA"
    assert control.sent == [], "nothing is tracked"
    start(client, station)
    wait_until(lambda: any(command.yaw_deg_s for command in control.sent))
    status = client.get("/api/status").json()
    assert (status["control"], status["control_confirmed"]) == ("CAMERA", False)
    assert status["control_reason"]
    assert client.post("/api/follow/confirm").status_code == 409
    later_frames(station)
    assert all(command.forward_m_s == 0 for command in control.sent)


def test_follow_is_confirmed_first_and_again_after_a_loss(
    client: MemoryClient, station: Station, source: FlyingSource, control: FakeControl
) -> None:
    early = client.post("/api/follow/confirm")
    assert early.status_code == 409
    assert "level is OFF" in early.json()["detail"]
    grant(client, "FOLLOW")
    untracked = client.post("/api/follow/confirm")
    assert untracked.status_code == 409
    assert "no target is held" in untracked.json()["detail"]
    start(client, station)
    wait_until(lambda: client.get("/api/follow").json()["rule"] == "unconfirmed")
    confirm(client)
    wait_until(lambda: client.get("/api/status").json()["control_confirmed"])
    source.hidden = True
    wait_until(lambda: station.status().state == "LOST")
    lost = client.get("/api/follow").json()
    assert lost["confirmed"] is False
    sent = len([command for command in control.sent if not command.is_neutral])
    assert client.post("/api/follow/confirm").status_code == 409
    source.hidden = False
    wait_until(lambda: station.status().state == "TRACKING")
    later_frames(station)
    assert client.get("/api/follow").json()["confirmed"] is False
    assert all(c.forward_m_s == 0 for c in [c for c in control.sent if not c.is_neutral][sent:])
    if client.get("/api/follow").json()["level"] == "OFF":  # a slow machine: lost for 5 s
        grant(client, "FOLLOW")
    confirm(client)


def test_an_override_is_neutral_before_it_answers_and_nothing_follows(
    client: MemoryClient, station: Station, control: FakeControl
) -> None:
    grant(client, "CAMERA")
    start(client, station)
    wait_until(lambda: any(command.yaw_deg_s for command in control.sent))
    neutrals = control.neutrals
    body = client.post("/api/follow/override", json={"source": "key"}).json()
    sent = len(control.sent)
    assert body["level"] == "OFF"
    assert control.neutrals > neutrals
    later_frames(station)
    assert all(command.is_neutral for command in control.sent[sent:])
    assert client.get("/api/status").json()["control"] == "OFF"
    assert "override" in kinds(station)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"content": b"stop", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        {"json": {"source": "operator", "other": [1]}},
        {"json": []},
        {"content": b"x" * 100_000},
    ],
)
def test_an_override_is_never_refused_for_its_body(
    client: MemoryClient, control: FakeControl, sent: dict[str, Any]
) -> None:
    grant(client, "FOLLOW")
    neutrals = control.neutrals
    answer = client.post("/api/follow/override", **sent)
    assert answer.is_success, answer.text
    assert answer.json()["level"] == "OFF"
    assert control.neutrals > neutrals


def test_a_stop_is_never_refused_for_its_body(client: MemoryClient, station: Station) -> None:
    start(client, station)
    assert client.post("/api/tracking/stop", content=b"now").is_success


def test_stop_is_neutral_at_once_and_asks_for_a_new_confirmation(
    client: MemoryClient, station: Station, control: FakeControl
) -> None:
    grant(client, "FOLLOW")
    start(client, station)
    confirm(client)
    wait_until(lambda: any(command.yaw_deg_s for command in control.sent))
    neutrals = control.neutrals
    assert client.post("/api/tracking/stop").is_success
    sent = len(control.sent)
    assert control.neutrals > neutrals
    later_frames(station)
    assert len(control.sent) == sent, "nothing is commanded without a target"
    assert client.get("/api/follow").json()["confirmed"] is False
    folder = flight_folder(station)
    noted = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert {"follow_confirmed", "control"} <= {event["kind"] for event in noted}


def test_a_hand_on_the_camera_takes_over(
    client: MemoryClient, station: Station, control: FakeControl
) -> None:
    grant(client, "CAMERA")
    start(client, station)
    wait_until(lambda: any(command.yaw_deg_s for command in control.sent))
    assert client.post("/api/camera", json=MOVE).status_code == 204
    sent = len(control.sent)
    follow = client.get("/api/follow").json()
    assert (follow["level"], control.sent[-1].yaw_deg_s) == ("OFF", 10)
    later_frames(station)
    assert control.sent[sent:] == []
    wait_until(lambda: "override" in kinds(station))


def test_a_weak_battery_takes_the_level_away(
    client: MemoryClient, station: Station, source: FlyingSource
) -> None:
    grant(client, "CAMERA")
    start(client, station)
    source.telemetry = replace(WELL, battery_percent=9.0)
    wait_until(lambda: client.get("/api/follow").json()["level"] == "OFF")
    wait_until(lambda: "control_released" in kinds(station))
    (said,) = [e.message for e in station.journal.events if e.kind == "control_released"]
    assert said == "battery at 9 %: expected 20 % or more"


def test_a_vehicle_out_of_reach_is_noted_and_the_track_goes_on(
    tmp_path: Path, source: FlyingSource
) -> None:
    class Gone(FakeControl):
        def send(self, command: object) -> None:
            raise ControlError("no drone answers")

    station = make_station(tmp_path, source, control=Gone())
    with in_memory(station) as client:
        wait_until(lambda: station.hub.latest_picture)
        grant(client, "CAMERA")
        start(client, station)
        wait_until(lambda: "control_failed" in kinds(station))
        later_frames(station)
        assert station.status().state == "TRACKING"
        assert "loop_error" not in kinds(station)


@pytest.mark.parametrize("body", [{"level": "AUTO"}, {"level": 2}, {}, {"level": "OFF", "x": 1}])
def test_unknown_levels_are_refused(client: MemoryClient, body: dict[str, Any]) -> None:
    answer = client.post("/api/follow", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/api/follow").json()["level"] == "OFF"


def test_a_source_that_cannot_be_commanded_has_no_levels(tmp_path: Path) -> None:
    with in_memory(make_station(tmp_path)) as client:
        for path in ("", "/confirm", "/override"):
            body = {"level": "CAMERA"} if not path else {}
            assert client.post(f"/api/follow{path}", json=body).status_code == 409
        assert client.get("/api/status").json()["control"] == "OFF"


def test_the_settings_reach_the_controller(tmp_path: Path) -> None:
    limits = {"clamp": 0.1, "hold_frames": 20.0}
    settings = settings_for(tmp_path, follow=limits)
    station = assemble(settings, MovingSource(), BrightnessBackend(), control=FakeControl())
    assert station.pilot is not None
    assert station.pilot.config.max_yaw_deg_s == pytest.approx(18.0)


def test_the_end_of_the_service_takes_the_level_away(
    client: MemoryClient, station: Station, control: FakeControl
) -> None:
    grant(client, "FOLLOW")
    neutrals = control.neutrals
    station.take_over("shutdown")
    assert control.neutrals > neutrals
    assert client.get("/api/follow").json()["level"] == "OFF"


class FakeVehicle(FakeControl):
    """A vehicle that the station opens and closes; a test can move its sticks."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0
        self.overruled: Callable[[], None] | None = None

    def open(self, overruled: Callable[[], None], told: Told) -> None:
        self.overruled = overruled
        told("connected")

    def close(self) -> None:
        self.closed += 1


def test_the_vehicles_sticks_take_over_and_its_end_is_the_stations(tmp_path: Path) -> None:
    vehicle = FakeVehicle()
    station = make_station(tmp_path, FlyingSource(), control=vehicle)
    station.vehicle = vehicle
    with in_memory(station) as client:
        grant(client, "CAMERA")
        neutrals = vehicle.neutrals
        assert vehicle.overruled is not None
        vehicle.overruled()
        assert vehicle.neutrals > neutrals
        assert client.get("/api/follow").json()["level"] == "OFF"
        assert vehicle.closed == 0
    assert vehicle.closed == 1


def test_to_calm_the_station_voids_the_confirmation_before_the_loop_hears_of_it(
    client: MemoryClient, station: Station
) -> None:
    grant(client, "FOLLOW")
    start(client, station)
    confirm(client)
    assert station.pilot is not None
    with station.pilot._lock:  # the loop cannot decide anything meanwhile
        assert station.pilot.status.confirmed
        station.calm()
        assert not station.pilot.status.confirmed


def test_an_override_waits_for_no_body(
    client: MemoryClient, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gcs.routes.follow.BODY_TIMEOUT_S", 1.0)
    meanwhile: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(0.5)
        meanwhile.append(control.neutrals)
        await asyncio.sleep(30)

    grant(client, "FOLLOW")
    neutrals, began = control.neutrals, time.monotonic()
    answer = client.post("/api/follow/override", content=endless())
    assert answer.is_success
    assert meanwhile[0] > neutrals, "it hovers before the body is there"
    assert time.monotonic() - began < 5


def test_what_happens_between_flights_is_on_disk(tmp_path: Path, control: FakeControl) -> None:
    station = make_station(tmp_path, FlyingSource(), control=control)
    file = station.settings.flights_dir / "station.jsonl"
    with in_memory(station) as client:
        grant(client, "CAMERA")
        client.post("/api/follow/override", json={"source": "stick"})
        wait_until(lambda: "override" in kinds(station))
    noted = [json.loads(line) for line in file.read_text().splitlines()]
    by_kind = {event["kind"]: event for event in noted}
    assert {"control_level", "override"} <= by_kind.keys()
    assert by_kind["override"]["wall"].startswith("20")
    assert by_kind["control_level"]["monotonic_ns"] < by_kind["override"]["monotonic_ns"]
    assert list_flights(station.settings.flights_dir) == []
