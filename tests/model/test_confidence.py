from __future__ import annotations

import math

import pytest

from model.confidence import Confidence, ConfidenceConfig, Level, judge
from model.errors import ConfigError

CONFIG = ConfidenceConfig(
    low_score=0.6, lost_score=0.3, lost_frames=3, found_score=0.7, found_frames=2
)


def run(scores: list[float | None], start: Confidence | None = None) -> list[Level]:
    state = start or Confidence()
    levels = []
    for score in scores:
        state = judge(state, score, CONFIG)
        levels.append(state.level)
    return levels


def test_levels_by_score() -> None:
    assert run([0.9, 0.6, 0.59, 0.3]) == [Level.SURE, Level.SURE, Level.LOW, Level.LOW]


def test_lost_only_after_misses_in_a_row() -> None:
    assert run([0.1, 0.1, 0.5, 0.1, 0.1]) == [Level.LOW] * 5
    assert run([0.1, 0.29, 0.0])[-1] is Level.LOST


def test_found_only_after_convincing_frames_in_a_row() -> None:
    lost = Confidence(Level.LOST)
    assert run([0.9, 0.69, 0.9], lost) == [Level.LOST] * 3
    assert run([0.7, 0.7], lost) == [Level.LOST, Level.SURE]


def test_between_the_thresholds_nothing_flickers() -> None:
    assert set(run([0.5] * 50, Confidence(Level.LOST))) == {Level.LOST}
    assert set(run([0.5] * 50)) == {Level.LOW}


@pytest.mark.parametrize("score", [None, math.nan])
def test_no_answer_is_a_miss(score: float | None) -> None:
    assert run([score] * 3)[-1] is Level.LOST
    assert run([0.9, score, 0.9], Confidence(Level.LOST))[-1] is Level.LOST


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"low_score": 1.2}, "low_score"),
        ({"lost_score": math.nan}, "lost_score"),
        ({"lost_frames": 0}, "lost_frames"),
        ({"lost_score": 0.65}, "lost_score"),
        ({"found_score": 0.3}, "found_score"),
    ],
)
def test_bad_thresholds_are_named(change: dict[str, float], named: str) -> None:
    values = {"low_score": 0.6, "lost_score": 0.3, "found_score": 0.7, **change}
    with pytest.raises(ConfigError, match=named):
        ConfidenceConfig(**values)  # type: ignore[arg-type]
