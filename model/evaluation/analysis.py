"""What a report says beyond the averages: attributes and errors over time."""

from __future__ import annotations

from collections.abc import Sequence as Listing
from dataclasses import dataclass

import numpy as np

from model.evaluation.box_files import Float64
from model.evaluation.metrics import SetScore, average_scores, centre_of, iou_of
from model.evaluation.runs import TrackRun
from model.evaluation.sequences import Sequence
from model.evaluation.table import ScoredRun


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
