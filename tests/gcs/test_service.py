from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcs.station import Station
from tests.fakes import BrightnessBackend, FakeControl, MovingSource, QueueSource, make_frame
from tests.serving import MemoryClient, in_memory, make_station, wait_until

FULL = {"type", "title", "status", "detail"}


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) >= FULL
    assert body["status"] == status
    return body


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def station(tmp_path: Path, control: FakeControl) -> Station:
    return make_station(tmp_path, control=control)


@pytest.fixture
def client(station: Station) -> Iterator[MemoryClient]:
    with in_memory(station) as made:
        wait_until(lambda: station.hub.latest_picture)
        yield made


def square_box(station: Station) -> dict[str, Any]:
    """A box around the square of the newest picture; it moves on while a slow machine thinks."""
    newest = station.hub.latest_picture
    assert newest is not None
    source = station.feed.source
    assert isinstance(source, MovingSource)
    number = newest.status.frame_id or 0
    x, y = source.place(number)
    return {"box": [x - 14, y - 14, 28, 28], "frame_id": number}


def test_a_flight_over_http(client: MemoryClient, station: Station) -> None:
    started = client.post("/api/tracking/start", json=square_box(station))
    assert started.status_code == 200, started.text
    body = started.json()
    assert (body["state"], body["truth"]) == ("TRACKING", "square")
    wait_until(lambda: len(list(station.settings.flights_dir.glob("*/track.jsonl"))) == 1)
    (track,) = station.settings.flights_dir.glob("*/track.jsonl")
    wait_until(lambda: track.read_text().count("\n") > 5)
    status = client.get("/api/status").json()
    assert status["state"] == "TRACKING"
    assert status["recording"] == body["flight_id"]
    assert status["truth"]["cle_px"] < 20
    assert status["age_ms"] > 0
    assert status["latency"]["update_ms"] > 0
    stopped = client.post("/api/tracking/stop").json()
    assert stopped["state"] == "IDLE"
    assert stopped["frames"] > 5
    folder = station.settings.flights_dir / body["flight_id"]
    lines = (folder / "track.jsonl").read_text().splitlines()
    assert len(lines) == stopped["frames"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source"] == "moving"
    assert manifest["frame_size"] == [320, 240]
    assert manifest["tracker_config"]["search_px"] == 287


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"box": [10, 10, 0, 20]}, 422, "is empty"),
        ({"box": [10, 10, -5, 20]}, 422, "is empty"),
        ({"box": [10, 10, 3, 20]}, 422, "at least 4 px"),
        ({"box": [318, 10, 40, 20]}, 422, "at least 4 px"),
        ({"box": [400, 10, 20, 20]}, 422, "outside the 320 x 240"),
        ({"box": [0.1, 0.1, 0.001, 0.1], "units": "fraction"}, 422, "at least 4 px"),
        ({"box": [10, 10, 30, 30], "units": "fraction"}, 422, "units 'px'"),
        ({"point": [-3, 10]}, 422, "outside"),
        ({"box": [10, 10, 30, 30], "frame_id": 10**9}, 410, "has not come yet"),
        ({"box": [10, 10, 30, 30], "frame_id": -1}, 422, "greater than or equal"),
        ({"box": [10, 10, 30, 30], "target": "cow"}, 422, "known: square"),
        ({"box": [10, 10, 30, 30], "colour": "red"}, 422, "colour"),
        ({"box": [10, 10, 30]}, 422, "box"),
        ({"box": "all"}, 422, "box"),
        ({"box": {"x": 1, "y": 1, "w": 30}}, 422, "box.h: Field required"),
        ({"point": {"x": 1}}, 422, "point.y: Field required"),
        ({}, 422, "exactly one"),
        ([], 422, "body"),
    ],
)
def test_bad_starts_are_refused(client: MemoryClient, body: Any, status: int, said: str) -> None:
    answer = problem(client.post("/api/tracking/start", json=body), status)
    assert said in answer["detail"]
    assert answer["mend"]
    assert client.get("/api/status").json()["state"] == "IDLE"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(client: MemoryClient, number: str) -> None:
    response = client.post(
        "/api/tracking/start",
        content=f'{{"box": [10, 10, {number}, 20]}}',
        headers={"Content-Type": "application/json"},
    )
    assert "finite" in problem(response, 422)["detail"]


