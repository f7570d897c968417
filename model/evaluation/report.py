"""The report of a run: tables, plots, worst frames and calibration."""

from __future__ import annotations

from collections.abc import Sequence as Listing
from dataclasses import dataclass, field

import numpy as np

from model.evaluation.analysis import (
    attribute_scores,
    cle_px,
    delta_percent,
    worst_frames,
)
from model.evaluation.attributes import MEANINGS
from model.evaluation.box_files import Float64
from model.evaluation.calibration import calibration_blocks
from model.evaluation.document import Block, Cell, Figure, Heading, Paragraph, Table, slug
from model.evaluation.metrics import (
    NORM_STEPS,
    PRECISION_PX,
    PRECISION_STEPS_PX,
    Convention,
    SetScore,
    success_steps,
)
from model.evaluation.paper import measured_rows, printed_blocks
from model.evaluation.pictures import frame_pictures
from model.evaluation.plots import plot_cle, plot_curves
from model.evaluation.sequences import sequence_label
from model.evaluation.table import (
    CONDITIONS,
    FIGURES,
    HEADINGS,
    Row,
    ScoredRun,
    make_rows,
    row_cells,
)


@dataclass(frozen=True)
class ReportOptions:
    """What a report shows.

    Attributes:
        ours: the tracker that Δ, worst frames and calibration are about.
        convention: whose rules the scores were made by.
        worst: pictures of worst frames a sequence.
        cle_plots: sequences whose error is drawn, the worst of ours first.
        paper: show the paper's printed rows.
        notes: lines that stand on top, as `selected on the test set`.
    """

    ours: str
    convention: Convention = Convention.PYSOT
    worst: int = 1
    cle_plots: int = 12
    paper: bool = False
    notes: tuple[str, ...] = field(default_factory=tuple)


def make_report(scored: Listing[ScoredRun], options: ReportOptions) -> list[Block]:
    """Build all blocks, in reading order."""
    rows = make_rows(scored)
    trackers = list(dict.fromkeys(s.tracker for s in scored))
    blocks: list[Block] = [Heading("Evaluation", 1)]
    blocks += [Paragraph(f"Note: {note}.") for note in options.notes]
    blocks.append(
        Paragraph(
            f"One-pass evaluation under the convention {options.convention.value}. Success AUC: "
            "mean of 21 thresholds. Precision: share of frames with a centre error of at most "
            "20 px. Normalised precision: the value at 0.20 and the mean of its curve. Means over "
            "sequences, each with the same weight. AO: mean IoU without the first frame. SR: share "
            "of frames with an IoU above 0.5 or 0.75. CLE: mean centre error of annotated frames."
        )
    )
    for condition in CONDITIONS:
        block = [row for row in rows if row.condition == condition]
        if block:
            blocks += _condition_blocks(block, options, trackers)
    blocks += _attribute_blocks(scored, options)
    blocks += _speed_blocks(scored)
    blocks += _sequence_blocks(scored, options)
    blocks += _cle_blocks(scored, options)
    blocks += calibration_blocks(scored)
    if options.paper:
        blocks += [Heading("The paper's rows, as printed"), *printed_blocks(measured_rows(scored))]
    return blocks


def _condition_blocks(
    rows: Listing[Row], options: ReportOptions, trackers: Listing[str]
) -> list[Block]:
    condition = rows[0].condition
    first = rows[0].score
    columns = zip(*(row_cells(row) for row in rows), strict=True)
    marked = [_mark_best(h, texts) for h, texts in zip(HEADINGS, columns, strict=True)]
    cells = list(zip(*marked, strict=True))
    ordered = sorted(rows, key=lambda row: trackers.index(row.tracker))  # colours stay the same
    name = slug(condition)
    title = f"{condition}: {first.sequences} sequences, {first.frames} frames"
    return [
        Heading(title[0].upper() + title[1:]),
        Table(HEADINGS, tuple(cells)),
        Figure(
            f"precision-{name}.svg",
            _curves(ordered, "precision", PRECISION_STEPS_PX, "Precision", "threshold, px"),
            f"Precision plot, {condition}; in brackets the value at 20 px",
        ),
        Figure(
            f"success-{name}.svg",
            _curves(
                ordered, "success", success_steps(options.convention), "Success", "IoU threshold"
            ),
            f"Success plot, {condition}; in brackets the AUC",
        ),
        Figure(
            f"norm-precision-{name}.svg",
            _curves(ordered, "norm_precision", NORM_STEPS, "Normalised precision", "threshold"),
            f"Normalised precision, {condition}; in brackets the value at 0.20",
        ),
    ]


