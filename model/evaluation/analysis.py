"""What a report says beyond the averages: attributes, errors over time, scores against IoU."""

from __future__ import annotations

from collections.abc import Sequence as Listing
from dataclasses import dataclass

import numpy as np

from model.evaluation.box_files import Float64
from model.evaluation.metrics import SetScore, average_scores, centre_of, iou_of
from model.evaluation.runs import TrackRun
from model.evaluation.sequences import Sequence
from model.evaluation.table import ScoredRun

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class AttributeScores:
    """Scores of every tracker over the sequences of one attribute."""

    attribute: str
    sequences: int
    scores: dict[str, SetScore]


def attribute_scores(scored: Listing[ScoredRun]) -> list[AttributeScores]:
    """Average each attribute's subset, attributes by name; empty where none is flagged."""
    names = sorted({name for s in scored for name in s.sequence.attributes})
    answer = []
    for name in names:
        subset = [s for s in scored if name in s.sequence.attributes]
        by_tracker = {
            tracker: average_scores([s.score for s in subset if s.tracker == tracker])
            for tracker in dict.fromkeys(s.tracker for s in subset)
        }
        count = max(score.sequences for score in by_tracker.values())
        answer.append(AttributeScores(name, count, by_tracker))
    return answer


def delta_percent(ours: float, others: Listing[float]) -> float:
    """How much better than the best of the others, in per cent of that; NaN without others."""
    best = max(others, default=float("nan"))
    return 100 * (ours - best) / best if best else float("nan")


def cle_px(sequence: Sequence, run: TrackRun) -> Float64:
    """Centre error of each frame, px; NaN where the target is absent."""
    truth = sequence.truth
    offset = centre_of(run.boxes) - centre_of(truth)
    seen = np.all(truth[:, 2:] > 0, axis=1)
    return np.where(seen, np.hypot(offset[:, 0], offset[:, 1]), np.nan)


def worst_frames(sequence: Sequence, run: TrackRun, count: int) -> list[int]:
    """Indexes of the frames with the least IoU, then the greatest centre error, spread apart.

    A failure lasts: two chosen frames keep a twentieth of the sequence between them.
    """
    overlap = np.nan_to_num(iou_of(sequence.truth, run.boxes))
    error = cle_px(sequence, run)
    order = sorted(
        (int(i) for i in np.flatnonzero(~np.isnan(error)) if i > 0),
        key=lambda i: (overlap[i], -error[i]),
    )
    apart = max(len(sequence) // 20, 1)
    chosen: list[int] = []
    for index in order:
        if len(chosen) == count:
            break
        if all(abs(index - other) >= apart for other in chosen):
            chosen.append(index)
    return chosen


@dataclass(frozen=True)
class Calibration:
    """How far a tracker's score tells its IoU.

    Attributes:
        bins: centre, mean IoU (NaN when empty) and frames of each score bin.
        rank_correlation: Spearman's, −1..1; NaN where the scores do not vary.
        separation: chance that a frame with IoU above 0.5 scores higher than one below, 0.5 is
            blind; NaN where one kind is missing.
        frames: counted.
    """

    bins: tuple[tuple[float, float, int], ...]
    rank_correlation: float
    separation: float
    frames: int


def calibrate(runs: Listing[ScoredRun]) -> Calibration | None:
    """Compare scores with IoU over annotated frames; None for a tracker without scores."""
    scores, overlaps = [], []
    for item in runs:
        truth = item.sequence.truth
        count = min(len(truth), len(item.run.boxes))
        known = np.all(truth[:count, 2:] > 0, axis=1) & ~np.isnan(item.run.scores[:count])
        overlap = np.nan_to_num(iou_of(truth[:count], item.run.boxes[:count]))
        scores.append(item.run.scores[:count][known])
        overlaps.append(overlap[known])
    score = np.concatenate(scores) if scores else np.empty(0)
    overlap = np.concatenate(overlaps) if overlaps else np.empty(0)
    if not score.size:
        return None
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    place = np.clip(np.digitize(score, edges) - 1, 0, CALIBRATION_BINS - 1)
    bins = []
    for index in range(CALIBRATION_BINS):
        inside = overlap[place == index]
        mean = float(inside.mean()) if inside.size else float("nan")
        bins.append((float(edges[index : index + 2].mean()), mean, int(inside.size)))
    return Calibration(
        tuple(bins), _spearman(score, overlap), _separation(score, overlap > 0.5), len(score)
    )


def _ranks(values: Float64) -> Float64:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means = last - (counts - 1) / 2
    return np.asarray(means[place], np.float64)


def _spearman(a: Float64, b: Float64) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _separation(score: Float64, good: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    """Area under the ROC curve, by ranks (Mann-Whitney)."""
    hits, misses = int(good.sum()), int((~good).sum())
    if hits == 0 or misses == 0:
        return float("nan")
    rank_sum = float(_ranks(score)[good].sum())
    return (rank_sum - hits * (hits + 1) / 2) / (hits * misses)