def test_not_json(client: MemoryClient) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.post("/api/tracking/start", content="{box", headers=headers)
    assert problem(response, 400)["title"] == "Malformed JSON"
    response = client.post("/api/tracking/start", content=b"\xff\xfe{", headers=headers)
    assert response.status_code == 400
    response = client.post("/api/tracking/start", data={"box": "1"})
    assert problem(response, 415)["expected"] == "application/json"
    response = client.post("/api/tracking/start", content=b"[" * 70_000, headers=headers)
    assert problem(response, 413)["input"] == "70000"


def test_a_body_without_a_length_is_bounded_too(client: MemoryClient) -> None:
    async def endless() -> Any:
        for _ in range(40):
            yield b" " * 4096

    response = client.post(
        "/api/tracking/start", content=endless(), headers={"Content-Type": "application/json"}
    )
    problem(response, 413)


def test_start_while_tracking_and_stop_while_idle(client: MemoryClient, station: Station) -> None:
    assert "cannot stop while IDLE" in problem(client.post("/api/tracking/stop"), 409)["detail"]
    assert client.post("/api/tracking/start", json=square_box(station)).is_success
    again = problem(client.post("/api/tracking/start", json=square_box(station)), 409)
    assert "expected IDLE" in again["detail"]
    assert client.post("/api/tracking/stop").is_success


def test_a_frame_long_gone(tmp_path: Path) -> None:
    source = QueueSource()
    station = make_station(tmp_path, source)
    with in_memory(station) as client:
        for number in range(400):
            source.push(make_frame(number, number * 33_000_000))
        wait_until(lambda: station.status().frame_id == 399)
        body = {"box": [150, 110, 24, 24], "frame_id": 3}
        gone = problem(client.post("/api/tracking/start", json=body), 410)
        assert "frame 3 is gone: frames" in gone["detail"]
        assert client.post("/api/tracking/start", json={**body, "frame_id": 395}).is_success


def test_while_the_video_stands_still_the_last_picture_is_named(tmp_path: Path) -> None:
    source = QueueSource()
    station = make_station(tmp_path, source)
    with in_memory(station) as client:
        source.push(make_frame(41, station.clock()))
        wait_until(lambda: station.hub.latest and station.hub.latest.status.sequence > 2)
        assert station.hub.latest is not None
        assert station.hub.latest.status.frame_id is None
        status = client.get("/api/status").json()
        assert status["frame_id"] == 41
        assert status["age_ms"] > 100


def test_before_the_first_picture(tmp_path: Path) -> None:
    with in_memory(make_station(tmp_path, QueueSource())) as client:
        body = {"box": [1, 1, 20, 20]}
        assert "no picture" in problem(client.post("/api/tracking/start", json=body), 503)["detail"]
        problem(client.get("/api/snapshot.jpg"), 503)
        assert client.get("/api/status").json()["video"] == "CONNECTING"
        assert client.get("/health").status_code == 503


def test_an_engine_that_fails_at_the_start(tmp_path: Path) -> None:
    backend = BrightnessBackend()
    station = make_station(tmp_path, backend=backend)
    with in_memory(station) as client:
        wait_until(lambda: station.hub.latest_picture)
        backend.failure = "device removed"
        answer = client.post("/api/tracking/start", json=square_box(station))
        assert "device removed" in problem(answer, 503)["detail"]
        assert client.get("/api/status").json()["state"] == "IDLE"


def test_a_loop_that_is_not_there(tmp_path: Path) -> None:
    station = make_station(tmp_path)
    with in_memory(station) as client:
        wait_until(lambda: station.hub.latest_picture)
        station.loop.stop()
        body = {"box": [1, 1, 20, 20]}
        assert (
            "not running" in problem(client.post("/api/tracking/start", json=body), 503)["detail"]
        )
        health = client.get("/health")
        assert health.status_code == 503
        assert health.json()["loop"] == "dead"


def test_snapshot(client: MemoryClient) -> None:
    plain = client.get("/api/snapshot.jpg")
    assert plain.headers["content-type"] == "image/jpeg"
    assert plain.content[:2] == b"\xff\xd8"
    assert int(plain.headers["x-frame-id"]) >= 0
    assert client.get("/api/snapshot.jpg?marked=true").is_success
    problem(client.get("/api/snapshot.jpg?marked=perhaps"), 422)