def _mark_best(heading: str, texts: Listing[str]) -> list[Cell]:
    """One column of a table: the best figure in bold, the lowest where it is an error."""
    numbers = [float(text) for text in texts if text != "-"] if heading in FIGURES else []
    best = (min if heading == "CLE px" else max)(numbers, default=None)
    return [
        Cell(text, best=best is not None and text != "-" and float(text) == best) for text in texts
    ]


_RANKED_BY = {
    "precision": "precision_at_20",
    "success": "auc",
    "norm_precision": "norm_precision_at_020",
}


def _curves(rows: Listing[Row], curve: str, steps: Float64, title: str, axis: str) -> bytes:
    values = {
        row.tracker: (getattr(row.score, curve), float(getattr(row.score, _RANKED_BY[curve])))
        for row in rows
    }
    mark = PRECISION_PX if curve == "precision" else 0.20 if curve == "norm_precision" else None
    return plot_curves(values, steps, (title, axis, "share of frames"), mark)


def _attribute_blocks(scored: Listing[ScoredRun], options: ReportOptions) -> list[Block]:
    """Table I: precision, normalised precision and success of each attribute, and Δ."""
    found = attribute_scores(scored)
    if not found:
        return []
    trackers = list(dict.fromkeys(s.tracker for s in scored))
    columns = [(a, measure) for a in found for measure in ("Prec.", "Norm.", "Succ.")]
    values = {t: [_measure(a.scores[t], m) for a, m in columns] for t in trackers}
    best = [max(values[t][k] for t in trackers) for k in range(len(columns))]
    rows = [
        (Cell(t), *(Cell(f"{v:.3f}", best=v == best[k]) for k, v in enumerate(values[t])))
        for t in trackers
    ]
    if options.ours in values and len(trackers) > 1:
        others = [t for t in trackers if t != options.ours]
        deltas = [
            delta_percent(values[options.ours][k], [values[t][k] for t in others])
            for k in range(len(columns))
        ]
        rows.append((Cell(f"Δ % of {options.ours}"), *(Cell(f"{d:+.1f}") for d in deltas)))
    headings = ("tracker", *(f"{a.attribute} {m}" for a, m in columns))
    meanings = "; ".join(
        f"{a.attribute} {MEANINGS.get(a.attribute, '')} ({a.sequences})" for a in found
    )
    caption = "Δ: to the best of the others, which is the second best where ours leads"
    return [Heading("Attributes"), Paragraph(meanings), Table(headings, tuple(rows), caption)]


def _measure(score: SetScore, name: str) -> float:
    if name == "Prec.":
        return score.precision_at_20
    return score.norm_precision_at_020 if name == "Norm." else score.auc


