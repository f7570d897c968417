from __future__ import annotations

from dataclasses import replace

import pytest

from gcs.target import Target
from model.confidence import ConfidenceConfig, Level
from model.errors import BackendError, BoxError
from model.geometry import Box, centre_error_px
from model.tracker import Tracker
from tests.fakes import BrightnessBackend, draw_scene

CONFIG = ConfidenceConfig(
    low_score=0.6, lost_score=0.3, lost_frames=4, found_score=0.7, found_frames=3
)
START = Box(148, 108, 24, 24)


def begin() -> tuple[Target, BrightnessBackend]:
    backend = BrightnessBackend()
    return Target(Tracker(backend), CONFIG, draw_scene(160, 120), START), backend


def test_follows_a_moving_square() -> None:
    target, _ = begin()
    for step in range(40):
        answer = target.update(draw_scene(160 + step, 120 - step / 2))
        assert answer.level is Level.SURE
        assert centre_error_px(answer.box, Box.from_centre(160 + step, 120 - step / 2, 1, 1)) < 8


def test_lost_when_it_vanishes_holds_the_last_box_and_finds_it_again() -> None:
    target, _ = begin()
    answer = target.update(draw_scene(160, 120))
    held = answer.box
    empty = draw_scene(0, 0, visible=False)
    levels = [target.update(empty).level for _ in range(6)]
    assert levels[:3] == [Level.LOW] * 3
    assert levels[3:] == [Level.LOST] * 3
    assert target.update(empty).box == held
    levels = [target.update(draw_scene(190, 120)).level for _ in range(20)]
    assert levels[0] is Level.LOST
    assert levels[-1] is Level.SURE
    assert abs(target.box.cx - 190) < 6


def test_a_miss_does_not_move_the_box() -> None:
    target, _ = begin()
    held = target.update(draw_scene(160, 120)).box
    assert target.update(draw_scene(0, 0, visible=False)).box == held


@pytest.mark.parametrize("poison", [True, False])
def test_an_engine_failure_is_an_answer(poison: bool) -> None:
    target, backend = begin()
    held = target.update(draw_scene(160, 120)).box
    backend.poison, backend.failure = poison, None if poison else "device removed"
    answers = [target.update(draw_scene(160, 120)) for _ in range(6)]
    assert all(answer.refused for answer in answers)
    assert all(answer.box == held and answer.score is None for answer in answers)
    assert [a.level for a in answers[:4]] == [Level.LOW] * 3 + [Level.LOST]
    assert ("finite" if poison else "device removed") in str(answers[0].refused)
    backend.poison, backend.failure = False, None
    levels = [target.update(draw_scene(160, 120)).level for _ in range(4)]
    assert levels[-1] is Level.SURE, "it goes on where it was"


def test_a_gap_makes_it_suspect() -> None:
    target, _ = begin()
    target.update(draw_scene(160, 120))
    target.suspect()
    levels = [target.update(draw_scene(160, 120)).level for _ in range(4)]
    assert levels == [Level.LOST, Level.LOST, Level.SURE, Level.SURE]


def test_bad_starts() -> None:
    backend = BrightnessBackend()
    with pytest.raises(BoxError):
        Target(Tracker(backend), CONFIG, draw_scene(160, 120), Box(400, 1, 20, 20))
    backend.failure = "no device"
    with pytest.raises(BackendError):
        Target(Tracker(backend), CONFIG, draw_scene(160, 120), START)


def begin_with_memory(score: float = 0.5) -> tuple[Target, BrightnessBackend, list[int]]:
    """A target that learns from every second frame, and a list that grows with each time."""
    backend, learned = BrightnessBackend(), list[int]()
    backend.config = replace(
        backend.config, template_memory=0.5, memory_frames=2, memory_score=score
    )
    target = Target(Tracker(backend), CONFIG, draw_scene(160, 120), START)
    backend.before_encode = lambda: learned.append(backend.calls)
    return target, backend, learned


@pytest.mark.parametrize("asked", [True, False])
def test_it_learns_after_the_answer_whether_asked_to_or_not(asked: bool) -> None:
    target, backend, learned = begin_with_memory()
    for _ in range(5):
        answers = backend.calls
        target.update(draw_scene(160, 120))
        assert backend.calls == answers + 1
        if asked:
            assert target.learn() is None
            assert target.learn() is None, "nothing is left to learn"
    # After the second and the fourth answer, once each.
    assert learned == [2, 4]


def test_a_miss_and_a_gap_teach_nothing() -> None:
    for seen in (False, True):
        target, _, learned = begin_with_memory(score=0.0)
        target.update(draw_scene(160, 120))
        # Every second frame is learned from: this one is due.
        target.update(draw_scene(160, 120, visible=seen))
        if seen:
            target.suspect()
        target.learn()
        assert learned == []


def test_an_engine_that_fails_while_learning_leaves_the_target_as_it_was() -> None:
    target, backend, _ = begin_with_memory()
    target.update(draw_scene(160, 120))
    held = target.update(draw_scene(160, 120)).box
    backend.failure = "device removed"
    assert target.learn() == "device removed"
    backend.failure = None
    answer = target.update(draw_scene(160, 120))
    assert (answer.level, answer.refused) == (Level.SURE, None)
    assert centre_error_px(answer.box, held) < 2
