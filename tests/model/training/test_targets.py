from __future__ import annotations

import numpy as np
import pytest

from model.anchors import anchor_iou, make_anchors
from model.config import TrackerConfig
from model.decode import decode_boxes
from model.training.config import PairConfig
from model.training.targets import (
    CANDIDATE,
    IGNORED,
    NEGATIVE,
    POSITIVE,
    encode_boxes,
    make_targets,
)

ANCHORS = make_anchors(TrackerConfig(), 17)
RANDOM_ONLY = PairConfig(hard_negatives=0.0)


def test_deltas_by_hand() -> None:
    anchors = np.array([[8, -16, 64, 32]], np.float32)
    deltas = encode_boxes(anchors, (24.0, -8.0, 32.0, 64.0))
    wanted = [[16 / 64], [8 / 32], [np.log(0.5)], [np.log(2.0)]]
    np.testing.assert_allclose(deltas, wanted, rtol=1e-6)


def test_the_tracker_decodes_what_training_encodes() -> None:
    box = (13.0, -22.0, 71.0, 35.0)
    decoded = decode_boxes(encode_boxes(ANCHORS, box), ANCHORS)
    wanted = np.repeat(np.array(box, np.float32)[:, None], len(ANCHORS), 1)
    np.testing.assert_allclose(decoded, wanted, atol=1e-3)


def test_counts_and_thresholds() -> None:
    box = (4.0, 3.0, 62.0, 60.0)
    targets = make_targets(ANCHORS, box, RANDOM_ONLY, np.random.default_rng(0))
    overlap = anchor_iou(ANCHORS, box)
    positives, negatives = targets.labels == POSITIVE, targets.labels == NEGATIVE
    assert 0 < positives.sum() <= 16
    assert negatives.sum() == 48
    assert overlap[positives].min() > 0.6
    assert overlap[negatives].max() < 0.3
    between = (overlap >= 0.3) & (overlap <= 0.6)
    assert set(targets.labels[between].tolist()) == {IGNORED}
    assert targets.weights.sum() == pytest.approx(1.0)
    assert set(np.flatnonzero(targets.weights)) == set(np.flatnonzero(positives))


def test_the_hard_share_is_left_to_the_loss() -> None:
    config = PairConfig(hard_negatives=0.5)
    targets = make_targets(ANCHORS, (0, 0, 60, 60), config, np.random.default_rng(0))
    assert (targets.labels == NEGATIVE).sum() == 24
    assert (targets.labels == CANDIDATE).sum() > 500


def test_a_negative_pair_has_no_positive_and_marks_the_other_object() -> None:
    box = (0.0, 0.0, 64.0, 64.0)
    targets = make_targets(ANCHORS, box, RANDOM_ONLY, np.random.default_rng(0), negative=True)
    on_object = anchor_iou(ANCHORS, box) > 0.6
    assert (targets.labels == POSITIVE).sum() == 0
    assert ((targets.labels == NEGATIVE) & on_object).sum() >= min(16, on_object.sum())
    assert targets.weights.sum() == 0


def test_a_visible_target_is_kept_out_of_a_negative_pair() -> None:
    seen = (40.0, 0.0, 64.0, 64.0)
    targets = make_targets(
        ANCHORS, (-40.0, 0.0, 64.0, 64.0), RANDOM_ONLY, np.random.default_rng(0), True, seen
    )
    touching = anchor_iou(ANCHORS, seen) > 0.05
    assert set(targets.labels[touching].tolist()) == {IGNORED}


def test_a_target_that_no_anchor_fits_gives_no_positive() -> None:
    targets = make_targets(ANCHORS, (0, 0, 4, 4), RANDOM_ONLY, np.random.default_rng(0))
    assert (targets.labels == POSITIVE).sum() == 0
    assert np.isfinite(targets.deltas).all()
