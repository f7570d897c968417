from __future__ import annotations

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
