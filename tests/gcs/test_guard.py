from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gcs.guard import (
    ALWAYS_HEARD,
    FAILURE_WINDOW_S,
    MAX_FAILURES,
    MAX_REQUESTS,
    Guard,
    Keeper,
    host_name,
)
from gcs.problems import ProblemError
from tests.serving import MemoryClient, in_memory, make_station

TOKEN = "0123456789abcdef-night"


@pytest.fixture
def open_client(tmp_path: Path) -> Iterator[MemoryClient]:
    with in_memory(make_station(tmp_path)) as client:
        yield client


@pytest.fixture
def locked_client(tmp_path: Path) -> Iterator[MemoryClient]:
    station = make_station(tmp_path, token=TOKEN, allowed_hosts=("station.example",))
    with in_memory(station) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "welcome"),
    [
        ("127.0.0.1:8000", True),
        ("localhost", True),
        ("[::1]:8000", True),
        ("192.168.1.7:8000", True),
        ("station.example", True),
        ("STATION.example:80", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_only_known_hosts(locked_client: MemoryClient, host: str, welcome: bool) -> None:
    status = locked_client.get("/health", headers={"Host": host}).status_code
    assert (status == 400) is not welcome


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 409),
        ({"Origin": "http://127.0.0.1"}, 409),
        ({"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}, 409),
        ({"Origin": "http://127.0.0.1:81"}, 403),
        ({"Origin": "https://127.0.0.1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_only_our_own_pages_command(
    open_client: MemoryClient, headers: dict[str, str], status: int
) -> None:
    response = open_client.post("/api/tracking/stop", headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_other_sites_cannot_embed_the_stream(open_client: MemoryClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert open_client.get("/api/video.mjpg", headers=headers).status_code == 403


def test_no_cors(open_client: MemoryClient) -> None:
    response = open_client.get("/api/status", headers={"Origin": "http://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]
    preflight = open_client.request(
        "OPTIONS",
        "/api/tracking/stop",
        headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert preflight.status_code == 405


def test_everything_but_page_and_health_asks_for_the_token(locked_client: MemoryClient) -> None:
    for path in ("/api/status", "/api/snapshot.jpg", "/api/video.mjpg", "/api/events"):
        response = locked_client.get(path)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
    for path in ("/api/tracking/start", "/api/tracking/stop", "/api/camera"):
        assert locked_client.post(path).status_code == 401
    assert locked_client.get("/").status_code == 200
    assert locked_client.get("/health").status_code in (200, 503)


def test_the_token_opens(locked_client: MemoryClient) -> None:
    good = {"Authorization": f"Bearer {TOKEN}"}
    assert locked_client.get("/api/status", headers=good).status_code == 200
    for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer é"):
        headers: Any = {"Authorization": wrong.encode()}
        assert locked_client.get("/api/status", headers=headers).status_code == 401


def test_sign_in_gives_a_session(locked_client: MemoryClient) -> None:
    wrong = locked_client.post("/api/sign-in", json={"token": "guess"})
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    response = locked_client.post("/api/sign-in", json={"token": TOKEN})
    assert response.status_code == 204
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    headers = {"Cookie": cookie.partition(";")[0]}
    assert locked_client.get("/api/status", headers=headers).status_code == 200
    assert locked_client.get("/api/status", headers={"Cookie": "mlkd_session=x"}).status_code == 401


def test_guessing_is_slow() -> None:
    now = 0.0
    keeper = Keeper(TOKEN, clock=lambda: now)
    for _ in range(MAX_FAILURES):
        assert keeper.sign_in("guess", "10.0.0.9") is None
    with pytest.raises(ProblemError, match="too many wrong tokens"):
        keeper.sign_in("guess", "10.0.0.9")
    assert keeper.sign_in(TOKEN, "10.0.0.1") is not None, "the operator is not locked out"
    assert keeper.sign_in(TOKEN, "10.0.0.9") is not None, "nor beside a program that guesses"
    now = FAILURE_WINDOW_S + 1
    assert keeper.sign_in("guess", "10.0.0.9") is None


def test_a_flood_of_requests_does_not_keep_an_override_waiting() -> None:
    async def scenario() -> list[int]:
        release = asyncio.Event()
        statuses: list[int] = []

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                await release.wait()
            await Response(status_code=204)(scope, receive, send)

        guard = Guard(slow, Keeper(None), ())

        async def ask(path: str, method: str = "GET") -> int:
            transport = httpx.ASGITransport(app=guard)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1"
            ) as client:
                answer = await client.request(method, path)
            if answer.status_code == 503:
                assert answer.json()["title"] == "Too many requests at once"
            return answer.status_code

        flood = [asyncio.create_task(ask("/slow")) for _ in range(MAX_REQUESTS)]
        await asyncio.sleep(0.2)
        statuses.append(await ask("/other"))
        statuses += [await ask(path, "POST") for path in ALWAYS_HEARD]
        release.set()
        assert set(await asyncio.gather(*flood)) == {204}
        statuses.append(await ask("/other"))
        return statuses

    assert asyncio.run(scenario()) == [503, 204, 204, 204]


@pytest.mark.parametrize(
    ("host", "name"),
    [("a:1", "a"), ("[::1]:8000", "::1"), ("[::1]", "::1"), ("A.b", "a.b"), ("", "")],
)
def test_host_names(host: str, name: str) -> None:
    assert host_name(host) == name
