"""`mlkd eval` and `mlkd data`: evaluate trackers, report, select, and check data sets."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.evaluation.peers import Opener

Subparsers = argparse._SubParsersAction  # the type argparse gives to add_subparsers
Run = Callable[[argparse.Namespace], int]

TRACKER_HELP = (
    "engine folder, checkpoint.pt, kcf, mil, csrt, nano:DIR, vit:FILE, dasiamrpn:DIR or "
    "trax:COMMAND; NAME=TRACKER renames it; give the option once for each"
)


def add_parser(
    sub: Subparsers[argparse.ArgumentParser], open_backend: Opener | None = None
) -> None:
    """Register the verbs `eval` and `data`.

    Args:
        sub: where verbs are registered.
        open_backend: opens engines and checkpoints; a module-level function, since processes
            that evaluate in parallel import it by name.
    """
    parser = sub.add_parser("eval", help="evaluate trackers over sequences with ground truth")
    parser.set_defaults(open_backend=open_backend)
    verbs = parser.add_subparsers(dest="eval_verb", required=True, metavar="ACTION")
    _add_run(verbs)
    _add_report(verbs)
    _add_score(verbs)
    _add_convert(verbs)
    _add_select(verbs)
    _add_tune(verbs)
    _add_trax(verbs)
    _add_bench(verbs)
    _add_data(sub)


def _lazy(module: str, function: str) -> Run:
    """Import the module when the verb runs: it brings OpenCV and NumPy."""

    def run(arguments: argparse.Namespace) -> int:
        chosen: Run = getattr(importlib.import_module(module), function)
        return chosen(arguments)

    return run


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    """What chooses sequences."""
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument(
        "--set",
        dest="set_name",
        default="videos",
        metavar="SET",
        help="layout: videos (default; folders with a video and groundtruth.txt) or the name of a "
        "set, as UAVDark135; mlkd data list names them",
    )
    parser.add_argument(
        "--night",
        type=int,
        action="append",
        metavar="SEED",
        help="add the day sequences darkened with this seed; may be given more than once",
    )
    parser.add_argument("--night-only", action="store_true", help="leave the day ones out")
    parser.add_argument("--list", type=Path, metavar="FILE", help="sequences named there alone")
    parser.add_argument("--only", metavar="NAME,…", help="sequences of these names alone")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N sequences alone")
    parser.add_argument("--frames", type=int, metavar="N", help="the first N frames of each alone")


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    """What a run needs beyond its data."""
    parser.add_argument("--engine", default="auto", help="runtime of engines (default: auto)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    _add_cores(parser)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of results")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_cores(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cores",
        type=int,
        default=1,
        metavar="N",
        help="cores of each process (default: 1, so that speeds do not depend on --jobs)",
    )


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """How results are scored."""
    parser.add_argument(
        "--convention", choices=("pysot", "matlab"), default="pysot", help="rules of the metrics"
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")


def _add_trackers(parser: argparse.ArgumentParser, option: str = "--tracker") -> None:
    parser.add_argument(
        option, dest="trackers", action="append", required=True, metavar="T", help=TRACKER_HELP
    )


def _add_run(verbs: Subparsers[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("run", help="track every sequence once and print the table")
    _add_trackers(parser)
    _add_data_options(parser)
    _add_run_options(parser)
    _add_rules(parser)
    parser.add_argument(
        "--formats",
        default="",
        metavar="F,…",
        help="also write results as got10k, pytracking or matlab, into OUT-FORMAT",
    )
    parser.set_defaults(run=_lazy("model.evaluation.cli_runs", "run"))


def _add_report(verbs: Subparsers[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("report", help="write report.html and report.md of finished runs")
    _add_data_options(parser)
    _add_rules(parser)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results")
    parser.add_argument(
        "--tracker",
        dest="trackers",
        action="append",
        required=True,
        metavar="NAME",
        help="name of a folder of results; the first is ours, which Δ and pictures are about",
    )
    parser.add_argument("--to", type=Path, default=Path("report"), help="folder of the report")
    parser.add_argument("--worst", type=int, default=1, help="pictures a sequence (default: 1)")
    parser.add_argument("--paper", action="store_true", help="add the paper's rows, as printed")
    parser.add_argument(
        "--selection",
        type=Path,
        metavar="FILE",
        help="selection.json of ours: how it was chosen is then said (default: that of RESULTS, "
        "if there)",
    )
    parser.set_defaults(run=_lazy("model.evaluation.cli_runs", "report"))


def _add_score(verbs: Subparsers[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("score", help="score results made elsewhere; no pictures needed")
    parser.add_argument("--anno", type=Path, required=True, help="folder of <sequence>.txt boxes")
    parser.add_argument("--set", dest="set_name", help="set, for the names of its attributes")
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="one tracker's results each, as PySOT, GOT-10k, pytracking or MATLAB writes them",
    )
    parser.add_argument("--pad", action="store_true", help="fill short results, cut long ones")
    _add_rules(parser)
    parser.set_defaults(run=_lazy("model.evaluation.cli_runs", "score"))


def _add_convert(verbs: Subparsers[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("convert", help="turn a tracker's results into another format")
    parser.add_argument("source", type=Path, help="one tracker's folder of results")
    parser.add_argument("target", type=Path, help="folder to write")
    parser.add_argument("--format", required=True, help="pysot, got10k, pytracking or matlab")
    parser.set_defaults(run=_lazy("model.evaluation.cli_runs", "convert"))


def _add_hygiene(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-test-set",
        action="store_true",
        help="select on a test set all the same; every report then says so",
    )


def _add_select(verbs: Subparsers[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("select", help="pick the best candidate on a validation list")
    _add_trackers(parser, "--candidate")
    _add_data_options(parser)
    _add_run_options(parser)
    _add_hygiene(parser)
    parser.set_defaults(run=_lazy("model.evaluation.cli_selection", "select"))


def _add_tune(verbs: Subparsers[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "tune", help="search penalty_k, window_influence and size_lr on a validation list"
    )
    parser.add_argument("--tracker", required=True, help="engine folder or checkpoint")
    _add_data_options(parser)
    _add_run_options(parser)
    _add_hygiene(parser)
    parser.add_argument("--trials", type=int, default=16, help="random trials (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="of the random trials (default: 0)")
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="NAME=V,…",
        help="values to combine instead of random trials, as penalty_k=0.05,0.1",
    )
    parser.set_defaults(run=_lazy("model.evaluation.cli_selection", "tune"))


def _add_trax(verbs: Subparsers[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("trax", help="answer a TraX client, as the VOT toolkit")
    parser.add_argument("--tracker", required=True, help="engine folder, checkpoint or a peer")
    parser.add_argument("--engine", default="auto", help="runtime of engines (default: auto)")
    parser.set_defaults(run=_lazy("model.evaluation.cli_runs", "trax"))


def _add_bench(verbs: Subparsers[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "bench", help="speed of evaluation with several processes, in one run"
    )
    _add_trackers(parser)
    _add_data_options(parser)
    parser.add_argument("--engine", default="auto", help="runtime of engines (default: auto)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    _add_cores(parser)
    parser.set_defaults(run=_lazy("model.evaluation.cli_bench", "bench"))


def _add_data(sub: Subparsers[argparse.ArgumentParser]) -> None:
    parser = sub.add_parser("data", help="check data sets")
    verbs = parser.add_subparsers(dest="data_verb", required=True, metavar="ACTION")
    check = verbs.add_parser("check", help="tell what is missing or odd in a copy of a set")
    check.add_argument("set_name", metavar="SET", help="as UAVDark135; see mlkd data list")
    check.add_argument("path", type=Path, help="folder of the set")
    check.add_argument(
        "--known",
        type=Path,
        metavar="CSV",
        help="sequence,frames,x,y,w,h of each sequence; default: the set's file in "
        "$MLKD_SHARED/data/ope-oracle/night-init-boxes (../shared without MLKD_SHARED), if there",
    )
    check.set_defaults(run=_lazy("model.evaluation.cli_data", "check"))
    listing = verbs.add_parser("list", help="name the sets that are known")
    listing.set_defaults(run=_lazy("model.evaluation.cli_data", "list_sets"))
