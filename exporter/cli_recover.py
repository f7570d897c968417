"""`mlkd recover`: an exported model becomes a checkpoint that training continues from."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import MissingExtraError

if TYPE_CHECKING:
    import torch


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = sub.add_parser(
        "recover",
        help="turn an exported model back into a checkpoint (extras: train, export)",
        description="Turn an exported AlexNet model back into a checkpoint that training "
        "continues from; pairs of the training data give its norms their statistics.",
    )
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("--config", type=Path, required=True, help="YAML training file")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument(
        "--data", type=Path, default=None, help="data root (default: $MLKD_SHARED/data)"
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder of the crops")
    parser.add_argument("--pairs", type=int, default=256, help="(default: 256)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Recover the checkpoint, and print how far its answers are from the model's."""
    try:
        from exporter.recover import recover_checkpoint
    except ModuleNotFoundError as absent:
        raise MissingExtraError(str(absent.name), "train") from absent

    done = recover_checkpoint(arguments.model, _batches(arguments), arguments.out)
    print(f"checkpoint written to {arguments.out}")
    print(f"answers within {done.error:.1e} of the model's largest, norms over {done.pairs} pairs")
    return 0


def _batches(arguments: argparse.Namespace) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The first pairs that the training file yields, 32 at a time."""
    import numpy as np
    import torch

    from model.training.config import load_config
    from model.training.pairs import PairDataset
    from model.training.sources import DataReport
    from model.training.store import build_store

    config = load_config(arguments.config)
    shared = Path(os.environ.get("MLKD_SHARED", "../shared"))
    root = shared / "data" if arguments.data is None else arguments.data
    build_store(config, root, arguments.cache, DataReport(strict=False))
    dataset = PairDataset(config, arguments.cache)
    for first in range(0, arguments.pairs, 32):
        samples = [dataset[n] for n in range(first, min(first + 32, arguments.pairs))]
        z, x = (
            torch.from_numpy(np.stack([s[name] for s in samples])).permute(0, 3, 1, 2).float()
            for name in ("z", "x")
        )
        yield z, x
