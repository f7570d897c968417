"""The page in a real browser: what it does when the station does not answer, or asks who it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chromium import open_page
from tests.fakes import FakeControl
from tests.page import BROWSER, SQUARE, STATE, SlowSource, drag, keep, page_of
from tests.serving import make_station, served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium"),
]


def test_a_stop_that_nobody_answers_is_told(tmp_path: Path) -> None:
    station = make_station(tmp_path, SlowSource(30, (640, 360)), control=FakeControl())
    with page_of(tmp_path, station) as page:
        drag(page)
        page.wait(f"{STATE} === 'TRACKING'")
        page.eval(
            "window.fetch = (path, options) => new Promise((_, no) => "
            "options.signal.addEventListener('abort', () => no(options.signal.reason)))"
        )
        station.hub.publish = lambda publication: None  # type: ignore[method-assign]
        page.press(" ", "Space")
        page.wait("document.getElementById('toasts').textContent.includes('STOP not confirmed')")
        assert "by its sticks" in page.text("#toasts")
        page.wait(f"{STATE} === 'NO LINK'")
        assert page.eval("document.body.classList.contains('cold')")
        keep(page, "no-answer")


def test_a_station_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    station = make_station(tmp_path, SlowSource(30, (640, 360)))
    assert BROWSER is not None
    with open_page(BROWSER, tmp_path / "profile") as page:
        with served(station) as address:
            page.go(f"http://{address}/")
            page.wait(SQUARE)
        page.wait(f"{STATE} === 'NO LINK'")
        keep(page, "no-link")
        port = int(address.rpartition(":")[2])
        with served(make_station(tmp_path, SlowSource(30, (640, 360)), port=port)):
            page.wait(f"{STATE} === 'IDLE'")


def test_a_station_that_falls_silent_is_asked_anew(tmp_path: Path) -> None:
    station = make_station(tmp_path, SlowSource(30, (640, 360)))
    with page_of(tmp_path, station) as page:
        page.wait(SQUARE)
        page.eval(
            "window.opened = 0; const Own = WebSocket; window.WebSocket = class extends Own {"
            "constructor(...given) { super(...given); window.opened += 1; } }; 0"
        )
        publish = station.hub.publish
        station.hub.publish = lambda publication: None  # type: ignore[method-assign]
        page.wait(f"{STATE} === 'NO LINK'")
        page.wait("window.opened === 1")  # the old socket is open still, as to a dead host
        station.hub.publish = publish  # type: ignore[method-assign]
        page.wait(f"{STATE} === 'IDLE'")
        page.eval("new Promise((done) => setTimeout(done, 4000))")
        assert page.eval("window.opened") <= 2, "a station that speaks is left alone"
        assert page.errors == []


def test_the_token_is_asked_for_once(tmp_path: Path) -> None:
    token = "0123456789abcdef-night"
    station = make_station(tmp_path, SlowSource(30, (640, 360)), token=token)
    assert BROWSER is not None
    with served(station) as address, open_page(BROWSER, tmp_path / "profile") as page:
        page.go(f"http://{address}/")
        page.wait("document.getElementById('sign-in')?.open")
        keep(page, "token")
        page.eval(f"document.getElementById('token').value = '{token}'")
        page.eval("document.querySelector('#sign-in-form button').click()")
        page.wait(SQUARE)
        page.go(f"http://{address}/docs")
        page.wait("document.querySelectorAll('article').length > 8")
        keep(page, "docs")
