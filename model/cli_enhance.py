"""`mlkd enhance`: light up images and videos."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.geometry import Image

NAMES = (
    "darklighter", "zero-dce", "zero-dce++", "ruas", "ruas-denoised", "sci", "highlightnet",
    "ldenhancer", "gamma", "clahe", "retinex",
)  # fmt: skip
"""The registry's names: written here so that the parser needs no torch."""


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = sub.add_parser("enhance", help="light up images or a video (extra: train)")
    parser.add_argument("input", type=Path, help="image, video or folder of images")
    parser.add_argument("--out", type=Path, required=True, help="file or folder to write")
    parser.add_argument(
        "--enhancer", default="gamma", choices=NAMES, help="which one (default: gamma)"
    )
    parser.add_argument(
        "--weights", type=Path, default=None, help="its released weights; the last three need none"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Enhance and say where the result is."""
    from importlib.util import find_spec

    from model.errors import ConfigError, MissingExtraError

    if find_spec("torch") is None:
        raise MissingExtraError("torch", "train")
    import torch

    from model.enhance.enhancer import enhance_image
    from model.enhance.media import enhance_file
    from model.enhance.registry import build_enhancer

    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(f"--device {args.device} is not there: expected auto, cpu or cuda")
    enhancer = build_enhancer(args.enhancer, args.weights).to(device)

    def watch(frames: Iterable[Image], total: int | None) -> Iterable[Image]:
        from tqdm import tqdm

        bar: Iterable[Image] = tqdm(frames, total=total, unit="frame", disable=args.quiet)
        return bar

    def work(image: Image) -> Image:
        return enhance_image(enhancer, image)

    count = enhance_file(args.input, args.out, work, watch)
    print(f"{args.out}: {count} {'frame' if count == 1 else 'frames'} enhanced by {args.enhancer}")
    return 0
