"""Choosing a student and its post-processing, on a validation list alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from collections.abc import Sequence as Listing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.config import TrackerConfig
from model.errors import InputError
from model.evaluation.datasets import is_test_set
from model.evaluation.ope import Progress, run_ope
from model.evaluation.peers import Opener, TrackerSpec
from model.evaluation.sequences import Sequence, sequence_label
from model.evaluation.table import Row, make_rows, score_runs

RANGES: dict[str, tuple[float, float]] = {
    "penalty_k": (0.0, 0.3),
    "window_influence": (0.2, 0.6),
    "size_lr": (0.15, 0.6),
}
"""Where a random search looks."""

SELECTION_FILE = "selection.json"
ON_VALIDATION = "selected on a validation list"
ON_TEST = "selected on the test set"


def check_hygiene(sets: Listing[str], allow_test_set: bool) -> str:
    """Refuse to select on a test set unless asked to.

    Args:
        sets: names of the sets that the selection would run over.
        allow_test_set: the user's flag.

    Returns:
        the sentence that every report of the chosen one must carry.

    Raises:
        InputError: a set is a test set and the flag is off.
    """
    test_sets = sorted({name for name in sets if is_test_set(name)})
    if not test_sets:
        return ON_VALIDATION
    if not allow_test_set:
        raise InputError(
            f"{', '.join(test_sets)} is a test set: expected a validation list; figures of what "
            "is selected on a test set are spoilt. --allow-test-set does it all the same and "
            "marks every report"
        )
    return f"{ON_TEST} {', '.join(test_sets)}"


def criterion(rows: Listing[Row], tracker: str) -> float:
    """Mean success AUC over the conditions (day, night-degraded, real night), equally weighted."""
    values = [row.score.auc for row in rows if row.tracker == tracker]
    if not values:
        raise InputError(f"{tracker} has no results")
    return float(np.mean(values))


@dataclass(frozen=True)
class Ranked:
    """One candidate's figures, as JSON values."""

    name: str
    criterion: float
    by_condition: dict[str, dict[str, float]]
    config: dict[str, float]

    @classmethod
    def of(cls, spec: TrackerSpec, rows: Listing[Row]) -> Ranked:
        """Read a candidate's figures from the rows of a run."""
        mine = {
            row.condition: {
                "auc": round(row.score.auc, 4),
                "precision_at_20": round(row.score.precision_at_20, 4),
            }
            for row in rows
            if row.tracker == spec.name
        }
        config = {} if spec.config is None else {k: getattr(spec.config, k) for k in RANGES}
        return cls(spec.name, round(criterion(rows, spec.name), 4), mine, config)


def rank_candidates(
    specs: Listing[TrackerSpec],
    sequences: Listing[Sequence],
    out: Path,
    jobs: int = 1,
    open_backend: Opener | None = None,
    progress: Progress | None = None,
    cores: int | None = None,
) -> list[Ranked]:
    """Run every candidate over the list, the best first; finished runs are kept."""
    run_ope(specs, sequences, out, jobs, open_backend, progress, cores)
    rows = make_rows(score_runs(out, [spec.name for spec in specs], sequences))
    return sorted((Ranked.of(spec, rows) for spec in specs), key=lambda r: -r.criterion)


def parse_grid(texts: Listing[str]) -> dict[str, list[float]]:
    """Read `penalty_k=0.05,0.1` and the like.

    Raises:
        InputError: another name, or a value that is no number.
    """
    grid: dict[str, list[float]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        if name not in RANGES:
            raise InputError(f"--grid {text}: expected one of {', '.join(RANGES)} before the =")
        try:
            grid[name] = [float(v) for v in values.split(",")]
        except ValueError:
            raise InputError(f"--grid {text}: expected numbers separated by commas") from None
    return grid


def grid_configs(base: TrackerConfig, grid: Mapping[str, Listing[float]]) -> list[TrackerConfig]:
    """Every combination of a grid, the base configuration first."""
    names = list(grid)
    combinations = itertools.product(*(grid[name] for name in names))
    values: list[dict[str, Any]] = [dict(zip(names, c, strict=True)) for c in combinations]
    return list(dict.fromkeys([base, *(replace(base, **v) for v in values)]))


def random_configs(base: TrackerConfig, trials: int, seed: int) -> list[TrackerConfig]:
    """The base configuration and random ones within `RANGES`, `trials` in all.

    Raises:
        InputError: fewer than one trial.
    """
    if trials < 1:
        raise InputError(f"trials is {trials}: expected 1 or more")
    rng = np.random.default_rng(seed)
    drawn: list[dict[str, Any]] = [
        {name: round(float(rng.uniform(*limits)), 3) for name, limits in RANGES.items()}
        for _ in range(trials - 1)
    ]
    return [base, *(replace(base, **values) for values in drawn)]


def trial_specs(spec: TrackerSpec, configs: Listing[TrackerConfig]) -> list[TrackerSpec]:
    """One tracker a configuration; the name tells its values, so that stopped searches go on."""
    return [
        replace(
            spec,
            name=f"{spec.name}.pk{c.penalty_k:g}-wi{c.window_influence:g}-lr{c.size_lr:g}",
            config=c,
        )
        for c in configs
    ]


def selection_record(
    ranking: Listing[Ranked], label: str, sequences: Listing[Sequence]
) -> dict[str, Any]:
    """What is written beside a selection, so that reports can tell how it was made."""
    return {
        "selection": label,
        "criterion": "mean success AUC over conditions",
        "best": asdict(ranking[0]),
        "candidates": [asdict(r) for r in ranking],
        "sequences": [sequence_label(s) for s in sequences],
    }