def _speed_blocks(scored: Listing[ScoredRun]) -> list[Block]:
    rows = []
    for tracker in dict.fromkeys(s.tracker for s in scored):
        runs = [s.run for s in scored if s.tracker == tracker]
        times = [r.times_s[1:] for r in runs if not np.isnan(r.times_s).any()]
        joined_ms = 1000 * np.concatenate(times) if times else np.empty(0)
        if not joined_ms.size:
            continue
        speed = (
            f"{1000 / joined_ms.mean():.1f}",
            f"{np.median(joined_ms):.2f}",
            f"{np.percentile(joined_ms, 99):.2f}",
        )
        engine = "; ".join(dict.fromkeys(r.engine for r in runs))
        machine = "; ".join(dict.fromkeys(r.machine for r in runs))
        rows.append((Cell(tracker), *(Cell(v) for v in (*speed, engine, machine))))
    if not rows:
        return []
    headings = ("tracker", "fps", "median ms", "p99 ms", "engine", "machine")
    caption = "Time of update alone; reading and darkening of frames is not counted"
    return [Heading("Speed"), Table(headings, tuple(rows), caption)]


def _by_sequence(scored: Listing[ScoredRun]) -> list[list[ScoredRun]]:
    """Group by sequence and condition, in order."""
    groups: dict[str, list[ScoredRun]] = {}
    for item in scored:
        groups.setdefault(sequence_label(item.sequence), []).append(item)
    return list(groups.values())


def _sequence_blocks(scored: Listing[ScoredRun], options: ReportOptions) -> list[Block]:
    """AUC of every sequence, linked to the worst frames of ours."""
    trackers = list(dict.fromkeys(s.tracker for s in scored))
    rows: list[tuple[Cell, ...]] = []
    figures: list[Figure] = []
    for group in _by_sequence(scored):
        sequence = group[0].sequence
        mine = next((s for s in group if s.tracker == options.ours), None)
        link = ""
        if mine is not None and options.worst > 0:
            shown = _worst_figures(mine, group, options.worst)
            figures += shown
            link = shown[0].anchor if shown else ""
        by_name = {s.tracker: s.score for s in group}
        values = [by_name[t].auc if t in by_name else float("nan") for t in trackers]
        best = max((v for v in values if not np.isnan(v)), default=float("nan"))
        cells = [Cell("-" if np.isnan(v) else f"{v:.3f}", best=v == best) for v in values]
        name = Cell(sequence_label(sequence), link=link)
        rows.append((name, Cell(str(len(sequence))), *cells))
    caption = f"Success AUC; the name links to the worst frame of {options.ours}"
    table = Table(("sequence", "frames", *trackers), tuple(rows), caption)
    pictures: list[Block] = (
        [Heading(f"Worst frames of {options.ours}"), *figures] if figures else []
    )
    return [Heading("Sequences"), table, *pictures]


def _worst_figures(mine: ScoredRun, group: Listing[ScoredRun], count: int) -> list[Figure]:
    sequence = mine.sequence
    frames = worst_frames(sequence, mine.run, count)
    answers = {mine.tracker: mine.run.boxes}
    answers |= {s.tracker: s.run.boxes for s in group if s.tracker != mine.tracker}
    pictures = frame_pictures(sequence, frames, dict(list(answers.items())[:4]))
    error = cle_px(sequence, mine.run)
    return [
        Figure(
            f"worst-{slug(sequence_label(sequence))}-{index + 1:05d}.jpg",
            pictures[index],
            f"{sequence_label(sequence)}, frame {index + 1}: {error[index]:.0f} px off",
        )
        for index in frames
        if index in pictures
    ]


def _cle_blocks(scored: Listing[ScoredRun], options: ReportOptions) -> list[Block]:
    """Error over time of the sequences where ours is worst."""

    def badness(group: list[ScoredRun]) -> float:
        mine = next((s for s in group if s.tracker == options.ours), group[0])
        return mine.score.auc

    groups = sorted(_by_sequence(scored), key=badness)[: options.cle_plots]
    figures = [
        Figure(
            f"cle-{slug(sequence_label(group[0].sequence))}.svg",
            plot_cle(
                {s.tracker: cle_px(s.sequence, s.run) for s in group},
                sequence_label(group[0].sequence),
            ),
            f"Centre location error, {sequence_label(group[0].sequence)}; the line is at 20 px",
        )
        for group in groups
    ]
    return [Heading("Centre location error"), *figures] if figures else []
