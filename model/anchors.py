"""Anchors of the region proposal network; one definition for training and flight."""

from __future__ import annotations

import numpy as np

from model.config import TrackerConfig
from model.geometry import Float

Centred = tuple[float, float, float, float]
"""cx, cy, w, h; search-region px, origin at the region's centre."""


def base_anchors(config: TrackerConfig) -> Float:
    """Return the anchor shapes of one cell.

    The area is (stride · scale)² before rounding; sides are cut to whole px as in the published
    checkpoints (SiamRPN; the base size is the stride).

    Returns:
        (k, 2) float32 w, h; search-region px.
    """
    shapes = []
    for ratio in config.anchor_ratios:
        w = int(np.sqrt(config.stride * config.stride / ratio))
        h = int(w * ratio)
        shapes.append((w * config.anchor_scale, h * config.anchor_scale))
    return np.asarray(shapes, np.float32)


def make_anchors(config: TrackerConfig, score_size: int | None = None) -> Float:
    """Lay the anchors over the score map.

    Args:
        config: tracker configuration.
        score_size: side M of the map; that of `config` when None (training uses another).

    Returns:
        (k · M · M, 4) float32 cx, cy, w, h; search-region px, origin at the region's centre. The
        anchor is the slowest axis, then row, then column: the order of a flattened (k, M, M) map.
    """
    size = config.score_size if score_size is None else score_size
    shapes = base_anchors(config)
    offset = -(size // 2) * config.stride
    line = offset + config.stride * np.arange(size, dtype=np.float32)
    rows, cols = np.meshgrid(line, line, indexing="ij")
    anchors = np.empty((len(shapes), size, size, 4), np.float32)
    anchors[..., 0] = cols
    anchors[..., 1] = rows
    anchors[..., 2] = shapes[:, 0, None, None]
    anchors[..., 3] = shapes[:, 1, None, None]
    return anchors.reshape(-1, 4)


def anchor_iou(anchors: Float, box: Centred) -> Float:
    """IoU of each anchor (N, 4) cx, cy, w, h with one box in the same frame: (N,) float32."""
    cx, cy, w, h = box
    half = anchors[:, 2:] / 2
    x0 = np.maximum(anchors[:, 0] - half[:, 0], cx - w / 2)
    x1 = np.minimum(anchors[:, 0] + half[:, 0], cx + w / 2)
    y0 = np.maximum(anchors[:, 1] - half[:, 1], cy - h / 2)
    y1 = np.minimum(anchors[:, 1] + half[:, 1], cy + h / 2)
    inter = np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0)
    return np.asarray(inter / (anchors[:, 2] * anchors[:, 3] + w * h - inter), np.float32)
