from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gcs.routes import video
from gcs.routes.video import BadMessageError, parse
from gcs.station import Station
from tests.fakes import BrightnessBackend, MovingSource
from tests.serving import make_station, served, wait_until

TOKEN = "0123456789abcdef-night"


def open_stream(address: str, **more: Any) -> ClientConnection:
    return connect(f"ws://{address}/api/video", max_size=None, proxy=None, **more)


def receive(socket: ClientConnection) -> tuple[dict[str, Any], bytes]:
    message = socket.recv(timeout=20)
    assert isinstance(message, bytes)
    (length,) = struct.unpack_from("<I", message)
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def acknowledge(socket: ClientConnection, header: dict[str, Any]) -> None:
    socket.send(json.dumps({"ack": header["sequence"]}))


def drain(socket: ClientConnection) -> None:
    """Read until the other side ends it."""
    while True:
        socket.recv(timeout=20)


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return make_station(tmp_path, MovingSource(30), max_viewers=2, stall_s=0.5)


@pytest.fixture
def address(station: Station) -> Iterator[str]:
    with served(station) as made:
        wait_until(lambda: station.hub.latest_picture)
        yield made


def test_frame_and_result_come_together(station: Station, address: str) -> None:
    source = station.feed.source
    assert isinstance(source, MovingSource)
    with open_stream(address) as socket:
        header, _ = receive(socket)
        x, y = source.place(header["frame_id"])
        body = {"box": [x - 14, y - 14, 28, 28], "frame_id": header["frame_id"]}
        answer = httpx.post(f"http://{address}/api/tracking/start", json=body)
        assert answer.is_success, answer.text
        acknowledge(socket, header)
        tracked = 0
        while tracked < 10:
            header, jpeg = receive(socket)
            acknowledge(socket, header)
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert image.shape[:2] == (header["size"][1], header["size"][0])
            if header["state"] != "TRACKING":
                continue
            tracked += 1
            bright = np.argwhere(image.min(axis=2) > 150)
            row, column = bright.mean(axis=0)
            box = header["box"]
            assert abs(box[0] + box[2] / 2 - column) < 12, "the box lies on its own pixels"
            assert abs(box[1] + box[3] / 2 - row) < 12
            assert 0 < header["age_ms"] < 5000
            assert header["latency"]["encode_ms"] > 0
        assert header["latency"]["round_trip_ms"] > 0


def test_one_picture_in_flight(station: Station, address: str) -> None:
    with open_stream(address) as socket:
        header, _ = receive(socket)
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.5)
        newest = station.status().sequence
        assert newest > header["sequence"] + 5, "the loop went on"
        acknowledge(socket, header)
        after, _ = receive(socket)
        assert after["sequence"] >= newest, "the newest, not the next"
        socket.send(json.dumps({"ack": 0}))
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.3)


def test_a_slow_reader_slows_neither_loop_nor_others(station: Station, address: str) -> None:
    with open_stream(address) as slow, open_stream(address) as quick:
        receive(slow)
        before = station.status().frame_id
        assert before is not None
        seen = []
        for _ in range(30):
            header, _ = receive(quick)
            seen.append(header["frame_id"])
            acknowledge(quick, header)
        wait_until(lambda: (station.status().frame_id or 0) > before + 20)
        assert len(seen) == 30
        gaps = np.diff([n for n in seen if n is not None])
        assert np.median(gaps) == 1, "the quick one gets every frame"


def test_seats_are_limited_and_freed(station: Station, address: str) -> None:
    with open_stream(address) as first, open_stream(address) as second:
        receive(first)
        receive(second)
        with open_stream(address) as third, pytest.raises(ConnectionClosed) as caught:
            third.recv(timeout=20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1013
        assert "2 of 2 viewers" in caught.value.rcvd.reason
        response = httpx.get(f"http://{address}/api/video.mjpg")
        assert response.status_code == 503
        assert response.json()["title"] == "Viewers full"
    wait_until(lambda: station.hub.viewers == 0)
    with open_stream(address) as socket:
        assert receive(socket)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"ack": "1"}', '{"ack": -1}', '{"ack": 1, "hold": 2}', "[" * 9999]
)
def test_what_is_no_acknowledgement_ends_the_view(text: str) -> None:
    with pytest.raises(BadMessageError, match=r'expected \{"ack"'):
        parse(text)


