"""`mlkd train`: pre-train the backbone, train the tracker."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from model import cli_train_night

if TYPE_CHECKING:
    from model.evaluation.peers import Opener


def add_parser(
    sub: argparse._SubParsersAction[argparse.ArgumentParser], open_backend: Opener | None = None
) -> None:
    """Register the verb.

    Args:
        sub: where to.
        open_backend: opens a checkpoint for the ablation's evaluation; eager torch when None. A
            module-level function, since processes import it by name.
    """
    parser = sub.add_parser("train", help="train the tracker (extra: train)")
    stages = parser.add_subparsers(dest="stage", required=True)
    pretrain = stages.add_parser("pretrain", help="distil features into the backbone")
    _add_common(pretrain)
    pretrain.set_defaults(run=_run_pretrain)
    baseline = stages.add_parser("baseline", help="train the tracker with the base losses")
    _add_common(baseline)
    baseline.add_argument("--init", type=Path, default=None, help="checkpoint to start from")
    baseline.add_argument(
        "--cache", type=Path, default=None, help="folder of the crops (default: OUT/crops)"
    )
    baseline.set_defaults(run=_run_baseline)
    cli_train_night.add_stages(stages, open_backend)
    average = stages.add_parser("average", help="mean of a baseline and what was trained from it")
    average.add_argument("checkpoints", nargs="+", type=Path, help="two or more checkpoints")
    average.add_argument(
        "--shares", default=None, help="weight of each, as 0.7,0.3 (default: equal)"
    )
    average.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    average.set_defaults(run=_run_average)
    stats = stages.add_parser("night-stats", help="compare the low-light synthesis with real night")
    stats.add_argument("--config", type=Path, required=True, help="YAML training file")
    stats.add_argument(
        "--data", type=Path, default=None, help="data root (default: $MLKD_SHARED/data)"
    )
    stats.add_argument("--real", type=Path, required=True, help="folder of real night frames")
    stats.add_argument("--out", type=Path, required=True, help="PNG to write")
    stats.add_argument("--count", type=int, default=300, help="images a side (default: 300)")
    stats.add_argument("--seed", type=int, default=1, help="seed of the synthesis (default: 1)")
    stats.set_defaults(run=_run_night_stats)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="YAML training file")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--data", type=Path, default=None, help="data root (default: $MLKD_SHARED/data)"
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--strict-data", action="store_true", help="refuse bad data instead of skipping it"
    )


def _need_torch() -> None:
    """Say which extra is missing instead of failing at some import."""
    from importlib.util import find_spec

    from model.errors import MissingExtraError

    for library in ("torch", "tensorboard"):
        if find_spec(library) is None:
            raise MissingExtraError(library, "train")


def _data_root(args: argparse.Namespace) -> Path:
    if args.data is not None:
        return Path(args.data)
    return Path(os.environ.get("MLKD_SHARED", "../shared")) / "data"


def _run_average(args: argparse.Namespace) -> int:
    _need_torch()
    from model.errors import InputError
    from model.training.checkpoint import average_checkpoints

    count = len(args.checkpoints)
    if count < 2:
        raise InputError("one checkpoint has no mean: name two or more")
    shares = None if args.shares is None else _shares(args.shares, count)
    average_checkpoints(args.checkpoints, shares, args.out)
    print(f"mean of {count} checkpoints written to {args.out}")
    return 0


def _shares(text: str, count: int) -> list[float]:
    from model.errors import InputError

    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) != count or not all(0.0 < share < float("inf") for share in shares):
        raise InputError(f"--shares {text!r}: expected {count} numbers above 0, as 0.7,0.3")
    return shares


def _run_pretrain(args: argparse.Namespace) -> int:
    _need_torch()
    from model.training.config import load_config

    config = load_config(args.config)
    from model.training.pretrain import run_pretraining
    from model.training.runs import pick_device

    device = pick_device(args.device)
    latest = run_pretraining(
        config, _data_root(args), args.out, args.resume, device, args.strict_data
    )
    print(f"backbone written to {latest}")
    return 0


def _run_baseline(args: argparse.Namespace) -> int:
    _need_torch()
    from model.training.config import load_config

    config = load_config(args.config)
    from model.training.loop import run_training
    from model.training.runs import pick_device

    latest = run_training(
        config,
        _data_root(args),
        args.out,
        init=args.init,
        resume=args.resume,
        device=pick_device(args.device),
        strict=args.strict_data,
        cache=args.cache,
    )
    print(f"tracker written to {latest}")
    return 0


def _run_night_stats(args: argparse.Namespace) -> int:
    from model.training import night_stats
    from model.training.config import load_config

    config = load_config(args.config)
    made = night_stats.synthesise(config, _data_root(args), args.count, args.seed)
    real = night_stats.read_real(args.real, args.count)
    measured = night_stats.measure(real), night_stats.measure(made)
    for name, stats in zip(("real", "synthetic"), measured, strict=True):
        for line in night_stats.lines(name, stats):
            print(line)
    night_stats.draw(*measured, args.out)
    print(f"figure written to {args.out}")
    return 0
