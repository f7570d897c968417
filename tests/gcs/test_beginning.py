from __future__ import annotations

import pytest

from gcs.beginning import (
    MAX_REPLAY,
    REPLAY_S,
    NoVideoError,
    UnknownTargetError,
    begin_target,
)
from gcs.history import FrameGoneError, History
from gcs.requests import GivenUpError
from gcs.schemas import StartRequest
from model.confidence import ConfidenceConfig
from model.errors import BoxError
from model.tracker import Tracker
from tests.fakes import NS, BrightnessBackend, FakeClock, make_frame

CONFIG = ConfidenceConfig()


def walk(count: int, step_px: float) -> History:
    """The square walks to the right, 10 frames a second."""
    history = History(20 * NS, 10**9)
    for number in range(count):
        history.add(make_frame(number, number * NS // 10, (40 + step_px * number, 120)))
    return history


def tracker() -> Tracker:
    return Tracker(BrightnessBackend())


def test_the_target_is_carried_to_the_frame_before_the_newest() -> None:
    request = StartRequest(box=[28, 108, 24, 24], frame_id=0)
    begun = begin_target(request, walk(30, 6), tracker(), CONFIG)
    assert begun.frame.number == 0
    assert begun.replayed == 24, "thinned to one in 0.2 s, and all of the last two seconds"
    assert begun.truth == "square"
    assert tuple(begun.box) == (28, 108, 24, 24)
    assert abs(begun.target.box.cx - (40 + 6 * 28)) < 10


def test_the_newest_frame_needs_no_replay() -> None:
    for request in (StartRequest(point=[200, 100]), StartRequest(point=[200, 100], frame_id=9)):
        begun = begin_target(request, walk(10, 6), tracker(), CONFIG)
        assert (begun.frame.number, begun.replayed, begun.truth) == (9, 0, None)


def test_a_long_replay_is_bounded_and_still_arrives() -> None:
    request = StartRequest(box=[28, 108, 24, 24], frame_id=0)
    begun = begin_target(request, walk(120, 1.5), tracker(), CONFIG)
    assert begun.replayed == MAX_REPLAY
    assert abs(begun.target.box.cx - (40 + 1.5 * 118)) < 10


def test_a_slow_machine_replays_fewer_frames_and_still_arrives() -> None:
    clock, backend = FakeClock(), BrightnessBackend()
    backend.before_predict = lambda: clock.advance(0.15)
    request = StartRequest(box=[28, 108, 24, 24], frame_id=0)
    started = clock()
    begun = begin_target(request, walk(120, 0.3), Tracker(backend), CONFIG, clock=clock)
    assert 4 <= begun.replayed <= 7
    assert (clock() - started) / NS <= REPLAY_S + 0.2
    assert abs(begun.target.box.cx - (40 + 0.3 * 118)) < 10, "the last frame is always among them"


def test_a_start_that_nobody_wants_any_more_is_given_up() -> None:
    backend = BrightnessBackend()
    request = StartRequest(box=[28, 108, 24, 24], frame_id=0)
    wanted = [False, False, True]
    with pytest.raises(GivenUpError):
        begin_target(request, walk(30, 6), Tracker(backend), CONFIG, given_up=lambda: wanted.pop(0))
    assert backend.calls == 2


def test_the_box_is_cut_to_the_frame() -> None:
    begun = begin_target(StartRequest(box=[-10, 108, 60, 24]), walk(3, 0), tracker(), CONFIG)
    assert tuple(begun.box) == (0, 108, 50, 24)


def test_the_annotated_target_can_be_named() -> None:
    request = StartRequest(box=[200, 10, 24, 24], target="square")
    assert begin_target(request, walk(3, 0), tracker(), CONFIG).truth == "square"
    with pytest.raises(UnknownTargetError, match="'cow' is not annotated; known: square"):
        begin_target(
            StartRequest(box=[200, 10, 24, 24], target="cow"), walk(3, 0), tracker(), CONFIG
        )


def test_what_cannot_begin() -> None:
    with pytest.raises(NoVideoError):
        begin_target(StartRequest(point=[9, 9]), History(NS, 10**9), tracker(), CONFIG)
    with pytest.raises(FrameGoneError):
        begin_target(StartRequest(point=[9, 9], frame_id=99), walk(3, 0), tracker(), CONFIG)
    with pytest.raises(BoxError):
        begin_target(StartRequest(box=[1, 1, 2, 2]), walk(3, 0), tracker(), CONFIG)
