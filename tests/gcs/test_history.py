from __future__ import annotations

import itertools

import pytest

from gcs.history import MAX_HELD, FrameGoneError, History, thin_out
from tests.fakes import NS, make_frame

FRAME_BYTES = 320 * 240 * 3
PERIOD_NS = NS // 30


def filled(count: int, keep_s: float = 8.0, max_bytes: int = 10**9) -> History:
    history = History(int(keep_s * NS), max_bytes)
    for number in range(count):
        history.add(make_frame(number, number * PERIOD_NS))
    return history


def numbers(history: History, since: int) -> list[int]:
    return [frame.number for frame in history.since(since)]


def test_the_last_two_seconds_are_complete() -> None:
    history = filled(300)
    assert numbers(history, 240) == list(range(240, 300))


def test_older_frames_are_thinned_and_in_order() -> None:
    history = filled(300)
    oldest = next(n for n in range(300) if history.hold(n))
    kept = numbers(history, oldest)
    assert kept == sorted(set(kept))
    assert 299 - oldest >= 7.5 * 30
    gaps = [b - a for a, b in itertools.pairwise(kept)]
    assert max(gaps) <= 6, "at most 0.2 s between two kept frames"
    assert len(kept) < 110


def test_a_frame_too_old_is_gone_and_the_message_names_what_is_there() -> None:
    with pytest.raises(FrameGoneError, match=r"frame 0 is gone: frames \d+ to 299 are at hand"):
        filled(300).since(0)
    with pytest.raises(FrameGoneError, match="frame 300 has not come yet"):
        filled(300).since(300)
    with pytest.raises(FrameGoneError, match="no frame has arrived yet"):
        History(NS, 10**9).since(0)


def test_a_held_frame_survives_the_thinning_until_it_is_too_old() -> None:
    history = filled(30)
    assert history.hold(11)
    for number in range(30, 600):
        history.add(make_frame(number, number * PERIOD_NS))
    assert numbers(history, 11)[0] == 11
    assert numbers(history, 11)[-1] == 599
    for number in range(600, 1000):
        history.add(make_frame(number, number * PERIOD_NS))
    with pytest.raises(FrameGoneError):
        history.since(11)


def test_holding_is_bounded_and_honest() -> None:
    history = filled(30)
    assert not history.hold(99)
    for number in range(MAX_HELD + 3):
        assert history.hold(number)
    for number in range(30, 400):
        history.add(make_frame(number, number * PERIOD_NS))
    with pytest.raises(FrameGoneError):
        history.since(0)
    assert numbers(history, 5)[0] == 5


def test_bytes_are_bounded_and_the_newest_frame_always_stays() -> None:
    history = filled(300, max_bytes=10 * FRAME_BYTES)
    assert len(history) == 10
    assert numbers(history, 290) == list(range(290, 300))
    assert len(filled(300, max_bytes=1)) == 1


def test_clear_forgets_everything() -> None:
    history = filled(30)
    history.hold(3)
    history.clear()
    assert history.newest() is None
    with pytest.raises(FrameGoneError):
        history.since(3)


@pytest.mark.parametrize("count", [0, 1, 5, 40, 41, 77, 400])
def test_thin_out_is_even_and_keeps_the_last(count: int) -> None:
    frames = [make_frame(n) for n in range(count)]
    kept = [frame.number for frame in thin_out(frames, 40)]
    assert len(kept) == min(count, 40)
    assert kept == sorted(set(kept))
    if count:
        assert kept[-1] == count - 1
