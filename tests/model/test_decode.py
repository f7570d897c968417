from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from model.anchors import anchor_iou
from model.config import TrackerConfig
from model.decode import (
    VOTE_POWER,
    Decoder,
    decode_boxes,
    hanning_window,
    shape_penalty,
    target_scores,
)
from model.errors import BackendError, ShapeError
from model.geometry import Float

CONFIG = TrackerConfig()


def maps(anchor: int, row: int, column: int, logit: float = 6.0) -> tuple[Float, Float]:
    cls = np.zeros((10, 21, 21), np.float32)
    cls[:5] = 4.0
    cls[anchor, row, column] = 0.0
    cls[5 + anchor, row, column] = logit
    return cls, np.zeros((20, 21, 21), np.float32)


def test_deltas_move_and_scale_the_anchor() -> None:
    anchors = np.array([[8, -16, 64, 32]], np.float32)
    deltas = np.array([[0.5], [-0.25], [math.log(2)], [0.0]], np.float32)
    assert decode_boxes(deltas, anchors)[:, 0] == pytest.approx([40, -24, 128, 32])


def test_deltas_of_another_count_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(4, 1\)"):
        decode_boxes(np.zeros((4, 2), np.float32), np.zeros((1, 4), np.float32))


def test_scores_are_the_soft_max_over_two_classes() -> None:
    logits = np.array([[0.0, 2.0, -1000.0], [0.0, -1.0, 1000.0]], np.float32)
    assert target_scores(logits) == pytest.approx([0.5, 1 / (1 + math.exp(3)), 1.0])


def test_no_change_of_shape_costs_nothing() -> None:
    same = shape_penalty(np.array([30.0]), np.array([20.0]), 30.0, 20.0, CONFIG)
    assert same == pytest.approx(1)


def test_twice_the_size_and_half_the_size_cost_the_same() -> None:
    sides = np.array([60.0, 15.0], np.float32)
    got = shape_penalty(sides, sides * 2 / 3, 30.0, 20.0, CONFIG)
    assert got == pytest.approx(math.exp(-(2 - 1) * 0.14), rel=1e-5)


def test_penalty_multiplies_ratio_and_scale_changes() -> None:
    # 30 x 20 → 20 x 30: the padded area stays, the ratio changes by 2.25
    got = shape_penalty(np.array([20.0]), np.array([30.0]), 30.0, 20.0, CONFIG)
    assert got == pytest.approx(math.exp(-(2.25 - 1) * 0.14), rel=1e-5)


def test_the_window_peaks_at_the_centre_of_every_anchor_and_is_zero_at_the_rim() -> None:
    window = hanning_window(CONFIG).reshape(5, 21, 21)
    assert window[:, 10, 10] == pytest.approx(1)
    assert window[:, 0].max() == 0
    assert np.array_equal(window[0], window[4])


def test_the_peak_is_chosen_and_decoded() -> None:
    cls, loc = maps(2, 12, 7)
    loc[2, 12, 7] = 0.25
    chosen = Decoder(CONFIG).select(cls, loc, 64, 64)
    assert (chosen.dx, chosen.dy) == pytest.approx(((7 - 10) * 8 + 0.25 * 64, (12 - 10) * 8))
    assert (chosen.w, chosen.h) == pytest.approx((64, 64))
    assert chosen.score == pytest.approx(1 / (1 + math.exp(-6)))
    assert chosen.penalty == pytest.approx(1)


def test_of_two_equal_peaks_the_window_favours_the_middle_and_its_absence_does_not() -> None:
    cls, loc = maps(2, 1, 1)
    cls[2, 10, 10], cls[7, 10, 10] = 0.0, 5.5
    decoder = Decoder(CONFIG)
    assert decoder.select(cls, loc, 64, 64).dx == pytest.approx(0)
    assert decoder.select(cls, loc, 64, 64, windowed=False).dx == pytest.approx(-72)