def test_parse() -> None:
    assert parse('{"ack": 5}') == {"ack": 5}
    assert parse('{"hold": 0}') == {"hold": 0}


def test_a_bad_message_closes_that_viewer_only(station: Station, address: str) -> None:
    with open_stream(address) as good, open_stream(address) as bad:
        receive(bad)
        bad.send("hello")
        with pytest.raises(ConnectionClosed) as caught:
            drain(bad)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008
        header, _ = receive(good)
        acknowledge(good, header)
        assert receive(good)
    with open_stream(address) as large:
        large.send(b"x")
        with pytest.raises(ConnectionClosed):
            drain(large)
    assert station.loop.alive


def test_a_viewer_that_went_to_sleep_loses_its_seat(
    station: Station, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "ACK_TIMEOUT_S", 0.2)
    with open_stream(address) as socket:
        receive(socket)
        wait_until(lambda: station.hub.viewers == 0)


def test_a_held_frame_outlives_the_thinning(station: Station, address: str) -> None:
    with open_stream(address) as socket:
        header, _ = receive(socket)
        socket.send(json.dumps({"hold": header["frame_id"]}))
        acknowledge(socket, header)
        wait_until(lambda: (station.status().frame_id or 0) > header["frame_id"] + 45)
        body = {"point": [0.5, 0.5], "units": "fraction", "frame_id": header["frame_id"]}
        answer = httpx.post(f"http://{address}/api/tracking/start", json=body)
        assert answer.is_success, answer.text
        assert answer.json()["replayed"] > 10


def test_a_frozen_source_is_told_without_a_picture(station: Station, address: str) -> None:
    source = station.feed.source
    assert isinstance(source, MovingSource)
    with open_stream(address) as socket:
        source.frozen.set()
        header: dict[str, Any] = {"video": "LIVE"}
        jpeg = b"x"
        while header["video"] == "LIVE":
            header, jpeg = receive(socket)
            acknowledge(socket, header)
        assert header["video"] == "STALLED"
        assert jpeg == b""
        assert header["age_ms"] > 400
        source.frozen.clear()
        while header["video"] != "LIVE":
            header, jpeg = receive(socket)
            acknowledge(socket, header)
        assert jpeg[:2] == b"\xff\xd8"


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_foreign_pages_get_no_stream(address: str, origin: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        open_stream(address, additional_headers={"Origin": origin})
    assert caught.value.response.status_code == 403


def test_the_stream_asks_for_the_token(tmp_path: Path) -> None:
    station = make_station(tmp_path, token=TOKEN)
    with served(station) as address:
        with pytest.raises(InvalidStatus):
            open_stream(address)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with open_stream(address, additional_headers=headers) as socket:
            assert receive(socket)


def test_mjpeg_has_the_box_burned_in(station: Station, address: str) -> None:
    with httpx.stream("GET", f"http://{address}/api/video.mjpg") as response:
        assert response.headers["content-type"].startswith("multipart/x-mixed-replace")
        data = b""
        for chunk in response.iter_bytes():
            data += chunk
            if data.count(b"\xff\xd9") >= 3:
                break
    start, end = data.index(b"\xff\xd8"), data.index(b"\xff\xd9")
    image = cv2.imdecode(np.frombuffer(data[start : end + 2], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (240, 320, 3)
    wait_until(lambda: station.hub.viewers == 0)


def test_the_stop_is_graceful_with_viewers_open(tmp_path: Path) -> None:
    station = make_station(tmp_path)
    with ExitStack() as serving:
        address = serving.enter_context(served(station))
        with open_stream(address) as socket:
            receive(socket)
            serving.close()
            with pytest.raises(ConnectionClosed):
                drain(socket)
    assert not station.loop.alive
    assert isinstance(station.backend, BrightnessBackend)
    assert station.backend.closed == 1
