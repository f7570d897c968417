"""Metrics of one-pass evaluation under two named conventions.

A, `matlab`: the toolkits of OTB, DTB70, UAV123 and UAVDT. B, `pysot`: PySOT and the paper's
release; the default. They differ in which frames count as annotated, in how missing answers are
treated and in how thresholds are rounded; see docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from model.errors import InputError
from model.evaluation.box_files import Float64

PRECISION_PX = 20
NORM_AT = 0.20


class Convention(str, Enum):
    """Whose rules decide."""

    PYSOT = "pysot"
    MATLAB = "matlab"


# MATLAB's colon operator counts from both ends; arange misses two published values in 154.
_MATLAB_STEPS: Float64 = np.array(
    [i * 0.05 for i in range(11)] + [1 - k * 0.05 for k in range(9, -1, -1)], np.float64
)
_PYSOT_STEPS: Float64 = np.arange(0, 1.05, 0.05)
PRECISION_STEPS_PX: Float64 = np.arange(0, 51, dtype=np.float64)
NORM_STEPS: Float64 = np.arange(0, 51, dtype=np.float64) / 100


def success_steps(convention: Convention) -> Float64:
    """The 21 IoU thresholds 0, 0.05 … 1 with the convention's rounding."""
    return _MATLAB_STEPS if convention is Convention.MATLAB else _PYSOT_STEPS


@dataclass(frozen=True)
class Curves:
    """The three curves and what is read from them; shares are of all frames.

    Attributes:
        success: (21,) share of frames with IoU above each of `success_steps`.
        precision: (51,) share of frames with a centre error of at most 0 … 50 px.
        norm_precision: (51,) the same for the error relative to the truth's size, 0 … 0.50.
    """

    success: Float64
    precision: Float64
    norm_precision: Float64

    @property
    def auc(self) -> float:
        """Success AUC: mean of the 21 points."""
        return float(self.success.mean())

    @property
    def precision_at_20(self) -> float:
        """Share of frames with a centre error of at most 20 px."""
        return float(self.precision[PRECISION_PX])

    @property
    def norm_precision_at_020(self) -> float:
        """Normalised precision, the value at 0.20."""
        return float(self.norm_precision[20])

    @property
    def norm_precision_mean(self) -> float:
        """Normalised precision, the mean of its curve."""
        return float(self.norm_precision.mean())


@dataclass(frozen=True)
class SequenceScore(Curves):
    """Curves and figures of one sequence.

    Attributes:
        mean_cle_px: mean centre location error over annotated frames, px; NaN without one.
        mean_iou: mean IoU over annotated frames; NaN without one.
        ao: average overlap as GOT-10k counts: the first frame left out.
        sr50: share of frames with IoU above 0.50, read from the success curve.
        sr75: share of frames with IoU above 0.75.
        frames: length of the sequence.
    """

    mean_cle_px: float
    mean_iou: float
    ao: float
    sr50: float
    sr75: float
    frames: int


def iou_of(a: Float64, b: Float64) -> Float64:
    """IoU of boxes row by row, continuous areas: two (N, 4) → (N,); NaN where a value is NaN."""
    right = np.minimum(a[:, 0] + a[:, 2], b[:, 0] + b[:, 2])
    bottom = np.minimum(a[:, 1] + a[:, 3], b[:, 1] + b[:, 3])
    width = np.maximum(right - np.maximum(a[:, 0], b[:, 0]), 0.0)
    height = np.maximum(bottom - np.maximum(a[:, 1], b[:, 1]), 0.0)
    inter = width * height
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - inter
    answer = np.full(len(a), np.nan)
    known = ~np.isnan(union)
    answer[known] = 0.0
    np.divide(inter, union, out=answer, where=known & (union > 0))
    return answer


def centre_of(boxes: Float64) -> Float64:
    """Centres x + (w − 1)/2, y + (h − 1)/2: (N, 4) → (N, 2) px."""
    return np.asarray(boxes[:, :2] + (boxes[:, 2:] - 1) / 2, np.float64)


def match_length(result: Float64, frames: int, pad: bool, what: str = "result") -> Float64:
    """Bring a result to the length of its sequence.

    Args:
        result: (N, 4) boxes.
        frames: length of the sequence.
        pad: fill a short one with zero boxes and cut a long one (as pytracking does).
        what: names the result in the error.

    Raises:
        InputError: the lengths differ and `pad` is off.
    """
    if len(result) == frames:
        return result
    if not pad:
        raise InputError(
            f"{what}: expected {frames} boxes, one a frame, found {len(result)}; "
            "ask for padding to fill a short result with failures and cut a long one"
        )
    fitted = np.zeros((frames, 4))
    fitted[: min(frames, len(result))] = result[:frames]
    return fitted


def repair_result(result: Float64, truth: Float64) -> Float64:
    """Convention A's repair: a missing box takes the previous one; frame 1 becomes the truth."""
    fixed: Float64 = result.copy()
    annotated = ~np.isnan(truth).any(axis=1)
    missing = np.isnan(result).any(axis=1) | (result[:, 2] <= 0) | (result[:, 3] <= 0)
    for index in np.flatnonzero(missing & annotated):
        if index > 0:
            fixed[index] = fixed[index - 1]
    fixed[0] = truth[0]
    return fixed


