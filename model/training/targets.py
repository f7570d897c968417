"""Anchor targets: which anchors are positive or negative, and the deltas they should predict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.anchors import Centred, anchor_iou
from model.geometry import Float
from model.training.config import PairConfig

POSITIVE = 1
NEGATIVE = 0
IGNORED = -1
CANDIDATE = -2
"""An anchor that is negative but was not drawn; the hardest of them are added in the loss."""

_TOUCH_IOU = 0.05

Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class AnchorTargets:
    """Targets of one pair.

    Attributes:
        labels: (N,) int8, POSITIVE, NEGATIVE, IGNORED or CANDIDATE.
        deltas: (4, N) float32 dx, dy, dw, dh towards the target.
        weights: (N,) float32, 1 / number of positives on the positives, else 0.
    """

    labels: Labels
    deltas: Float
    weights: Float


def encode_boxes(anchors: Float, box: Centred) -> Float:
    """Deltas that turn the anchors into the box; the inverse of `model.decode.decode_boxes`.

    Args:
        anchors: (N, 4) cx, cy, w, h; search-region px, origin at its centre.
        box: the target, same frame.

    Returns:
        (4, N) float32 dx, dy, dw, dh.
    """
    cx, cy, w, h = box
    deltas = np.empty((4, len(anchors)), np.float32)
    deltas[0] = (cx - anchors[:, 0]) / anchors[:, 2]
    deltas[1] = (cy - anchors[:, 1]) / anchors[:, 3]
    deltas[2] = np.log(w / anchors[:, 2])
    deltas[3] = np.log(h / anchors[:, 3])
    return deltas


def make_targets(
    anchors: Float,
    box: Centred,
    config: PairConfig,
    rng: np.random.Generator,
    negative: bool = False,
    keep_out: Centred | None = None,
) -> AnchorTargets:
    """Label the anchors of one pair.

    At most 16 positives and 48 negatives are drawn (SiamRPN); of the negatives, the share
    `hard_negatives` is left to the loss, which adds those with the highest score.

    Args:
        anchors: (N, 4) from `model.anchors.make_anchors`.
        box: the object in the search region: the target, or in a negative pair another object.
        config: thresholds and counts.
        rng: draws the anchors.
        negative: the object is not the template's target, so every anchor is negative and those
            on the object are drawn first.
        keep_out: where the template's target may be seen in a negative pair; anchors that touch
            it are ignored.
    """
    overlap = anchor_iou(anchors, box)
    labels = np.full(len(anchors), IGNORED, np.int8)
    weights = np.zeros(len(anchors), np.float32)
    drawn = config.negatives - round(config.negatives * config.hard_negatives)
    positives = np.flatnonzero(overlap > config.positive_iou)
    if negative:
        labels[:] = CANDIDATE
        if keep_out is not None:
            labels[anchor_iou(anchors, keep_out) > _TOUCH_IOU] = IGNORED
            positives = positives[labels[positives] == CANDIDATE]
        labels[_draw(positives, config.positives, rng)] = NEGATIVE
    else:
        labels[overlap < config.negative_iou] = CANDIDATE
        chosen = _draw(positives, config.positives, rng)
        labels[chosen] = POSITIVE
        weights[chosen] = 1.0 / max(len(chosen), 1)
    labels[_draw(np.flatnonzero(labels == CANDIDATE), drawn, rng)] = NEGATIVE
    return AnchorTargets(labels, encode_boxes(anchors, box), weights)


def _draw(
    numbers: npt.NDArray[np.int64], most: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    if len(numbers) <= most:
        return numbers
    return rng.choice(numbers, most, replace=False)
