"""How far a tracker's score tells its IoU, and what the ground station's thresholds make of it."""

from __future__ import annotations

from collections.abc import Sequence as Listing
from dataclasses import dataclass

import numpy as np

from model.confidence import ConfidenceConfig
from model.evaluation.box_files import Float64
from model.evaluation.document import Block, Cell, Figure, Heading, Table, slug
from model.evaluation.metrics import iou_of
from model.evaluation.plots import plot_calibration
from model.evaluation.table import ScoredRun

CALIBRATION_BINS = 10
THRESHOLDS = ("lost_score", "low_score", "found_score")
GOOD_IOU = 0.5
ASTRAY_IOU = 0.1


@dataclass(frozen=True)
class Threshold:
    """What a threshold on the score would do.

    Attributes:
        name: field of `ConfidenceConfig`.
        score: its default.
        missed: share of the good boxes (IoU above 0.5) below it; NaN without good boxes.
        held: share of the boxes astray (IoU below 0.1) at or above it; NaN without such.
    """

    name: str
    score: float
    missed: float
    held: float


@dataclass(frozen=True)
class Calibration:
    """How far a tracker's score tells its IoU.

    Attributes:
        bins: centre, mean IoU (NaN when empty) and frames of each score bin.
        rank_correlation: Spearman's, −1..1; NaN where the scores do not vary.
        separation: chance that a frame with IoU above 0.5 scores higher than one below, 0.5 is
            blind; NaN where one kind is missing.
        frames: counted.
        thresholds: what each of the ground station's thresholds would do.
    """

    bins: tuple[tuple[float, float, int], ...]
    rank_correlation: float
    separation: float
    frames: int
    thresholds: tuple[Threshold, ...]


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
        tuple(bins),
        _spearman(score, overlap),
        _separation(score, overlap > 0.5),
        len(score),
        tuple(_threshold(name, score, overlap) for name in THRESHOLDS),
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


def _threshold(name: str, score: Float64, overlap: Float64) -> Threshold:
    value = float(getattr(ConfidenceConfig(), name))
    good, astray = overlap > GOOD_IOU, overlap < ASTRAY_IOU
    missed = float((score[good] < value).mean()) if good.any() else float("nan")
    held = float((score[astray] >= value).mean()) if astray.any() else float("nan")
    return Threshold(name, value, missed, held)


def calibration_blocks(scored: Listing[ScoredRun]) -> list[Block]:
    """The report's part on confidence; empty where no tracker gives scores."""
    rows: list[tuple[Cell, ...]] = []
    limits: list[tuple[Cell, ...]] = []
    figures: list[Block] = []
    for tracker in dict.fromkeys(s.tracker for s in scored):
        found = calibrate([s for s in scored if s.tracker == tracker])
        if found is None:
            continue
        values = (f"{found.rank_correlation:.3f}", f"{found.separation:.3f}", f"{found.frames}")
        rows.append((Cell(tracker), *(Cell(v) for v in values)))
        limits += [(Cell(tracker), *_threshold_cells(one)) for one in found.thresholds]
        title = f"Score against IoU, {tracker}"
        data = plot_calibration(found.bins, title)
        figures.append(Figure(f"calibration-{slug(tracker)}.svg", data, title))
    if not rows:
        return []
    headings = ("tracker", "rank correlation", "separation at IoU 0.5", "frames")
    caption = (
        "Separation: chance that a frame with IoU above 0.5 has a higher score than one below; "
        "0.5 is blind. A score is no probability"
    )
    table = Table(headings, tuple(rows), caption)
    columns = (
        "tracker",
        "threshold",
        "score",
        "good boxes below it",
        "boxes astray at or above it",
    )
    caption = (
        "The ground station's thresholds (`confidence:` in its settings). Good: IoU above 0.5; "
        "astray: IoU below 0.1. The first share is what it doubts for nothing, the second what it "
        "holds wrongly"
    )
    return [Heading("Confidence"), table, Table(columns, tuple(limits), caption), *figures]


def _threshold_cells(one: Threshold) -> tuple[Cell, ...]:
    shares = ("-" if np.isnan(v) else f"{v:.1%}" for v in (one.missed, one.held))
    return (Cell(one.name), Cell(f"{one.score:g}"), *(Cell(text) for text in shares))