def frame_errors(
    truth: Float64, result: Float64, convention: Convention
) -> tuple[Float64, Float64, Float64]:
    """IoU, centre error (px) and normalised error of each frame.

    Returns:
        three (N,) arrays. Frames that the convention masks hold −1: a failure of success, a hit
        of precision. NaN (no answer) fails both.
    """
    if convention is Convention.MATLAB:
        result = repair_result(result, truth)
        overlap_mask = error_mask = norm_mask = np.all(truth > 0, axis=1)
    else:
        overlap_mask = np.all(truth[:, 2:] > 0, axis=1)
        error_mask = np.all(centre_of(truth) > 0, axis=1)
        norm_mask = error_mask
    offset = centre_of(result) - centre_of(truth)
    overlap = np.where(overlap_mask, iou_of(truth, result), -1.0)
    error = np.where(error_mask, np.hypot(offset[:, 0], offset[:, 1]), -1.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a side of 0 makes it a failure
        if convention is Convention.MATLAB:
            relative = offset / truth[:, 2:]
        else:  # PySOT scales before it subtracts: whole-px errors on a threshold round otherwise
            relative = centre_of(result) / truth[:, 2:] - centre_of(truth) / truth[:, 2:]
    norm = np.where(norm_mask, np.hypot(relative[:, 0], relative[:, 1]), -1.0)
    return overlap, error, norm


def score_sequence(
    truth: Float64,
    result: Float64,
    convention: Convention = Convention.PYSOT,
    pad: bool = False,
    frame_size: tuple[int, int] | None = None,
) -> SequenceScore:
    """Score one result.

    Args:
        truth: (N, 4) x, y, w, h px; NaN where the target is absent.
        result: (N, 4) likewise, the first being the given box.
        convention: whose rules.
        pad: see `match_length`.
        frame_size: width, height; boxes are cut to it for `ao`, as GOT-10k does.

    Raises:
        InputError: the lengths differ, or the sequence has no frame.
    """
    if len(truth) == 0:
        raise InputError("the sequence has no frame: expected at least one box")
    result = match_length(result, len(truth), pad)
    overlap, error, norm = frame_errors(truth, result, convention)
    count = len(truth)
    seen = np.all(truth[:, 2:] > 0, axis=1)
    plain = np.nan_to_num(iou_of(truth, result))
    offset = centre_of(result) - centre_of(truth)
    distance = np.hypot(offset[:, 0], offset[:, 1])[seen]
    success = share_above(overlap, success_steps(convention))
    return SequenceScore(
        success=success,
        precision=share_within(error, PRECISION_STEPS_PX),
        norm_precision=share_within(norm, NORM_STEPS),
        mean_cle_px=_mean(distance[~np.isnan(distance)]),
        mean_iou=_mean(plain[seen]),
        ao=average_overlap(truth, result, frame_size),
        sr50=float(success[10]),
        sr75=float(success[15]),
        frames=count,
    )


def share_above(values: Float64, steps: Float64) -> Float64:
    """Share of all values strictly above each step; NaN is never above."""
    ordered = np.sort(np.nan_to_num(values, nan=-np.inf))
    within = np.searchsorted(ordered, steps, side="right")
    return np.asarray((len(values) - within) / len(values), np.float64)


def share_within(values: Float64, steps: Float64) -> Float64:
    """Share of all values at or below each step; NaN is never within."""
    ordered = np.sort(np.nan_to_num(values, nan=np.inf))
    return np.asarray(np.searchsorted(ordered, steps, side="right") / len(values), np.float64)


def average_overlap(
    truth: Float64, result: Float64, frame_size: tuple[int, int] | None = None
) -> float:
    """GOT-10k's AO of one sequence: mean IoU, first frame and absent frames left out.

    Args:
        truth, result: (N, 4) boxes.
        frame_size: width and height to cut both to; None leaves them whole.
    """
    if frame_size is not None:
        truth, result = cut_boxes(truth, frame_size), cut_boxes(result, frame_size)
    seen = np.all(truth[1:, 2:] > 0, axis=1)
    return _mean(np.nan_to_num(iou_of(truth[1:], result[1:]))[seen])


def cut_boxes(boxes: Float64, frame_size: tuple[int, int]) -> Float64:
    """Cut (N, 4) boxes to the frame."""
    limit = np.array(frame_size, np.float64)
    low = np.clip(boxes[:, :2], 0, limit)
    high = np.clip(boxes[:, :2] + boxes[:, 2:], 0, limit)
    return np.concatenate([low, high - low], axis=1)


@dataclass(frozen=True)
class SetScore(Curves):
    """Unweighted mean over sequences of each figure of `SequenceScore`."""

    mean_cle_px: float
    ao: float
    sr50: float
    sr75: float
    sequences: int
    frames: int


def average_scores(scores: Sequence[SequenceScore]) -> SetScore:
    """Average sequences, each with the same weight.

    Raises:
        InputError: there is none.
    """
    if not scores:
        raise InputError("no sequence to average: expected at least one result")

    def mean_curve(name: str) -> Float64:
        return np.asarray(np.mean([getattr(s, name) for s in scores], axis=0), np.float64)

    def mean_value(name: str) -> float:
        values = np.array([getattr(s, name) for s in scores], np.float64)
        return _mean(values[~np.isnan(values)])

    return SetScore(
        success=mean_curve("success"),
        precision=mean_curve("precision"),
        norm_precision=mean_curve("norm_precision"),
        mean_cle_px=mean_value("mean_cle_px"),
        ao=mean_value("ao"),
        sr50=mean_value("sr50"),
        sr75=mean_value("sr75"),
        sequences=len(scores),
        frames=sum(s.frames for s in scores),
    )


def _mean(values: Float64) -> float:
    return float(values.mean()) if values.size else float("nan")
