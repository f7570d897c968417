"""The paper's printed rows, to be shown beside measured ones and marked as printed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from model.evaluation.analysis import attribute_scores
from model.evaluation.document import Cell, Paragraph, Table
from model.evaluation.table import ScoredRun, make_rows

LABEL = "as printed"
_COLUMNS = ("Prec.", "Norm.", "Succ.")


@lru_cache(maxsize=1)
def paper_tables() -> dict[str, Any]:
    """The tables as JSON values."""
    text = resources.files("model.evaluation").joinpath("paper_tables.json").read_text("utf-8")
    tables: dict[str, Any] = json.loads(text)
    return tables


SET, SEQUENCES = "UAVDark135", 135
"""The set of the paper's tables: rows measured on another one would not stand beside them."""


@dataclass(frozen=True)
class Measured:
    """One tracker's own figures on `SET`.

    Attributes:
        tracker: its name, and on how many sequences.
        attributes: precision, normalised precision and success of each attribute.
        overall: success, normalised precision, precision and fps of the whole set.
    """

    tracker: str
    attributes: Mapping[str, tuple[float, ...]]
    overall: tuple[float, float, float, float]


def measured_rows(scored: Sequence[ScoredRun]) -> list[Measured]:
    """Each tracker's figures on the sequences of `SET`; none where nothing was measured on it."""
    mine = [s for s in scored if s.sequence.dataset == SET]
    by_attribute = {a.attribute: a.scores for a in attribute_scores(mine)}
    rows = []
    for row in make_rows(mine):
        attributes = {
            name: (s.precision_at_20, s.norm_precision_at_020, s.auc)
            for name, scores in by_attribute.items()
            if (s := scores.get(row.tracker)) is not None
        }
        total = row.score
        overall = (total.auc, total.norm_precision_at_020, total.precision_at_20, row.fps)
        label = f"{row.tracker} (measured, {total.sequences} of {SEQUENCES} sequences)"
        rows.append(Measured(label, attributes, overall))
    return rows


def printed_blocks(measured: Sequence[Measured] = ()) -> list[Paragraph | Table]:
    """Table I with its printed Δ and the Δ that its own rows yield, and the speeds of Table II.

    Args:
        measured: rows to stand beside the printed ones.
    """
    tables = paper_tables()
    attributes: list[str] = tables["attributes"]
    rows = [
        _first_row(f"{name} ({LABEL})", attributes, values)
        for name, values in tables["table_1"].items()
    ]
    rows += [_first_row(m.tracker, attributes, m.attributes) for m in measured]
    rows += [
        _first_row(f"Δ % ({LABEL})", attributes, tables["printed_delta_percent"], 1),
        _first_row("Δ % of the printed rows (recomputed)", attributes, recomputed_deltas(), 1),
    ]
    second = [
        (Cell(f"{name} ({LABEL})"), *(Cell(f"{v[k]:g}") for k in _TABLE_2))
        for name, v in tables["table_2"].items()
    ]
    second += [
        (Cell(m.tracker), *(Cell(f"{v:.3f}") for v in m.overall[:3]), Cell(f"{m.overall[3]:.1f}"))
        for m in measured
    ]
    beside = (
        f"Rows marked as measured are of this report's sequences of {SET}"
        if measured
        else f"No row of ours stands beside them: nothing here was measured on {SET}"
    )
    return [
        Paragraph(
            f"Rows of the paper, as printed: {SET}, its authors' machine. These are not measured "
            f"here and are for orientation only. {beside}."
        ),
        Table(
            ("tracker", *(f"{a} {c}" for a in attributes for c in _COLUMNS)),
            tuple(rows),
            "The paper's Table I, as printed",
        ),
        Table(("tracker", *_TABLE_2), tuple(second), "From the paper's Table II, as printed"),
    ]


def _first_row(
    name: str, attributes: Sequence[str], values: Mapping[str, Sequence[float]], digits: int = 3
) -> tuple[Cell, ...]:
    """A row of Table I; a dash where an attribute was not measured."""
    cells = [
        Cell(f"{values[a][k]:.{digits}f}" if a in values else "-")
        for a in attributes
        for k in range(len(_COLUMNS))
    ]
    return (Cell(name), *cells)


_TABLE_2 = ("success", "norm_precision", "precision", "fps")


def recomputed_deltas(ours: str = "MLKD-Track") -> dict[str, list[float]]:
    """Δ of each attribute's columns from the printed rows, per cent of the second best."""
    table = paper_tables()["table_1"]
    answer: dict[str, list[float]] = {}
    for attribute, mine in table[ours].items():
        others = [values[attribute] for name, values in table.items() if name != ours]
        best = [max(column) for column in zip(*others, strict=True)]
        answer[attribute] = [100 * (m - b) / b for m, b in zip(mine, best, strict=True)]
    return answer