def test_boxes_that_agree_are_averaged_by_their_scores() -> None:
    cls, loc = maps(2, 10, 10)
    # A neighbour that says the same place, 4 px to the right; one that is sure of another place.
    cls[2, 10, 11], cls[7, 10, 11] = 0.0, 0.0
    loc[2, 10, 11] = -4 / 64
    cls[2, 10, 2], cls[7, 10, 2] = 0.0, 5.9
    alone = Decoder(CONFIG).select(cls, loc, 64, 64)
    voted = Decoder(replace(CONFIG, vote_iou=0.7)).select(cls, loc, 64, 64)
    assert (alone.dx, alone.dy, alone.w, alone.h) == pytest.approx((0, 0, 64, 64))
    first, second = voted_weight(6.0), voted_weight(0.0)
    assert voted.dx == pytest.approx(4 * second / (first + second), rel=1e-3)
    assert (voted.dy, voted.w, voted.h) == pytest.approx((0, 64, 64))
    assert (voted.score, voted.penalty) == (alone.score, alone.penalty)


def voted_weight(logit: float) -> float:
    return (1 / (1 + math.exp(-logit))) ** VOTE_POWER


@pytest.mark.parametrize("vote_iou", [0.3, 0.7, 0.95])
def test_every_box_that_agrees_has_a_vote(vote_iou: float) -> None:
    """Against the plain sum over all boxes, on maps whose boxes lie anywhere."""
    rng = np.random.default_rng(3)
    decoder = Decoder(replace(CONFIG, vote_iou=vote_iou))
    for _ in range(20):
        cls = rng.normal(0, 2, (10, 21, 21)).astype(np.float32)
        loc = rng.normal(0, 0.5, (20, 21, 21)).astype(np.float32)
        alone = Decoder(CONFIG).select(cls, loc, 60, 40)
        boxes = decode_boxes(loc.reshape(4, -1), decoder.anchors)
        scores = target_scores(cls.reshape(2, -1))
        scores = scores * shape_penalty(boxes[2], boxes[3], 60, 40, CONFIG)
        agree = anchor_iou(boxes.T, alone[:4]) >= vote_iou
        weights = scores[agree].astype(np.float64) ** VOTE_POWER
        wanted = (boxes[:, agree] * weights).sum(1) / weights.sum()
        assert decoder.select(cls, loc, 60, 40)[:4] == pytest.approx(wanted, rel=1e-4, abs=1e-3)


def test_a_box_that_nothing_agrees_with_stands_alone() -> None:
    cls, loc = maps(2, 10, 10)
    loc[17, 10, 10] = 2.0  # the height, 7.4 times as large as any neighbour's
    alone = Decoder(CONFIG).select(cls, loc, 64, 64)
    assert Decoder(replace(CONFIG, vote_iou=0.7)).select(cls, loc, 64, 64) == pytest.approx(alone)


@pytest.mark.parametrize("vote_iou", [0.0, 0.7])
@pytest.mark.parametrize("channel", [0, 7])
def test_values_that_are_not_finite_are_refused(channel: int, vote_iou: float) -> None:
    cls, loc = maps(2, 10, 10)
    cls[channel, 3, 3] = np.nan
    with pytest.raises(BackendError, match="not finite"):
        Decoder(replace(CONFIG, vote_iou=vote_iou)).select(cls, loc, 64, 64)


@pytest.mark.parametrize("vote_iou", [0.0, 0.7])
def test_a_delta_that_is_not_finite_is_refused(vote_iou: float) -> None:
    cls, loc = maps(2, 10, 10)
    loc[12, 10, 10] = np.nan
    with pytest.raises(BackendError, match="not finite"):
        Decoder(replace(CONFIG, vote_iou=vote_iou)).select(cls, loc, 64, 64)


def test_maps_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError, match="expected 2205 anchors"):
        Decoder(CONFIG).select(
            np.zeros((10, 17, 17), np.float32), np.zeros((20, 17, 17), np.float32), 64, 64
        )
