"""What `mlkd eval select` and `tune` run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence as Listing

from model.config import TrackerConfig
from model.errors import InputError
from model.evaluation.cli_runs import load_sequences, progress_bar
from model.evaluation.peers import TrackerSpec, parse_spec
from model.evaluation.selection import (
    SELECTION_FILE,
    check_hygiene,
    grid_configs,
    parse_grid,
    random_configs,
    rank_candidates,
    selection_record,
    trial_specs,
)
from model.evaluation.sequences import NIGHT


def select(arguments: argparse.Namespace) -> int:
    """Rank candidates, print the best as JSON."""
    return _rank(arguments, [parse_spec(t, arguments.engine) for t in arguments.trackers])


def tune(arguments: argparse.Namespace) -> int:
    """Search the post-processing of one engine, print the best as JSON."""
    spec = parse_spec(arguments.tracker, arguments.engine)
    if spec.kind != "engine" or arguments.open_backend is None:
        raise InputError(f"--tracker {arguments.tracker}: expected an engine folder or checkpoint")
    base = _own_config(spec, arguments)
    if arguments.grid:
        configs = grid_configs(base, parse_grid(arguments.grid))
    else:
        configs = random_configs(base, arguments.trials, arguments.seed)
    return _rank(arguments, trial_specs(spec, configs))


def _own_config(spec: TrackerSpec, arguments: argparse.Namespace) -> TrackerConfig:
    """The configuration that the engine's weights were made for."""
    backend = arguments.open_backend(spec.path, spec.engine)
    try:
        config: TrackerConfig = backend.config
        return config
    finally:
        backend.close()


def _rank(arguments: argparse.Namespace, specs: Listing[TrackerSpec]) -> int:
    check_hygiene([arguments.set_name], arguments.allow_test_set)
    sequences = load_sequences(arguments)
    # Day videos of a test set may serve as a validation list of the user's own; at night the
    # test sets are what is reported, in whatever layout they come.
    at_night = sorted({s.dataset for s in sequences if s.condition == NIGHT})
    label = check_hygiene([arguments.set_name, *at_night], arguments.allow_test_set)
    total = sum(len(s) for s in sequences) * len(specs)
    with progress_bar(total, arguments.quiet) as progress:
        ranking = rank_candidates(
            specs,
            sequences,
            arguments.out,
            arguments.jobs,
            arguments.open_backend,
            progress,
            arguments.cores,
        )
    for place, candidate in enumerate(ranking, start=1):
        parts = "  ".join(f"{c} {v['auc']:.3f}" for c, v in candidate.by_condition.items())
        print(f"{place:>3} {candidate.criterion:.4f}  {candidate.name}  ({parts})")
    record = selection_record(ranking, label, sequences)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / SELECTION_FILE
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{label}; wrote {path}")
    print(json.dumps(record["best"]))
    return 0
