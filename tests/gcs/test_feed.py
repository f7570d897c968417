from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from drone.errors import FrameTimeoutError, SourceError
from gcs.feed import FIRST_DELAY_S, INTERVALS_KEPT, LAST_DELAY_S, Feed, Video
from tests.fakes import FakeClock, QueueSource, make_frame

TICK_S = 0.01


def make(repeat: bool = False) -> tuple[Feed, QueueSource, FakeClock]:
    clock, source = FakeClock(), QueueSource()
    feed = Feed(source, stall_s=0.5, reconnect_s=2.0, repeat=repeat, clock=clock)
    feed.open()
    return feed, source, clock


def read_until(feed: Feed, number: int) -> None:
    for _ in range(400):
        frame = feed.read(TICK_S)
        if frame is not None and frame.number == number:
            return
    raise AssertionError(f"frame {number} never came")


def test_live_from_the_first_frame() -> None:
    feed, source, clock = make()
    assert feed.video is Video.CONNECTING
    assert feed.age_ms() is None
    source.push(make_frame(0, clock.now_ns))
    assert feed.read(TICK_S) is not None
    assert feed.video is Video.LIVE
    clock.advance(0.04)
    assert feed.age_ms() == pytest.approx(40)


def test_silence_stalls_and_a_frame_revives() -> None:
    feed, source, clock = make()
    source.push(make_frame(0, clock.now_ns))
    feed.read(TICK_S)
    clock.advance(0.4)
    assert feed.read(TICK_S) is None
    assert feed.video is Video.LIVE
    clock.advance(0.2)
    assert feed.read(TICK_S) is None
    assert feed.video is Video.STALLED
    source.push(make_frame(1, clock.now_ns))
    assert feed.read(TICK_S) is not None
    assert feed.video is Video.LIVE


def test_only_live_frames_older_than_two_usual_intervals_are_outdated() -> None:
    feed, source, clock = make()
    source.live = True
    for number in range(INTERVALS_KEPT):
        source.push(make_frame(number, clock.now_ns))
        early = feed.read(TICK_S)
        clock.advance(0.04)
    assert early is not None
    clock.advance(10)
    assert not feed.outdated(early)  # too few frames to tell what is usual
    frame = make_frame(INTERVALS_KEPT, clock.now_ns)  # a gap of 10 s is not usual
    source.push(frame)
    feed.read(TICK_S)
    clock.advance(0.08)
    assert not feed.outdated(frame)
    clock.advance(0.001)
    assert feed.outdated(frame)
    source.live = False
    assert not feed.outdated(frame)


def test_a_picture_that_was_long_on_its_way_did_not_lie_unread() -> None:
    feed, source, clock = make()
    source.live = True
    for number in range(INTERVALS_KEPT + 1):
        captured_ns = clock.now_ns - 200_000_000
        source.push(replace(make_frame(number, captured_ns), arrived_ns=clock.now_ns))
        frame = feed.read(TICK_S)
        clock.advance(0.04)
    assert frame is not None
    assert feed.age_ms() == pytest.approx(240)
    assert not feed.outdated(frame)
    clock.advance(0.041)
    assert feed.outdated(frame)


def test_a_frame_that_arrives_late_is_no_live_picture() -> None:
    feed, source, clock = make()
    source.push(make_frame(0, clock.now_ns))
    clock.advance(0.8)
    assert feed.read(TICK_S) is not None
    assert feed.video is Video.STALLED
    assert feed.message == "frames arrive late"


def test_long_silence_opens_the_source_anew_and_numbers_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gcs.feed.FIRST_DELAY_S", 0.0)
    feed, source, clock = make()
    source.push(make_frame(41, clock.now_ns))
    feed.read(TICK_S)
    clock.advance(2.1)
    assert feed.read(TICK_S) is None
    assert feed.video is Video.STALLED
    assert feed.message is not None
    assert "anew" in feed.message
    source.push(make_frame(0, clock.now_ns), make_frame(1, clock.now_ns))
    read_until(feed, 42)
    read_until(feed, 43)
    assert source.opened == 2
    assert feed.video is Video.LIVE


def test_a_source_that_stays_away_is_tried_ever_more_slowly() -> None:
    feed, source, _clock = make()
    delays: list[float] = []

    class Recorded:
        def __init__(self, _source: QueueSource, delay_s: float) -> None:
            delays.append(delay_s)
            self.error: str | None = "no route to host"
            self.done = threading.Event()
            self.done.set()

    import gcs.feed

    original = gcs.feed.Opening
    gcs.feed.Opening = Recorded  # type: ignore[misc,assignment]
    try:
        source.push(SourceError("unplugged"))
        for _ in range(8):
            assert feed.read(TICK_S) is None
    finally:
        gcs.feed.Opening = original  # type: ignore[misc]
    assert delays[:5] == [FIRST_DELAY_S, 1.0, 2.0, 4.0, LAST_DELAY_S]
    assert set(delays[4:]) == {LAST_DELAY_S}
    assert feed.message == "no route to host"
    assert feed.video is Video.CONNECTING


def test_the_end_is_final() -> None:
    feed, source, clock = make()
    source.push(make_frame(0, clock.now_ns), None, make_frame(1, clock.now_ns))
    feed.read(TICK_S)
    assert feed.read(TICK_S) is None
    assert feed.video is Video.ENDED
    assert feed.read(TICK_S) is None
    assert source.items.qsize() == 1


def test_a_repeated_file_starts_anew_with_new_numbers() -> None:
    feed, source, clock = make(repeat=True)
    source.push(make_frame(0, clock.now_ns), None, make_frame(0, clock.now_ns))
    read_until(feed, 0)
    read_until(feed, 1)
    assert source.opened == 2


def test_a_source_that_counts_on_keeps_its_numbers() -> None:
    feed, source, clock = make()
    source.push(make_frame(7, clock.now_ns))
    feed.read(TICK_S)
    feed.reopen("by hand", delay_s=0.0)
    source.push(make_frame(9, clock.now_ns), make_frame(10, clock.now_ns))
    read_until(feed, 9)
    read_until(feed, 10)


def test_opening_waits_for_nobody() -> None:
    feed, source, _clock = make()
    blocked = threading.Event()
    source.open = blocked.wait  # type: ignore[method-assign,assignment]
    feed.reopen("connecting")
    began = time.monotonic()
    feed.read(TICK_S)
    feed.close()
    assert time.monotonic() - began < 5, "a connect that hangs does not hang the loop"
    blocked.set()


def test_open_errors_reach_the_caller() -> None:
    source = QueueSource()
    source.open_error = SourceError("no such file")
    with pytest.raises(SourceError, match="no such file"):
        Feed(source, 0.5, 2.0).open()


def test_timeouts_before_the_first_frame_are_no_stall() -> None:
    feed, source, clock = make()
    source.push(FrameTimeoutError("not yet"))
    clock.advance(1.0)
    feed.read(TICK_S)
    assert feed.video is Video.CONNECTING
