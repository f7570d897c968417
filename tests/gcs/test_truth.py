from __future__ import annotations

import math

from gcs.truth import match_target, measure
from model.geometry import Box

TRUTH = {"near": (100.0, 100.0, 40.0, 40.0), "far": (300.0, 100.0, 40.0, 40.0), "hidden": None}


def test_the_best_overlap_wins() -> None:
    assert match_target(Box(105, 100, 40, 40), TRUTH) == "near"
    assert match_target(Box(300, 101, 40, 40), TRUTH) == "far"


def test_too_little_overlap_matches_nothing() -> None:
    assert match_target(Box(125, 120, 40, 40), TRUTH) is None
    assert match_target(Box(0, 0, 10, 10), TRUTH) is None
    assert match_target(Box(0, 0, 10, 10), {}) is None


def test_errors_by_hand() -> None:
    error = measure(Box(103, 104, 40, 40), TRUTH, "near")
    assert error.cle_px == 5.0
    assert error.iou is not None
    assert math.isclose(error.iou, 37 * 36 / (2 * 1600 - 37 * 36))


def test_no_truth_no_figure() -> None:
    assert measure(Box(0, 0, 9, 9), TRUTH, None).cle_px is None
    assert measure(Box(0, 0, 9, 9), TRUTH, "hidden").box is None
    assert measure(Box(0, 0, 9, 9), TRUTH, "unknown").cle_px is None
    lost = measure(None, TRUTH, "near")
    assert lost.box == Box(100, 100, 40, 40)
    assert lost.cle_px is None
