from __future__ import annotations

import contextlib
import gc
import socket
import time
from pathlib import Path

import httpx
import pytest

from gcs import app
from gcs.situation import ControlLevel
from tests.fakes import FakeControl
from tests.serving import make_station, served, wait_until


def test_what_is_loaded_before_serving_is_not_walked_through_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = []
    monkeypatch.setattr(
        app.Server, "run", lambda _self, sockets: frozen.append(gc.get_freeze_count())
    )
    station = make_station(tmp_path)
    before = gc.get_freeze_count()
    try:
        with app.listen(station.settings) as listener:
            app.serve(station, listener)
    finally:
        gc.unfreeze()
    assert frozen[0] > before + 10_000


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_idle_connections_keep_nobody_from_an_override(tmp_path: Path) -> None:
    station = make_station(tmp_path, control=FakeControl())
    with served(station) as address, contextlib.ExitStack() as idle:
        for _ in range(150):
            idle.enter_context(connect(address))
        for path in ("/api/follow/override", "/api/tracking/stop"):
            assert httpx.post(f"http://{address}{path}").status_code != 503


def test_a_connection_that_asks_for_nothing_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "FIRST_REQUEST_S", 0.3)
    station = make_station(tmp_path)
    with served(station) as address, connect(address) as silent, connect(address) as half:
        half.sendall(b"GET /health HT")
        began = time.monotonic()
        assert silent.recv(1) == b""
        assert half.recv(1) == b""
        assert time.monotonic() - began < 5
        with connect(address) as used:
            used.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert used.recv(12) == b"HTTP/1.1 200"
            time.sleep(0.6)
            used.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            wait_until(lambda: b"HTTP/1.1 200" in used.recv(4096))


def test_the_end_of_the_service_hovers_before_it_waits(tmp_path: Path) -> None:
    control = FakeControl()
    station = make_station(tmp_path, control=control)
    assert station.pilot is not None
    with served(station) as address:
        assert httpx.get(f"http://{address}/health").status_code == 200
        station.pilot.grant(ControlLevel.CAMERA)
        taken = [e for e in station.journal.events if e.kind == "override"]
        assert taken == []
    kinds = [e.message for e in station.journal.events if e.kind == "override"]
    assert any("shutdown" in message for message in kinds), kinds


def test_many_sockets_fit_under_the_limit_of_open_files() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        app.allow_many_sockets()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised == (app.MOST_OPEN_FILES if hard < 0 else min(hard, app.MOST_OPEN_FILES))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
