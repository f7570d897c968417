"""The paper's printed rows, to be shown beside measured ones and marked as printed."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Any

from model.evaluation.document import Cell, Paragraph, Table

LABEL = "as printed"
_COLUMNS = ("precision", "norm. precision", "success")


@lru_cache(maxsize=1)
def paper_tables() -> dict[str, Any]:
    """The tables as JSON values."""
    text = resources.files("model.evaluation").joinpath("paper_tables.json").read_text("utf-8")
    tables: dict[str, Any] = json.loads(text)
    return tables


def printed_blocks() -> list[Paragraph | Table]:
    """Table I with its printed Δ and the Δ that its own rows yield, and the speeds of Table II."""
    tables = paper_tables()
    attributes: list[str] = tables["attributes"]
    headings = ("tracker", *(f"{a} {c}" for a in attributes for c in _COLUMNS))
    rows = [
        (Cell(f"{name} ({LABEL})"), *(Cell(f"{v:.3f}") for a in attributes for v in values[a]))
        for name, values in tables["table_1"].items()
    ]
    printed = tables["printed_delta_percent"]
    rows.append(
        (Cell(f"Δ % ({LABEL})"), *(Cell(f"{v:.1f}") for a in attributes for v in printed[a]))
    )
    again = recomputed_deltas()
    rows.append(
        (Cell("Δ % (recomputed)"), *(Cell(f"{v:.1f}") for a in attributes for v in again[a]))
    )
    second = [
        (Cell(f"{name} ({LABEL})"), *(Cell(f"{v[k]:g}") for k in _TABLE_2))
        for name, v in tables["table_2"].items()
    ]
    return [
        Paragraph(
            "Rows of the paper, as printed: UAVDark135, its authors' machine. They are not "
            "measured here and stand beside ours for orientation only."
        ),
        Table(headings, tuple(rows), "The paper's Table I, as printed"),
        Table(("tracker", *_TABLE_2), tuple(second), "From the paper's Table II, as printed"),
    ]


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
