"""The figures of a run: trackers by condition, as plain rows and as text."""

from __future__ import annotations

from collections.abc import Sequence as Listing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.evaluation.errors import LengthError
from model.evaluation.metrics import (
    Convention,
    SequenceScore,
    SetScore,
    average_scores,
    score_sequence,
)
from model.evaluation.runs import TrackRun, read_run, result_path
from model.evaluation.sequences import DARKENED, DAY, NIGHT, Sequence

CONDITIONS = (DAY, DARKENED, NIGHT)


@dataclass(frozen=True)
class ScoredRun:
    """One tracker on one sequence, scored."""

    tracker: str
    sequence: Sequence
    run: TrackRun
    score: SequenceScore


@dataclass(frozen=True)
class Row:
    """One tracker under one condition."""

    tracker: str
    condition: str
    score: SetScore
    fps: float


def score_runs(
    out: Path,
    trackers: Listing[str],
    sequences: Listing[Sequence],
    convention: Convention = Convention.PYSOT,
    pad: bool = False,
) -> list[ScoredRun]:
    """Read and score the results of trackers.

    Raises:
        DataFileError: a result is missing, malformed, or of another length than the truth.
    """
    scored = []
    for tracker in trackers:
        for sequence in sequences:
            run = read_run(out, sequence, tracker)
            if len(run.boxes) != len(sequence) and not pad:
                path = result_path(out, sequence, tracker)
                raise LengthError(path, f"{len(sequence)} boxes", f"{len(run.boxes)}")
            score = score_sequence(sequence.truth, run.boxes, convention, pad)
            scored.append(ScoredRun(tracker, sequence, run, score))
    return scored


def mean_fps(runs: Listing[TrackRun]) -> float:
    """Updates a second over all runs that were timed; NaN without one."""
    times = [run.times_s[1:] for run in runs if not np.isnan(run.times_s).any()]
    total = float(sum(t.sum() for t in times))
    return sum(len(t) for t in times) / total if total > 0 else float("nan")


def make_rows(scored: Listing[ScoredRun]) -> list[Row]:
    """Average by tracker and condition, the best success AUC first."""
    rows = []
    for condition in CONDITIONS:
        group = []
        for tracker in dict.fromkeys(s.tracker for s in scored):
            mine = [s for s in scored if s.tracker == tracker and s.sequence.condition == condition]
            if mine:
                score = average_scores([s.score for s in mine])
                group.append(Row(tracker, condition, score, mean_fps([s.run for s in mine])))
        rows.extend(sorted(group, key=lambda row: -row.score.auc))
    return rows


FIGURES = (
    "success AUC",
    "prec@20",
    "norm@0.20",
    "norm mean",
    "AO",
    "SR0.5",
    "SR0.75",
    "CLE px",
    "fps",
)
HEADINGS = ("tracker", *FIGURES)


def row_cells(row: Row) -> tuple[str, ...]:
    """The cells under `HEADINGS`; a figure that does not exist is a dash."""
    s = row.score
    shares = (
        *(s.auc, s.precision_at_20, s.norm_precision_at_020, s.norm_precision_mean),
        *(s.ao, s.sr50, s.sr75),
    )
    figures = [(value, 3) for value in shares] + [(s.mean_cle_px, 1), (row.fps, 1)]
    shown = ("-" if np.isnan(value) else f"{value:.{digits}f}" for value, digits in figures)
    return (row.tracker, *shown)


def format_table(rows: Listing[Row]) -> str:
    """Plain text, one block a condition."""
    if not rows:
        return "no results"
    width = max(len("tracker"), *(len(row.tracker) for row in rows))
    lines: list[str] = []
    for condition in CONDITIONS:
        block = [row for row in rows if row.condition == condition]
        if not block:
            continue
        first = block[0].score
        lines.append(f"{condition} ({first.sequences} sequences, {first.frames} frames)")
        lines.extend(
            f"  {cells[0]:<{width}}" + "".join(f"{c:>12}" for c in cells[1:])
            for cells in (HEADINGS, *(row_cells(row) for row in block))
        )
        lines.append("")
    return "\n".join(lines).rstrip()


def rows_as_json(rows: Listing[Row]) -> list[dict[str, object]]:
    """Rows as JSON values; figures that do not exist are null."""

    def number(value: float, digits: int = 4) -> float | None:
        return None if np.isnan(value) else round(value, digits)

    return [
        {
            "tracker": row.tracker,
            "condition": row.condition,
            "sequences": row.score.sequences,
            "frames": row.score.frames,
            "auc": number(row.score.auc),
            "precision_at_20": number(row.score.precision_at_20),
            "norm_precision_at_020": number(row.score.norm_precision_at_020),
            "norm_precision_mean": number(row.score.norm_precision_mean),
            "mean_cle_px": number(row.score.mean_cle_px, 2),
            "ao": number(row.score.ao),
            "sr50": number(row.score.sr50),
            "sr75": number(row.score.sr75),
            "fps": number(row.fps, 1),
        }
        for row in rows
    ]
