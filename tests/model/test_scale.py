from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.config import TrackerConfig
from model.errors import ConfigError
from model.geometry import Box, Image, iou
from model.scale import TREND_RATE, Glance, even, glance, next_factor, settle
from model.tracker import Tracker
from tests.model.test_tracker import CorrelationBackend

CONFIG = TrackerConfig(scale_dither=0.1, scale_gain=0.05)


def test_the_region_is_larger_and_smaller_by_turns() -> None:
    first = glance(None, 40.0, 30.0, 0.9)
    second = glance(first, 40.0, 30.0, 0.9)
    factors = [next_factor(last, CONFIG) for last in (None, first, second)]
    assert factors == pytest.approx([math.exp(0.1), math.exp(-0.1), math.exp(0.1)])


@pytest.mark.parametrize(
    ("grown", "last", "now", "step"),
    [
        (True, 1.0, 1.4, 0.4),  # the larger region scores higher: grow
        (False, 1.0, 1.4, -0.4),  # the smaller one does: shrink
        (True, 1.0, 1.0, 0.0),
        (True, 0.5, 4.0, 1.0),  # no more than one unit
        (False, 0.5, 4.0, -1.0),
    ],
)
def test_the_size_climbs_towards_the_better_scale(
    grown: bool, last: float, now: float, step: float
) -> None:
    before, after = Glance(not grown, 40.0, 30.0, last), Glance(grown, 44.1, 33.075, now)
    settled, factor = settle(before, after, CONFIG)
    assert settled.trend == pytest.approx(TREND_RATE * step)
    assert factor == pytest.approx(math.exp(0.05 * settled.trend))
    again, _ = settle(replace(before, trend=settled.trend), after, CONFIG)
    assert abs(again.trend) == pytest.approx(abs(step) * (1 - (1 - TREND_RATE) ** 2))
    assert even(before, after) == pytest.approx((42.0, 31.5))


def test_poor_scores_do_not_move_the_size() -> None:
    _, factor = settle(Glance(True, 40, 30, -3.0), Glance(False, 40, 30, -0.1), CONFIG)
    assert factor == 1.0


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_score_at_the_end_of_its_range_is_finite(score: float) -> None:
    assert math.isfinite(glance(None, 40.0, 30.0, score).logit)


def growing_scene(step: int) -> tuple[Image, Box]:
    """A target that moves and grows by one per cent a frame."""
    rng = np.random.default_rng(1)
    image = rng.integers(20, 60, (480, 640, 3), np.uint8)
    patch = rng.integers(60, 255, (8, 8, 3), np.uint8)
    side = round(40 * 1.01**step)
    left, top = 60 + 3 * step, 180 - side // 2
    image[top : top + side, left : left + side] = cv2.resize(patch, (side, side), interpolation=0)
    return image, Box(left, top, side, side)


def overlap_after(config: TrackerConfig, steps: int = 80) -> float:
    tracker = Tracker(CorrelationBackend(), config)
    state = tracker.init(*growing_scene(0))
    for step in range(1, steps):
        image, truth = growing_scene(step)
        state, _ = tracker.update(state, image)
    return iou(state.box, truth)


def test_a_target_that_grows_is_followed_where_the_network_always_answers_one_size() -> None:
    assert overlap_after(CONFIG) > 0.75
    assert overlap_after(replace(CONFIG, scale_dither=0.0)) < 0.5


def test_a_search_elsewhere_begins_a_new_comparison() -> None:
    tracker = Tracker(CorrelationBackend(), CONFIG)
    state = tracker.init(*growing_scene(0))
    image, truth = growing_scene(1)
    state, _ = tracker.update(state, image)
    assert state.glance is not None
    found, _ = tracker.search(state, image, truth.cx, truth.cy)
    assert found.glance is None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"scale_dither": 0.6}, "scale_dither is 0.6: expected 0..0.5"),
        ({"scale_dither": -0.1}, "scale_dither is -0.1"),
        ({"scale_gain": -1.0}, "scale_gain is -1.0: expected a number of 0 or above"),
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        TrackerConfig.from_mapping(wrong)
