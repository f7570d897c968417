"""From the network's two maps to one box (SiamRPN: penalty, window, selection)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from model.anchors import anchor_iou, make_anchors
from model.config import TrackerConfig
from model.errors import BackendError, ShapeError
from model.geometry import Float

VOTE_POWER = 4
"""Weight of a vote: its penalised score to this power."""


class Candidate(NamedTuple):
    """The chosen anchor after regression; search-region px, origin at the region's centre."""

    dx: float
    dy: float
    w: float
    h: float
    score: float
    """Soft-max score of the target class, 0..1, before penalty and window."""
    penalty: float
    """exp(−(r·s − 1) · penalty_k) of the chosen anchor, 0..1."""


def decode_boxes(deltas: Float, anchors: Float) -> Float:
    """Apply the regression deltas to the anchors (SiamRPN, box regression).

    Args:
        deltas: (4, N) dx, dy, dw, dh; unitless, relative to the anchor size.
        anchors: (N, 4) cx, cy, w, h; search-region px, origin at its centre.

    Returns:
        (4, N) cx, cy, w, h; search-region px, same origin.

    Raises:
        ShapeError: the two do not hold the same N.
    """
    if deltas.shape != (4, len(anchors)):
        raise ShapeError(f"deltas are {deltas.shape}: expected (4, {len(anchors)})")
    boxes = np.empty_like(deltas)
    boxes[:2] = deltas[:2] * anchors[:, 2:].T + anchors[:, :2].T
    boxes[2:] = np.exp(deltas[2:]) * anchors[:, 2:].T
    return boxes


def target_scores(cls: Float) -> Float:
    """Soft-max over {background, target}: (2, N) logits → (N,) scores of the target class."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(cls[0] - cls[1], -60, 60))), np.float32)


def hanning_window(config: TrackerConfig) -> Float:
    """Cosine window over the map, repeated for each anchor: (k · M · M,) float32."""
    line = np.hanning(config.score_size).astype(np.float32)
    return np.tile(np.outer(line, line).ravel(), config.anchors_per_cell)


def _padded_side(w: Float | float, h: Float | float, context: float) -> Float:
    pad = (w + h) * context
    return np.asarray(np.sqrt((w + pad) * (h + pad)), np.float32)


def shape_penalty(w: Float, h: Float, ref_w: float, ref_h: float, config: TrackerConfig) -> Float:
    """Penalise a change of scale and of aspect ratio: exp(−(r_c · s_c − 1) · penalty_k).

    Args:
        w, h: (N,) sides of the candidates.
        ref_w, ref_h: the target's sides in the same px.
        config: for `context_amount` and `penalty_k`.

    Returns:
        (N,) float32 in 0..1; 1 where neither changes.
    """
    context = config.context_amount
    scale = _padded_side(w, h, context) / _padded_side(ref_w, ref_h, context)
    ratio = (ref_w / ref_h) / (w / h)
    change = np.maximum(scale, 1 / scale) * np.maximum(ratio, 1 / ratio)
    return np.asarray(np.exp((1.0 - change) * config.penalty_k), np.float32)


class Decoder:
    """Holds what does not change from frame to frame: anchors and window."""

    def __init__(self, config: TrackerConfig) -> None:
        """Lay out the anchors and the window once."""
        self.config = config
        self.anchors = make_anchors(config)
        self.window = hanning_window(config)
        self._windowed = self.window * config.window_influence

    def select(
        self, cls: Float, loc: Float, ref_w: float, ref_h: float, windowed: bool = True
    ) -> Candidate:
        """Choose the best anchor.

        Args:
            cls: (2k, M, M) logits.
            loc: (4k, M, M) deltas.
            ref_w, ref_h: the target's last size, search-region px.
            windowed: mix the cosine window in; off when the target is searched for anew.

        Raises:
            ShapeError: the maps do not fit the configuration.
            BackendError: a value is not finite.
        """
        count = len(self.anchors)
        if cls.size != 2 * count or loc.size != 4 * count:
            raise ShapeError(f"maps are {cls.shape} and {loc.shape}: expected {count} anchors")
        scores = target_scores(cls.reshape(2, count))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            boxes = decode_boxes(loc.reshape(4, count), self.anchors)
            penalty = shape_penalty(boxes[2], boxes[3], ref_w, ref_h, self.config)
        ranked = penalised = penalty * scores
        if windowed:
            ranked = penalised * (1.0 - self.config.window_influence)
            ranked += self._windowed
        best = int(np.argmax(ranked))
        dx, dy, w, h = (float(v) for v in self._elect(boxes, penalised, best))
        chosen = Candidate(dx, dy, w, h, float(scores[best]), float(penalty[best]))
        # argmax of an array that holds a NaN is that NaN's place, so this catches every one.
        if not (np.isfinite(ranked[best]) and np.all(np.isfinite(chosen))):
            raise BackendError("the engine answered with values that are not finite")
        return chosen

    def _elect(self, boxes: Float, scores: Float, best: int) -> Float:
        """The chosen box, or the weighted mean of those that agree with it (box voting).

        The scores say where the target is; each anchor's box errs in its own way (Gidaris and
        Komodakis, Object detection via a multi-region and semantic segmentation-aware CNN, 2015).
        """
        box = boxes[:, best]
        if self.config.vote_iou == 0:
            return box
        cx, cy, w, h = (float(v) for v in box)
        # Boxes that overlap so much have centres so near; the others need not be looked at.
        reach = 1.0 / self.config.vote_iou - 1.0 + 1e-3
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            near = np.flatnonzero(
                (np.abs(boxes[0] - cx) <= reach * w) & (np.abs(boxes[1] - cy) <= reach * h)
            )
            beside = boxes[:, near]
            agree = anchor_iou(beside.T, (cx, cy, w, h)) >= self.config.vote_iou
        votes = scores[near[agree]] ** VOTE_POWER
        total = votes.sum()
        return np.asarray(beside[:, agree] @ votes / total) if total > 0 else box
