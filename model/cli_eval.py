"""`mlkd eval` and `mlkd data`: evaluate trackers, compare, select, and check data sets."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.evaluation.peers import Opener
    from model.evaluation.sequences import Sequence


def add_parser(
    sub: argparse._SubParsersAction[argparse.ArgumentParser], open_backend: Opener | None = None
) -> None:
    """Register the verb `eval`.

    Args:
        sub: where verbs are registered.
        open_backend: opens engines and checkpoints; a module-level function, since processes
            that evaluate in parallel import it by name.
    """
    parser = sub.add_parser("eval", help="evaluate trackers over sequences with ground truth")
    verbs = parser.add_subparsers(dest="eval_verb", required=True, metavar="ACTION")
    run = verbs.add_parser("run", help="track every sequence once and print the table")
    add_data_arguments(run)
    run.add_argument(
        "--tracker",
        dest="trackers",
        action="append",
        required=True,
        metavar="TRACKER",
        help="engine folder, checkpoint.pt, kcf, mil, csrt, nano:DIR, vit:FILE, dasiamrpn:DIR or "
        "trax:COMMAND; NAME=… renames it; give it once for each",
    )
    run.add_argument("--device", default="cpu", help="device of engines (default: cpu)")
    run.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    run.add_argument("--out", type=Path, default=Path("results"), help="folder of results")
    run.add_argument("--json", action="store_true", help="end with one line of JSON")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    run.set_defaults(run=run_command, open_backend=open_backend)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what chooses sequences and rules."""
    parser.add_argument("--data", type=Path, required=True, help="folder of the sequences")
    parser.add_argument(
        "--night",
        type=int,
        action="append",
        default=None,
        metavar="SEED",
        help="add the day sequences darkened with this seed; may be given more than once",
    )
    parser.add_argument("--night-only", action="store_true", help="leave the day ones out")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N sequences alone")
    parser.add_argument("--frames", type=int, metavar="N", help="the first N frames of each alone")
    parser.add_argument("--only", metavar="NAME,…", help="sequences of these names alone")
    parser.add_argument(
        "--convention", choices=("pysot", "matlab"), default="pysot", help="rules of the metrics"
    )


def load_sequences(arguments: argparse.Namespace) -> list[Sequence]:
    """Find, choose and darken the sequences that the arguments name."""
    from dataclasses import replace

    from model.errors import InputError
    from model.evaluation.darkened import darken_sequence
    from model.evaluation.sequences import DAY, find_video_sequences

    sequences = find_video_sequences(arguments.data)
    if arguments.only:
        wanted = set(arguments.only.split(","))
        missing = wanted - {s.name for s in sequences}
        if missing:
            known = ", ".join(sorted(s.name for s in sequences))
            raise InputError(f"--only {', '.join(sorted(missing))}: expected some of {known}")
        sequences = [s for s in sequences if s.name in wanted]
    for option in ("limit", "frames"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise InputError(f"--{option} {value}: expected 1 or more")
    sequences = sequences[: arguments.limit]
    if arguments.frames is not None:
        sequences = [replace(s, truth=s.truth[: arguments.frames]) for s in sequences]
    chosen = [s for s in sequences if s.condition != DAY or not arguments.night_only]
    for seed in dict.fromkeys(arguments.night or ()):
        chosen += [darken_sequence(s, seed) for s in sequences if s.condition == DAY]
    if not chosen:
        raise InputError(f"{arguments.data}: no sequence is left; give --night SEED to darken some")
    return chosen


def run_command(arguments: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from tqdm import tqdm

    from model.evaluation.metrics import Convention
    from model.evaluation.ope import machine_name, run_ope
    from model.evaluation.peers import parse_spec
    from model.evaluation.table import format_table, make_rows, rows_as_json, score_runs

    specs = [parse_spec(text, arguments.device) for text in arguments.trackers]
    sequences = load_sequences(arguments)
    total = sum(len(s) for s in sequences) * len(specs)
    bar = tqdm(total=total, unit="frame", disable=arguments.quiet or None)

    def progress(name: str, frames: int) -> None:
        bar.set_postfix_str(name)
        bar.update(frames)

    with bar:
        run_ope(specs, sequences, arguments.out, arguments.jobs, arguments.open_backend, progress)
    names = [spec.name for spec in specs]
    rows = make_rows(score_runs(arguments.out, names, sequences, Convention(arguments.convention)))
    print(f"convention {arguments.convention}; {machine_name()}; {arguments.jobs} process(es)")
    print(format_table(rows))
    if arguments.json:
        print(json.dumps({"convention": arguments.convention, "rows": rows_as_json(rows)}))
    return 0
