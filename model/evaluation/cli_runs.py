"""What `mlkd eval run`, `report`, `score`, `convert` and `trax` run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from model.errors import InputError
from model.evaluation.box_files import read_lines
from model.evaluation.darkened import darken_sequence
from model.evaluation.datasets import read_dataset
from model.evaluation.foreign import read_annotations, score_foreign
from model.evaluation.metrics import Convention
from model.evaluation.ope import Progress, machine_name, run_ope
from model.evaluation.peers import TrackerOpener, parse_spec
from model.evaluation.result_formats import (
    Result,
    check_format,
    find_format,
    read_result,
    result_names,
    write_result,
)
from model.evaluation.runs import set_folder
from model.evaluation.selection import SELECTION_FILE
from model.evaluation.sequences import DAY, Sequence, sequence_label
from model.evaluation.table import ScoredRun, format_table, make_rows, rows_as_json, score_runs


def load_sequences(arguments: argparse.Namespace) -> list[Sequence]:
    """Find, choose and darken the sequences that the arguments name.

    Raises:
        InputError: none is left, or an option cannot be used.
    """
    sequences = read_dataset(arguments.set_name, arguments.data)
    wanted = arguments.only.split(",") if arguments.only else []
    if arguments.list is not None:
        wanted += [line.strip() for line in read_lines(arguments.list) if line.strip()]
    if wanted:
        sequences = _choose(sequences, wanted)
    for option in ("limit", "frames"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise InputError(f"--{option} {value}: expected 1 or more")
    sequences = sequences[: arguments.limit]
    if arguments.frames is not None:
        sequences = [replace(s, truth=s.truth[: arguments.frames]) for s in sequences]
    chosen = [s for s in sequences if s.condition != DAY or not arguments.night_only]
    for seed in dict.fromkeys(arguments.night or ()):
        if seed < 0:
            raise InputError(f"--night {seed}: expected a seed of 0 or above")
        chosen += [darken_sequence(s, seed) for s in sequences if s.condition == DAY]
    if not chosen:
        raise InputError(f"{arguments.data}: no sequence is left; give --night SEED to darken some")
    return chosen


def _choose(sequences: list[Sequence], wanted: list[str]) -> list[Sequence]:
    """Keep sequences by `name` or `set/name`."""
    names = {s.name for s in sequences} | {f"{s.dataset}/{s.name}" for s in sequences}
    missing = [name for name in wanted if name not in names]
    if missing:
        known = ", ".join(sorted(s.name for s in sequences)[:20])
        raise InputError(f"no sequence {', '.join(missing)}: expected some of {known}")
    return [s for s in sequences if {s.name, f"{s.dataset}/{s.name}"} & set(wanted)]


@contextmanager
def progress_bar(total: int, quiet: bool) -> Iterator[Progress]:
    """Show tracked frames on a terminal."""
    with tqdm(total=total, unit="frame", disable=True if quiet else None) as bar:

        def progress(name: str, frames: int) -> None:
            bar.set_postfix_str(name)
            bar.update(frames)

        yield progress


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    specs = [parse_spec(text, arguments.engine) for text in arguments.trackers]
    formats = [check_format(name) for name in arguments.formats.split(",") if name]
    sequences = load_sequences(arguments)
    total = sum(len(s) for s in sequences) * len(specs)
    with progress_bar(total, arguments.quiet) as progress:
        run_ope(
            specs,
            sequences,
            arguments.out,
            arguments.jobs,
            arguments.open_backend,
            progress,
            arguments.cores,
        )
    names = [spec.name for spec in specs]
    scored = score_runs(arguments.out, names, sequences, Convention(arguments.convention))
    for name in formats:
        _write_format(name, arguments.out, scored)
    print(f"{machine_name()}; {arguments.jobs} process(es) with {arguments.cores} core(s) each")
    _print_table(scored, arguments)
    return 0


def _write_format(name: str, out: Path, scored: list[ScoredRun]) -> None:
    root = out.with_name(f"{out.name}-{name}")
    for item in scored:
        folder = root / set_folder(item.sequence) / item.tracker
        result = Result(item.run.boxes, item.run.times_s)
        write_result(name, folder, item.sequence.name, result)


def _print_table(scored: list[ScoredRun], arguments: argparse.Namespace) -> None:
    rows = make_rows(scored)
    print(f"convention {arguments.convention}")
    print(format_table(rows))
    if arguments.json:
        print(json.dumps({"convention": arguments.convention, "rows": rows_as_json(rows)}))


def report(arguments: argparse.Namespace) -> int:
    """Write the report of finished runs."""
    from model.evaluation.document import write_report
    from model.evaluation.report import ReportOptions, make_report

    if arguments.worst < 0:
        raise InputError(f"--worst {arguments.worst}: expected 0 or more")
    sequences = load_sequences(arguments)
    convention = Convention(arguments.convention)
    scored = score_runs(arguments.results, arguments.trackers, sequences, convention)
    notes: tuple[str, ...] = ()
    record = arguments.results / SELECTION_FILE
    if arguments.selection is not None:
        notes = selection_notes(arguments.selection, sequences)
    elif record.is_file():
        notes = selection_notes(record, sequences, arguments.trackers)
    options = ReportOptions(
        ours=arguments.trackers[0],
        convention=convention,
        worst=arguments.worst,
        paper=arguments.paper,
        notes=notes,
    )
    blocks = make_report(scored, options)
    page, text = write_report(arguments.to, "MLKD-Track evaluation", blocks)
    _print_table(scored, arguments)
    print(f"wrote {page} and {text}")
    return 0


def selection_notes(
    path: Path, sequences: list[Sequence], trackers: list[str] | None = None
) -> tuple[str, ...]:
    """How a tracker was chosen, from its `selection.json`, and whether on what is reported.

    Args:
        path: the file.
        sequences: what is reported.
        trackers: nothing is said where none of these was chosen; None says it in any case.

    Raises:
        InputError: no such file, or none that a selection wrote.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        name, how = str(record["best"]["name"]), str(record["selection"])
        used = {str(text) for text in record["sequences"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: expected the selection.json that eval select wrote") from None
    if trackers is not None and name not in trackers:
        return ()
    again = sum(sequence_label(sequence) in used for sequence in sequences)
    if not again:
        return (f"{name} was {how}",)
    share = f"{again} of the {len(sequences)} sequences below were among those it was selected on"
    return (f"{name} was {how}", f"{share}: its figures there are no test")


def score(arguments: argparse.Namespace) -> int:
    """Score results made elsewhere.

    Raises:
        InputError: two folders have one name, or results do not fit.
    """
    names = [folder.resolve().name for folder in arguments.folders]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{names.count(name)} folders are called {name}: expected one a name")
    sequences = read_annotations(arguments.anno, arguments.set_name)
    scored = [
        item
        for folder in arguments.folders
        for item in score_foreign(
            folder.resolve().name,
            folder,
            sequences,
            Convention(arguments.convention),
            arguments.pad,
        )
    ]
    _print_table(scored, arguments)
    return 0


def convert(arguments: argparse.Namespace) -> int:
    """Turn results into another format."""
    check_format(arguments.format)
    source = find_format(arguments.source)
    names = result_names(arguments.source)
    for name in names:
        result = read_result(source, arguments.source, name)
        write_result(arguments.format, arguments.target, name, result)
    print(f"{len(names)} results: {source} to {arguments.format} in {arguments.target}")
    return 0


def trax(arguments: argparse.Namespace) -> int:
    """Answer a TraX client until it quits."""
    from model.evaluation.trax_server import serve_trax

    spec = parse_spec(arguments.tracker, arguments.engine)
    opener = TrackerOpener(arguments.open_backend)
    try:
        serve_trax(opener.open(spec), spec.name)
    finally:
        opener.close()
    return 0
