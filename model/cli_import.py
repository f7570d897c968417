"""`mlkd import-checkpoint`: bring a PySOT or MLKD checkpoint to this project's form."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = sub.add_parser(
        "import-checkpoint", help="convert a PySOT or MLKD checkpoint (SiamRPN++ AlexNet)"
    )
    parser.add_argument("file", type=Path, help="checkpoint (.pth, .pt); it is read as data only")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    try:
        from model.training.convert import import_checkpoint
    except ModuleNotFoundError as error:
        from model.errors import MissingExtraError

        raise MissingExtraError(str(error.name), "train") from error
    count = import_checkpoint(args.file, args.out)
    print(f"{count} tensors written to {args.out}")
    return 0