def test_the_source_can_be_opened_anew(client: MemoryClient, station: Station) -> None:
    assert client.post("/api/source/reopen").status_code == 202
    before = station.status().frame_id or 0
    wait_until(lambda: (station.status().frame_id or 0) > before + 3)
    station.loop.stop()
    problem(client.post("/api/source/reopen"), 503)


def test_health_and_events(client: MemoryClient) -> None:
    health = client.get("/health")
    assert health.status_code == 200
    assert health.json()["problems"] == []
    assert client.get("/api/events").json()[0]["kind"] == "video_live"


def test_the_camera_moves_and_stands_still(client: MemoryClient, control: FakeControl) -> None:
    body = {"yaw_deg_s": 10, "gimbal_pitch_deg_s": -4.5}
    assert client.post("/api/camera", json=body).status_code == 204
    (command,) = control.sent
    assert (command.yaw_deg_s, command.gimbal_pitch_deg_s, command.forward_m_s) == (10, -4.5, 0)
    assert command.issued_ns > 0
    neutrals = control.neutrals
    assert client.post("/api/camera", json={}).status_code == 204
    assert control.neutrals == neutrals + 1


@pytest.mark.parametrize(
    "body", ['{"yaw_deg_s": NaN}', '{"yaw_deg_s": 400}', '{"up_m_s": 1}', '{"forward_m_s": "x"}']
)
def test_bad_camera_commands(client: MemoryClient, control: FakeControl, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = problem(client.post("/api/camera", content=body, headers=headers), 422)
    assert answer["mend"]
    assert control.sent == []


def test_a_source_that_cannot_be_moved(tmp_path: Path) -> None:
    with in_memory(make_station(tmp_path)) as client:
        answer = problem(client.post("/api/camera", json={"yaw_deg_s": 1}), 409)
        assert "cannot be moved" in answer["detail"]


def test_unknown_addresses_and_methods(client: MemoryClient) -> None:
    problem(client.get("/api/nothing"), 404)
    problem(client.get("/static/../settings.py"), 404)
    answer = client.get("/api/tracking/start")
    assert problem(answer, 405)["title"] == "Method not allowed"
    assert answer.headers["allow"] == "POST"


def test_pages_and_description(client: MemoryClient) -> None:
    for path in ("/", "/docs"):
        page = client.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert "http://" not in page.text, "nothing is fetched from elsewhere"
        assert "https://" not in page.text
    assert client.get("/static/main.js").is_success
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) >= {"/api/tracking/start", "/api/tracking/stop", "/api/status", "/health"}


def test_stop_hovers_even_before_the_loop_hears_of_it(tmp_path: Path) -> None:
    control = FakeControl()
    station = make_station(tmp_path, control=control)
    with in_memory(station) as client:
        station.loop.stop()
        neutrals = control.neutrals
        problem(client.post("/api/tracking/stop"), 503)
        assert control.neutrals > neutrals


# --- fuzz -----------------------------------------------------------------------------------

numbers = st.one_of(
    st.floats(width=64, allow_nan=True, allow_infinity=True),
    st.integers(-(10**12), 10**12),
    st.floats(-50, 400),
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)
boxes = st.one_of(
    st.lists(numbers, min_size=3, max_size=5),
    st.fixed_dictionaries(dict.fromkeys("xywh", numbers)),
    junk,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "box": boxes,
        "point": st.one_of(st.lists(numbers, min_size=2, max_size=2), junk),
        "units": st.one_of(st.sampled_from(["px", "fraction"]), junk),
        "frame_id": st.one_of(st.integers(-5, 10**6), junk),
        "target": st.one_of(st.just("square"), junk),
        "surprise": junk,
    },
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MemoryClient, Station]]:
    station = make_station(tmp_path_factory.mktemp("fuzz"))
    with in_memory(station) as client:
        wait_until(lambda: station.hub.latest_picture)
        yield client, station


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(bodies, junk))
def test_any_start_is_answered_or_refused(fuzzed: Any, body: Any) -> None:
    client, station = fuzzed
    response = client.post(
        "/api/tracking/start",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code in (200, 400, 410, 422), response.text
    if response.is_success:
        assert client.post("/api/tracking/stop").is_success
    else:
        assert set(response.json()) >= FULL
    assert station.loop.alive
    assert station.loop.died is None
