from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import InputError
from model.evaluation.metrics import (
    Convention,
    average_overlap,
    average_scores,
    centre_of,
    frame_errors,
    iou_of,
    match_length,
    repair_result,
    score_sequence,
    share_above,
    share_within,
    success_steps,
)

NAN = float("nan")
A, B = Convention.MATLAB, Convention.PYSOT


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float64)


def count_cells(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """IoU by counting unit cells: another way than the one under test."""

    def cells(box: tuple[int, ...]) -> set[tuple[int, int]]:
        x, y, w, h = box
        return {(i, j) for i in range(x, x + w) for j in range(y, y + h)}

    union = cells(a) | cells(b)
    return len(cells(a) & cells(b)) / len(union) if union else 0.0


WHOLE_BOX = st.tuples(st.integers(-8, 8), st.integers(-8, 8), st.integers(0, 9), st.integers(0, 9))


@settings(max_examples=100)
@given(WHOLE_BOX, WHOLE_BOX)
def test_iou_equals_counted_cells(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    expected = count_cells(a, b)
    assert iou_of(boxes(a), boxes(b))[0] == pytest.approx(expected, abs=1e-12)


PART_BOX = st.tuples(*[st.floats(-20, 20, width=16)] * 2, *[st.floats(0.5, 30, width=16)] * 2)


@settings(max_examples=100)
@given(PART_BOX, PART_BOX)
def test_iou_equals_opencvs_intersection(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    def rotated(box: tuple[float, ...]) -> tuple[tuple[float, float], tuple[float, float], float]:
        x, y, w, h = box
        return (x + w / 2, y + h / 2), (w, h), 0.0

    _, corners = cv2.rotatedRectangleIntersection(rotated(a), rotated(b))
    inter = 0.0 if corners is None else cv2.contourArea(cv2.convexHull(corners))
    expected = inter / (a[2] * a[3] + b[2] * b[3] - inter)
    assert iou_of(boxes(a), boxes(b))[0] == pytest.approx(expected, abs=1e-4)


def test_iou_by_hand() -> None:
    a = boxes((0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 0, 0), (0, 0, 4, NAN))
    b = boxes((5, 0, 10, 10), (20, 0, 5, 5), (0, 0, 0, 0), (0, 0, 4, 4))
    found = iou_of(a, b)
    assert found[0] == pytest.approx(50 / 150)
    assert found[1] == 0
    assert found[2] == 0
    assert np.isnan(found[3])


def test_the_centre_counts_pixels() -> None:
    assert centre_of(boxes((10, 20, 5, 9))).tolist() == [[12, 24]]


def test_thresholds_round_as_their_toolkits_do() -> None:
    assert len(success_steps(A)) == len(success_steps(B)) == 21
    assert success_steps(A)[14] == 1 - 6 * 0.05
    assert success_steps(A)[3] == 3 * 0.05
    assert (success_steps(A) != success_steps(B)).any()
    assert success_steps(A) == pytest.approx(success_steps(B))


def test_success_is_strict_and_precision_is_not() -> None:
    steps = np.array([0.0, 0.5, 1.0])
    assert share_above(np.array([0.0, 0.5, 1.0, NAN]), steps).tolist() == [0.5, 0.25, 0.0]
    assert share_within(np.array([0.0, 0.5, 1.0, NAN]), steps).tolist() == [0.25, 0.5, 0.75]


def test_a_perfect_result() -> None:
    truth = boxes((10, 10, 20, 30), (12, 10, 20, 30))
    score = score_sequence(truth, truth.copy())
    assert score.auc == pytest.approx(20 / 21)  # no IoU is above 1
    assert score.precision_at_20 == 1
    assert score.norm_precision_at_020 == score.norm_precision_mean == 1
    assert (score.mean_cle_px, score.mean_iou, score.ao) == (0, 1, 1)
    assert (score.sr50, score.sr75) == (1, 1)


def test_a_shifted_result_by_hand() -> None:
    truth = boxes((10, 10, 20, 20), (10, 10, 20, 20), (10, 10, 20, 20), (10, 10, 20, 20))
    result = boxes((10, 10, 20, 20), (20, 10, 20, 20), (34, 10, 20, 20), (10, 10, 20, 20))
    score = score_sequence(truth, result)
    # IoU 1, 1/3, 0, 1: above 0 … 0.30 three of four, above 0.35 … 0.95 two, above 1 none.
    assert score.auc == pytest.approx((7 * 0.75 - 0.0 + 13 * 0.5) / 21)
    assert score.precision.tolist() == [0.5] * 10 + [0.75] * 14 + [1.0] * 27
    assert score.norm_precision_at_020 == 0.5
    # 10 px of 20 is the threshold 0.50 itself: PySOT's way of rounding misses it, MATLAB's hits.
    assert score.norm_precision[50] == 0.5
    assert score_sequence(truth, result, A).norm_precision[50] == 0.75
    assert score.mean_cle_px == pytest.approx((0 + 10 + 24 + 0) / 4)
    assert score.ao == pytest.approx((1 / 3 + 0 + 1) / 3)
    assert (score.sr50, score.sr75) == (0.5, 0.5)


@pytest.mark.parametrize("convention", [A, B])
def test_one_frame(convention: Convention) -> None:
    truth = boxes((10, 10, 20, 20))
    score = score_sequence(truth, truth, convention)
    assert score.frames == 1
    assert score.precision_at_20 == 1
    assert np.isnan(score.ao)


@pytest.mark.parametrize("convention", [A, B])
def test_absent_frames_fail_success_and_hit_precision(convention: Convention) -> None:
    truth = boxes((10, 10, 20, 20), (NAN, NAN, NAN, NAN), (0, 0, 0, 0))
    result = boxes((10, 10, 20, 20), (200, 200, 5, 5), (200, 200, 5, 5))
    score = score_sequence(truth, result, convention)
    assert score.success[0] == pytest.approx(1 / 3)
    assert score.precision[0] == 1
    assert score.norm_precision[0] == 1
    assert score.mean_cle_px == 0
    assert score.mean_iou == 1


def test_a_box_that_touches_zero_counts_under_b_alone() -> None:
    truth = boxes((10, 10, 20, 20), (0, 10, 20, 20))
    assert score_sequence(truth, truth, A).success[0] == 0.5
    assert score_sequence(truth, truth, B).success[0] == 1


def test_a_missing_answer_is_repaired_under_a_alone() -> None:
    truth = boxes((10, 10, 20, 20), (10, 10, 20, 20), (10, 10, 20, 20))
    result = boxes((10, 10, 20, 20), (NAN, NAN, NAN, NAN), (10, 10, 0, 20))
    assert score_sequence(truth, result, A).success[0] == 1
    score = score_sequence(truth, result, B)
    assert score.success[0] == pytest.approx(1 / 3)
    assert score.norm_precision[50] == pytest.approx(1 / 3 + 1 / 3)  # the thin box is 10 px off
    assert score.precision[50] == pytest.approx(2 / 3)


def test_the_first_frame_is_replaced_under_a_alone() -> None:
    truth = boxes((10, 10, 20, 20), (10, 10, 20, 20))
    result = boxes((90, 90, 20, 20), (10, 10, 20, 20))
    assert score_sequence(truth, result, A).success[0] == 1
    assert score_sequence(truth, result, B).success[0] == 0.5


def test_repair_takes_the_box_before_and_leaves_its_input() -> None:
    truth = boxes((1, 1, 5, 5), (1, 1, 5, 5), (1, 1, 5, 5), (NAN, NAN, NAN, NAN))
    result = boxes((2, 2, 5, 5), (NAN, 2, 5, 5), (3, 3, -1, 5), (NAN, NAN, NAN, NAN))
    before = result.copy()
    fixed = repair_result(result, truth)
    assert fixed[:3].tolist() == [[1, 1, 5, 5], [2, 2, 5, 5], [2, 2, 5, 5]]
    assert np.isnan(fixed[3]).all()
    assert np.array_equal(result, before, equal_nan=True)


def test_scoring_leaves_its_arrays_alone() -> None:
    truth = boxes((10, 10, 20, 20), (NAN, NAN, NAN, NAN))
    result = boxes((12, 10, 20, 20), (NAN, 1, 1, 1))
    kept = truth.copy(), result.copy()
    for convention in Convention:
        score_sequence(truth, result, convention, frame_size=(50, 50))
    assert np.array_equal(truth, kept[0], equal_nan=True)
    assert np.array_equal(result, kept[1], equal_nan=True)


def test_another_length_is_an_error_unless_padded() -> None:
    truth = boxes((10, 10, 20, 20), (10, 10, 20, 20))
    with pytest.raises(InputError, match=r"expected 2 boxes.*found 1"):
        score_sequence(truth, truth[:1])
    padded = score_sequence(truth, truth[:1], pad=True)
    assert padded.success[0] == 0.5
    cut = match_length(np.ones((5, 4)), 2, pad=True)
    assert cut.shape == (2, 4)


def test_no_frame_is_an_error() -> None:
    with pytest.raises(InputError, match="no frame"):
        score_sequence(np.empty((0, 4)), np.empty((0, 4)))
    with pytest.raises(InputError, match="no sequence"):
        average_scores([])


def test_average_overlap_cuts_to_the_frame_and_skips_the_first() -> None:
    truth = boxes((0, 0, 10, 10), (90, 0, 20, 10))
    result = boxes((50, 50, 10, 10), (90, 0, 10, 10))
    assert average_overlap(truth, result) == pytest.approx(0.5)
    assert average_overlap(truth, result, (100, 100)) == 1


def test_every_sequence_has_the_same_weight() -> None:
    long = boxes(*[(10, 10, 20, 20)] * 9)
    miss = boxes(*[(10, 10, 20, 20), (90, 90, 5, 5)])
    scores = [score_sequence(long, long), score_sequence(long[:2], miss)]
    mean = average_scores(scores)
    assert mean.success[0] == pytest.approx((1 + 0.5) / 2)
    assert (mean.sequences, mean.frames) == (2, 11)


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.sampled_from(list(Convention)))
def test_curves_fall_and_rise(seed: int, convention: Convention) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1, 100, (12, 4))
    result = truth + rng.normal(0, 10, (12, 4))
    truth[rng.random(12) < 0.2] = NAN
    score = score_sequence(truth, result, convention)
    assert (np.diff(score.success) <= 0).all()
    assert (np.diff(score.precision) >= 0).all()
    assert 0 <= score.auc <= 1
    overlap, error, norm = frame_errors(truth, result, convention)
    assert overlap.shape == error.shape == norm.shape == (12,)
