"""A station around fakes: in memory, or served on loopback."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from drone.control import VehicleControl
from drone.source import FrameSource
from gcs.app import Server, create_app, listen, server_config
from gcs.follow import Follow
from gcs.settings import Settings, load_settings
from gcs.station import Station, assemble
from tests.fakes import BrightnessBackend, MovingSource


def settings_for(folder: Path, **flags: Any) -> Settings:
    """Settings of a test: any free port, flights in a folder."""
    return load_settings({"port": 0, "flights_dir": folder / "flights", **flags})


def make_station(
    folder: Path,
    source: FrameSource | None = None,
    backend: BrightnessBackend | None = None,
    control: VehicleControl | None = None,
    follow: Follow | None = None,
    **flags: Any,
) -> Station:
    """A station around a moving square; its source is open, its loop is not started.

    It is patient unless told otherwise: a loaded machine must not look like a stalled source.
    """
    patience = {"stall_s": 10.0, "reconnect_s": 60.0}
    station = assemble(
        settings_for(folder, **{**patience, **flags}),
        source or MovingSource(),
        backend or BrightnessBackend(),
        control=control,
        follow=follow,
    )
    station.feed.open()
    return station


def wait_until(true: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            raise AssertionError("it never happened")
        time.sleep(0.005)


def flight_folder(station: Station) -> Path:
    """The folder of the only flight that was logged."""
    (manifest,) = station.settings.flights_dir.glob("*/manifest.json")
    return manifest.parent


class MemoryClient:
    """Talks to an application without a socket."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
            base = "http://127.0.0.1"
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


@contextmanager
def in_memory(station: Station) -> Iterator[MemoryClient]:
    """Run a station's loop and talk to its application in memory."""
    station.start()
    try:
        yield MemoryClient(create_app(station))
    finally:
        station.stop()


@contextmanager
def served(station: Station) -> Iterator[str]:
    """Serve a station on loopback; yields its address, host:port."""
    listener = listen(station.settings)
    server = Server(server_config(station), station)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the service did not stop"
