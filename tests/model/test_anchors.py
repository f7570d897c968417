from __future__ import annotations

import numpy as np

from model.anchors import anchor_iou, base_anchors, make_anchors
from model.config import TrackerConfig


def test_shapes_are_those_of_the_published_checkpoints() -> None:
    # w = int(sqrt(64 / r)), h = int(w · r), times 8; worked out by hand.
    expected = [[104, 32], [88, 40], [64, 64], [40, 80], [32, 96]]
    assert base_anchors(TrackerConfig()).tolist() == expected


def test_layout_is_anchor_row_column_around_the_centre() -> None:
    config = TrackerConfig()
    anchors = make_anchors(config).reshape(5, 21, 21, 4)
    assert anchors[0, 0, 0, :2].tolist() == [-80, -80]
    assert anchors[0, 0, 1, :2].tolist() == [-72, -80]
    assert anchors[0, 1, 0, :2].tolist() == [-80, -72]
    assert anchors[2, 10, 10].tolist() == [0, 0, 64, 64]
    assert anchors[4, 20, 20].tolist() == [80, 80, 32, 96]
    assert np.array_equal(anchors[..., 2:], np.broadcast_to(anchors[:, :1, :1, 2:], (5, 21, 21, 2)))


def test_a_smaller_map_for_training() -> None:
    anchors = make_anchors(TrackerConfig(), score_size=17)
    assert anchors.shape == (5 * 17 * 17, 4)
    assert anchors[:, 0].min() == -64
    assert anchors[:, 0].max() == 64


def test_iou_by_hand() -> None:
    anchors = np.array([[0, 0, 10, 10], [5, 0, 10, 10], [20, 0, 10, 10]], np.float32)
    np.testing.assert_allclose(anchor_iou(anchors, (0, 0, 10, 10)), [1, 50 / 150, 0], rtol=1e-6)
