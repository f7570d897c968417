"""The `mlkd` command: registers the verbs and turns a user's mistake into one line, exit code 2."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from drone.errors import DroneError
from model import cli_eval, cli_train
from model.backend import Backend
from model.errors import MlkdError

# Each module offers add_parser(sub) and imports what is heavy only when its verb runs.
VERBS = (
    "gcs.cli_serve",
    "gcs.cli_track",
    "gcs.cli_flights",
    "gcs.cli_doctor",
    "gcs.cli_sim_run",
    "gcs.cli_bench_loop",
    "exporter.cli_bench",
    "exporter.cli_export",
    "exporter.cli_recover",
    "model.cli_import",
    "model.cli_enhance",
)


def build_parser() -> argparse.ArgumentParser:
    """Put all verbs under one parser."""
    parser = argparse.ArgumentParser(
        prog="mlkd", description="Night-time visual tracking for a UAV ground station."
    )
    parser.add_argument(
        "--version", action="version", version=f"mlkd-track {metadata.version('mlkd-track')}"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say more in the log")
    sub = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name in VERBS:
        importlib.import_module(name).add_parser(sub)
    # Evaluation and ablation belong to `model`, which knows no engine: the opener comes from here.
    cli_eval.add_parser(sub, open_backend=_open_engine)
    cli_train.add_parser(sub, open_backend=_open_trained)
    return parser


def _open_engine(path: Path, engine: str) -> Backend:
    from exporter.runtime.open import open_backend

    return open_backend(path, engine)


def _open_trained(path: Path, engine: str) -> Backend:
    from exporter.runtime.trained import open_trained

    return open_trained(path, engine)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0 done; 1 the work failed; 2 the input cannot be used; 130 stopped by the user.
    """
    arguments = build_parser().parse_args(argv)
    level = logging.DEBUG if arguments.verbose else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    try:
        return int(arguments.run(arguments))
    except (MlkdError, DroneError) as error:
        print(f"mlkd {arguments.verb}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader left (as `head` does); python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"mlkd {arguments.verb}: stopped", file=sys.stderr)
        return 130
    except OSError as error:
        place = f" {error.filename}:" if error.filename else ""
        print(f"mlkd {arguments.verb}:{place} {error.strerror or error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
