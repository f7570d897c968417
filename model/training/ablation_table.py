"""The ablation's table: mean and spread over the seeds, as Markdown, CSV and a plot."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.evaluation.plots import as_svg, new_figure

FIGURES = ("success", "norm", "precision", "fps")
HEADINGS = ("row", "condition", "seeds", "success AUC", "norm mean", "prec@20", "fps")


@dataclass(frozen=True)
class Entry:
    """One network under one condition.

    Attributes:
        title: row of the table.
        condition: day, darkened or real night.
        seed: of its training; None where nothing was trained.
        figures: by the names of `FIGURES`.
    """

    title: str
    condition: str
    seed: int | None
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        title: row.
        condition: day, darkened or real night.
        seeds: networks behind it.
        mean: of each figure.
        spread: sample standard deviation of each figure; NaN for a single network.
    """

    title: str
    condition: str
    seeds: int
    mean: Mapping[str, float]
    spread: Mapping[str, float]


def summarise(entries: Sequence[Entry]) -> list[Line]:
    """Average the entries of one title and condition, in the order of their first appearance."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in sorted(entries, key=lambda e: e.condition):
        groups.setdefault((entry.condition, entry.title), []).append(entry)
    lines = []
    for (condition, title), group in groups.items():
        values = {name: [entry.figures[name] for entry in group] for name in FIGURES}
        mean = {name: statistics.fmean(v) for name, v in values.items()}
        many = len(group) > 1
        spread = {n: statistics.stdev(v) if many else float("nan") for n, v in values.items()}
        lines.append(Line(title, condition, len(group), mean, spread))
    return lines


def write_table(out: Path, entries: Sequence[Entry], note: str) -> str:
    """Write `ablation.md`, `ablation.csv` and a plot a condition; return the Markdown."""
    lines = summarise(entries)
    text = as_markdown(lines, [note])
    out.mkdir(parents=True, exist_ok=True)
    (out / "ablation.md").write_text(text, encoding="utf-8")
    (out / "ablation.csv").write_text(as_csv(entries), encoding="utf-8")
    for condition in dict.fromkeys(line.condition for line in lines):
        name = f"ablation-{condition.replace(' ', '-')}.svg"
        (out / name).write_bytes(as_plot(lines, condition))
    return text


def as_markdown(lines: Sequence[Line], notes: Sequence[str] = ()) -> str:
    """A table with `mean ± spread`; notes stand above it."""
    out = [*(f"{note}\n" for note in notes), f"| {' | '.join(HEADINGS)} |", _rule()]
    for line in lines:
        cells = [line.title, line.condition, str(line.seeds)]
        cells += [_cell(line, name) for name in FIGURES]
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out) + "\n"


def as_csv(entries: Sequence[Entry]) -> str:
    """Every single network, so that any other statistic can be made from it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "condition", "seed", *FIGURES])
    for entry in entries:
        seed = "" if entry.seed is None else entry.seed
        figures = [f"{entry.figures[name]:.6f}" for name in FIGURES]
        writer.writerow([entry.title, entry.condition, seed, *figures])
    return text.getvalue()


def as_plot(lines: Sequence[Line], condition: str) -> bytes:
    """SVG: success and precision of each row under one condition, with the spread."""
    chosen = [line for line in lines if line.condition == condition]
    figure, axes = new_figure(7.0, 0.5 * len(chosen) + 1.2)
    places = range(len(chosen))
    for offset, name in ((-0.18, "success"), (0.18, "precision")):
        spread = [0.0 if line.seeds < 2 else line.spread[name] for line in chosen]
        means = [line.mean[name] for line in chosen]
        axes.barh([p + offset for p in places], means, 0.34, xerr=spread, label=name)
    axes.set_yticks(list(places), [line.title for line in chosen])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), title=f"Ablation, {condition}")
    axes.legend(fontsize=8)
    return as_svg(figure)


def _cell(line: Line, name: str) -> str:
    digits = 1 if name == "fps" else 3
    text = f"{line.mean[name]:.{digits}f}"
    return text if line.seeds < 2 else f"{text} ± {line.spread[name]:.{digits}f}"


def _rule() -> str:
    return "|" + " --- |" * 3 + " ---: |" * len(FIGURES)
