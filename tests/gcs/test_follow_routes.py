from __future__ import annotations

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI

from drone.control import RateCommand
from drone.frame import Frame, Telemetry
from gcs.pilot import Pilot
from gcs.problems import add_handlers
from gcs.routes import follow
from gcs.session import Phase
from gcs.situation import ControlLevel
from gcs.target import Answer
from model.confidence import Level
from model.geometry import Box
from tests.fakes import FakeClock, draw_scene


class Vehicle:
    expiry_s = 0.25

    def __init__(self) -> None:
        self.neutrals = 0
        self.sent: list[RateCommand] = []

    def send(self, command: RateCommand) -> None:
        self.sent.append(command)

    def neutral(self) -> None:
        self.neutrals += 1


def app_of(pilot: Pilot | None) -> FastAPI:
    app = FastAPI()
    add_handlers(app)
    app.include_router(follow.router)
    if pilot is not None:
        app.state.pilot = pilot
    return app


def call(app: FastAPI, method: str, path: str, body: Any = None) -> httpx.Response:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://station") as client:
            return await client.request(method, path, json=body)

    return asyncio.run(once())


def hold_a_target(pilot: Pilot, clock: FakeClock) -> None:
    well = Telemetry(
        height_m=30.0,
        home_distance_m=5.0,
        battery_percent=90.0,
        link_quality=1.0,
        flying_state="hovering",
    )
    answer = Answer(Box.from_centre(160, 120, 24, 24), 0.9, Level.SURE)
    for number in range(12):
        clock.advance(0.033)
        frame = Frame(number, draw_scene(160, 120), clock() - 1, telemetry=well)
        pilot.decide(frame, answer, Phase.TRACKING)


def test_grant_confirm_and_override() -> None:
    clock, vehicle = FakeClock(), Vehicle()
    pilot = Pilot(vehicle, clock=clock)
    app = app_of(pilot)
    assert call(app, "GET", "/api/follow").json()["level"] == "OFF"
    early = call(app, "POST", "/api/follow/confirm")
    assert early.status_code == 409
    assert "level is OFF" in early.json()["detail"]
    assert call(app, "POST", "/api/follow", {"level": "FOLLOW"}).json()["confirmed"] is False
    hold_a_target(pilot, clock)
    waiting = call(app, "GET", "/api/follow").json()
    assert (waiting["rule"], waiting["action"]) == ("unconfirmed", "CAMERA")
    assert call(app, "POST", "/api/follow/confirm").json()["confirmed"] is True
    hold_a_target(pilot, clock)
    assert call(app, "GET", "/api/follow").json()["rule"] == "clear"
    over = call(app, "POST", "/api/follow/override", {"source": "key"}).json()
    assert (over["level"], over["rule"]) == ("OFF", "override")
    assert vehicle.neutrals == 2, "at once, and by the override"
    assert pilot.status.level is ControlLevel.OFF


def test_off_hovers_at_once() -> None:
    vehicle = Vehicle()
    pilot = Pilot(vehicle, clock=FakeClock())
    app = app_of(pilot)
    call(app, "POST", "/api/follow", {"level": "CAMERA"})
    assert call(app, "POST", "/api/follow", {"level": "OFF"}).json()["level"] == "OFF"
    assert vehicle.neutrals == 1


def test_a_wrong_level_is_refused() -> None:
    app = app_of(Pilot(Vehicle(), clock=FakeClock()))
    assert call(app, "POST", "/api/follow", {"level": "AUTO"}).status_code == 422
    assert call(app, "POST", "/api/follow", {"level": "OFF", "x": 1}).status_code == 422


def test_without_a_vehicle_there_is_nothing_to_grant() -> None:
    refusal = call(app_of(None), "POST", "/api/follow", {"level": "CAMERA"})
    assert refusal.status_code == 409
    assert refusal.json()["mend"] == "serve the simulator or a drone"
