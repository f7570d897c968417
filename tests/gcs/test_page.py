"""The page in a real browser: drawing, following, levels, layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gcs.situation import ControlLevel
from tests.chromium import Page
from tests.fakes import FakeControl
from tests.page import BROWSER, SQUARE, STATE, SlowSource, drag, keep, page_of
from tests.serving import make_station, wait_until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium"),
]


def test_drag_follow_hide_and_stop(tmp_path: Path) -> None:
    source = SlowSource(30, (640, 360))
    station = make_station(tmp_path, source, control=FakeControl())
    with page_of(tmp_path, station) as page:
        page.wait(SQUARE)
        keep(page, "idle")
        drag(page)
        page.wait(f"{STATE} === 'TRACKING'")
        page.wait("document.getElementById('track-fps').textContent.endsWith('fps')")
        assert page.text("#record-text") == "REC"
        assert float(page.text("#score-value")) > 0.3
        page.wait("document.getElementById('cle').textContent.endsWith('px')")
        assert float(page.text("#cle").split()[0]) < 15
        keep(page, "tracking")
        page.press("h", "KeyH")
        assert page.eval("document.getElementById('hide').getAttribute('aria-pressed')") == "true"
        page.press("h", "KeyH")
        page.press(" ", "Space")
        page.wait(f"{STATE} === 'IDLE'")
        wait_until(lambda: station.status().state == "IDLE")
        assert page.errors == []


def test_the_box_goes_out_with_the_frame_that_stood_still(tmp_path: Path) -> None:
    station = make_station(tmp_path, SlowSource(30, (640, 360)))
    with page_of(tmp_path, station) as page:
        x, y = page.wait(SQUARE)
        page.mouse("mousePressed", x - 24, y - 24)
        page.mouse("mouseMoved", x + 24, y + 24)
        shown = page.text("#frozen")
        frozen = int("".join(c for c in shown.split("·")[0] if c.isdigit()))
        keep(page, "drawing")
        wait_until(lambda: (station.status().frame_id or 0) > frozen + 45)
        assert page.text("#frozen") == shown
        page.mouse("mouseReleased", x + 24, y + 24)
        page.wait(f"{STATE} === 'TRACKING'")
        (event,) = [e for e in station.journal.events if e.kind == "track_started"]
        assert event.message == f"tracking from frame {frozen}"


def test_escape_cancels_the_drag(tmp_path: Path) -> None:
    station = make_station(tmp_path, SlowSource(30, (640, 360)))
    with page_of(tmp_path, station) as page:
        x, y = page.wait(SQUARE)
        page.mouse("mousePressed", x - 24, y - 24)
        page.mouse("mouseMoved", x + 24, y + 24)
        page.press("Escape", "Escape")
        page.mouse("mouseReleased", x + 24, y + 24)
        page.wait("document.getElementById('frozen').hidden")
        assert [e.kind for e in station.journal.events] == ["video_live"]


def test_a_click_on_a_letterboxed_portrait_view_hits_its_target(tmp_path: Path) -> None:
    source = SlowSource(30, (640, 360))
    station = make_station(tmp_path, source, control=FakeControl())
    with page_of(tmp_path, station, (420, 800)) as page:
        x, y = page.wait(SQUARE)
        page.mouse("mousePressed", x, y)
        page.mouse("mouseReleased", x, y)
        page.wait(f"{STATE} === 'TRACKING'")
        wait_until(lambda: station.status().truth)
        keep(page, "portrait")
        status = station.status()
        assert status.truth is not None
        assert status.truth.target == "square"
        small = page.eval(
            "[...document.querySelectorAll('button, a.tool')].filter((e) => e.offsetParent)"
            ".filter((e) => e.offsetHeight < 44 || e.offsetWidth < 44).map((e) => e.id)"
        )
        assert small == [], "every target is 44 px or more"
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")


def test_too_small_a_box_is_told(tmp_path: Path) -> None:
    station = make_station(tmp_path, SlowSource(30, (640, 360)))
    with page_of(tmp_path, station) as page:
        x, y = page.wait(SQUARE)
        page.mouse("mousePressed", x, y)
        page.mouse("mouseMoved", x + 60, y + 1)
        page.mouse("mouseReleased", x + 60, y + 1)
        page.wait("document.getElementById('toasts').textContent.includes('Box too small')")
        keep(page, "refused")


def test_a_frozen_source_and_a_vanished_target(tmp_path: Path) -> None:
    source = SlowSource(30, (640, 360))
    station = make_station(tmp_path, source, stall_s=2.0)
    with page_of(tmp_path, station) as page:
        drag(page)
        page.wait(f"{STATE} === 'TRACKING'")
        source.frozen.set()
        page.wait(f"{STATE} === 'LOST'")
        page.wait("document.getElementById('stale-title').textContent.startsWith('NO VIDEO ')")
        assert page.eval("document.getElementById('view').classList.contains('stale')")
        keep(page, "no-video")
        source.frozen.clear()
        page.wait("document.getElementById('stale').hidden")
        page.wait(f"{STATE} === 'TRACKING'")


def test_the_camera_is_moved_while_a_key_is_down(tmp_path: Path) -> None:
    control = FakeControl()
    station = make_station(tmp_path, SlowSource(30, (640, 360)), control=control)
    with page_of(tmp_path, station) as page:
        page.wait("!document.getElementById('jog').hidden")
        page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft", code="ArrowLeft")
        wait_until(lambda: len(control.sent) >= 3)
        neutrals = control.neutrals
        page.call("Input.dispatchKeyEvent", type="keyUp", key="ArrowLeft", code="ArrowLeft")
        wait_until(lambda: control.neutrals > neutrals)
        assert {c.yaw_deg_s for c in control.sent} == {-18.0}
        box = page.eval(
            "(() => { const r = document.querySelector('.key.up').getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        page.mouse("mousePressed", *box)
        wait_until(lambda: control.sent[-1].gimbal_pitch_deg_s == 12.0)
        neutrals = control.neutrals
        page.mouse("mouseReleased", *box)
        wait_until(lambda: control.neutrals > neutrals)
        assert page.errors == []


LEVEL = "document.getElementById('control').dataset.level"
CONFIRMED = "document.getElementById('control').dataset.confirmed"


def press_level(page: Page, level: str) -> None:
    page.eval(f"document.querySelector('[data-ask={level}]').click()")
    page.wait(f"{LEVEL} === '{level}'")


def test_levels_by_buttons_and_keys(tmp_path: Path) -> None:
    control, source = FakeControl(), SlowSource(30, (640, 360))
    station = make_station(tmp_path, source, control=control)
    assert station.pilot is not None
    with page_of(tmp_path, station) as page:
        page.wait("!document.getElementById('control').hidden")
        assert page.eval(LEVEL) == "OFF"
        x, y = source.place(station.status().frame_id or 0)
        body = json.dumps({"box": [x - 14, y - 14, 28, 28]})
        page.eval(
            "fetch('/api/tracking/start', {method: 'POST', headers: "
            f"{{'Content-Type': 'application/json'}}, body: '{body}'}})"
        )
        page.wait(f"{STATE} === 'TRACKING'")
        press_level(page, "CAMERA")
        assert station.pilot.status.level is ControlLevel.CAMERA
        assert page.eval("document.activeElement === document.body"), "no key presses it again"
        page.press("m", "KeyM")
        page.wait(f"{LEVEL} === 'OFF'")
        page.press("f", "KeyF")
        page.eval("new Promise((done) => setTimeout(done, 1300))")
        assert page.eval(LEVEL) == "OFF", "a short F asks for nothing"
        page.call("Input.dispatchKeyEvent", type="keyDown", key="f", code="KeyF")
        page.wait(f"{LEVEL} === 'FOLLOW' && {CONFIRMED} === 'yes'")
        page.call("Input.dispatchKeyEvent", type="keyUp", key="f", code="KeyF")
        page.wait("document.getElementById('control-reason').textContent.includes('unknown')")
        keep(page, "follow")
        neutrals = control.neutrals
        page.press(" ", "Space")
        page.wait(f"{LEVEL} === 'OFF' && {STATE} === 'IDLE'")
        assert control.neutrals > neutrals
        # It asks again while the target is not held yet.
        assert [line for line in page.errors if "409" not in line] == []


def test_stop_ends_a_level_without_a_track_and_a_move_under_way(tmp_path: Path) -> None:
    control = FakeControl()
    station = make_station(tmp_path, SlowSource(30, (640, 360)), control=control)
    with page_of(tmp_path, station) as page:
        page.wait("!document.getElementById('control').hidden")
        assert page.eval("document.getElementById('stop').disabled")
        press_level(page, "FOLLOW")
        page.wait("!document.getElementById('stop').disabled")
        page.eval("document.getElementById('stop').click()")
        page.wait(f"{LEVEL} === 'OFF'")
        page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft", code="ArrowLeft")
        wait_until(lambda: control.sent)
        page.press(" ", "Space")
        page.eval("new Promise((done) => setTimeout(done, 500))")
        sent, neutrals = len(control.sent), control.neutrals
        page.call(
            "Input.dispatchKeyEvent",
            type="keyDown",
            key="ArrowLeft",
            code="ArrowLeft",
            autoRepeat=True,
        )
        page.eval("new Promise((done) => setTimeout(done, 500))")
        assert len(control.sent) == sent, "a key still down does not move it again"
        assert neutrals > 0


def test_the_page_is_never_wider_than_the_window(tmp_path: Path) -> None:
    station = make_station(tmp_path, SlowSource(30, (640, 360)), control=FakeControl())
    with page_of(tmp_path, station) as page:
        page.wait("!document.getElementById('control').hidden")
        press_level(page, "FOLLOW")
        page.wait("!document.getElementById('confirm').hidden")
        for width in (1400, 1280, 1181, 1180, 1130, 1024, 901, 900, 800, 640, 560, 500, 360):
            page.resize(width, 700)
            page.wait(f"window.innerWidth === {width}")
            over = page.eval("document.documentElement.scrollWidth - window.innerWidth")
            assert over <= 0, f"{over} px too wide at {width}"
            right = page.eval("document.getElementById('confirm').getBoundingClientRect().right")
            assert right <= width
            if width in (1024, 360):
                keep(page, f"follow-{width}")


def test_a_new_box_replaces_the_track_without_a_stop_between(tmp_path: Path) -> None:
    station = make_station(tmp_path, SlowSource(30, (640, 360)), control=FakeControl())
    with page_of(tmp_path, station) as page:
        drag(page)
        page.wait(f"{STATE} === 'TRACKING'")
        drag(page, half=20)
        wait_until(lambda: [e.kind for e in station.journal.events].count("track_started") == 2)
        (stopped,) = [e for e in station.journal.events if e.kind == "track_stopped"]
        assert stopped.message == "a new target was drawn"
        # A picture that is long gone: the track that runs is kept.
        page.eval(
            "import('/static/api.js').then((api) => api.post('/api/tracking/start', "
            "{box: [1, 1, 50, 50], frame_id: 10 ** 9, replace: true}).catch(() => 0))"
        )
        assert station.status().state == "TRACKING"


def test_a_source_that_cannot_be_commanded_shows_no_levels(tmp_path: Path) -> None:
    station = make_station(tmp_path, SlowSource(30, (640, 360)))
    with page_of(tmp_path, station) as page:
        page.wait(SQUARE)
        assert page.eval("document.getElementById('control').hidden")
        page.call("Input.dispatchKeyEvent", type="keyDown", key="f", code="KeyF")
        page.eval("new Promise((done) => setTimeout(done, 1300))")
        page.press("m", "KeyM")
        assert page.text("#toasts") == ""
        assert page.errors == []


def test_no_box_is_drawn_of_a_track_that_ended(tmp_path: Path) -> None:
    station = make_station(tmp_path, SlowSource(30, (640, 360)))
    with page_of(tmp_path, station) as page:
        labels = page.eval(
            """import('/static/view.js').then(async ({ View }) => {
              const canvas = document.createElement('canvas');
              document.body.append(canvas);
              const view = new View(canvas), said = [];
              view.label = (text) => said.push(text);
              const picture = await createImageBitmap(new ImageData(64, 36));
              const header = { size: [64, 36], box: [1, 1, 9, 9], score: 0.9, level: 'SURE' };
              view.show({ ...header, state: 'TRACKING' }, picture, 0);
              const shown = said.length;
              // The track ends, and no new picture comes with the news.
              view.show({ ...header, state: 'IDLE', level: null, box: null }, null, 0);
              return [shown, said.length];
            })"""
        )
        assert labels == [1, 1]
