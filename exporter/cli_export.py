"""`mlkd export`: a checkpoint becomes a model that engines run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter.manifest import PRECISIONS
from model.errors import InputError, MissingExtraError


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = sub.add_parser(
        "export",
        help="turn a checkpoint into ONNX graphs with a manifest",
        description="Turn a checkpoint into ONNX graphs with a manifest, checked against torch.",
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="torch weights (.pt, .pth), or a model folder or the name of a model that ships, of "
        "AlexNet or with --precision fp16; or the word tensorrt: build the engines of --model for "
        "the GPU of this machine",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="model folder to write")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="compact",
        help="compact: fp16 weights, fp32 arithmetic (default); fp16: for GPUs; int8: fastest on "
        "CPUs, needs --calibration",
    )
    parser.add_argument(
        "--factored",
        action="store_true",
        help="AlexNet's convolutions in factors, 2.5 times as fast on CPUs; needs --calibration",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="images, or videos with groundtruth.txt, of the kind that will be flown",
    )
    parser.add_argument(
        "--validation",
        type=Path,
        metavar="DIR",
        help="videos with groundtruth.txt that int8 and --factored must track as well as the whole "
        "network in fp32, within 0.01 success AUC (default: those of --calibration)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="tracker setting instead of the checkpoint's or model's, as penalty_k=0.1; may be "
        "repeated",
    )
    gpu = parser.add_argument_group("with the word tensorrt instead of a checkpoint")
    gpu.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="model folder, or the name of a model that ships (default: built in)",
    )
    gpu.add_argument("--workspace", type=int, default=1024, metavar="MB", help="(default: 1024)")
    gpu.add_argument("--opt-level", type=int, default=5, help="effort, 0..5 (default: 5)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export, and print the parity figures."""
    if str(arguments.checkpoint) == "tensorrt":
        if arguments.factored:
            raise InputError(
                "--factored: mlkd export tensorrt builds --model as it is; leave it out"
            )
        return _build_engines(arguments)
    if arguments.out is None:
        raise InputError("--out is missing: give the folder that the model is written to")
    try:
        from exporter.export import export_model, halve_model
    except ModuleNotFoundError as absent:
        raise MissingExtraError(str(absent.name), "export") from absent
    from exporter.models import is_shipped_form, is_shipped_name, shipped_names
    from exporter.runtime.open import models_of

    source = arguments.checkpoint
    is_model = source.is_dir() or is_shipped_name(source)
    if not is_model and not source.exists() and is_shipped_form(source):
        raise InputError(
            f"{source} is a form for CPUs of a model that ships: expected the model, one of "
            f"{', '.join(shipped_names())}, a model folder or a checkpoint"
        )
    plain = not (arguments.set or arguments.calibration or arguments.validation)
    if is_model and arguments.precision == "fp16" and plain and not arguments.factored:
        model = halve_model(models_of(source)("tensorrt"), arguments.out)
    else:
        model = export_model(
            models_of(source)("tensorrt") if is_model else source,
            arguments.out,
            arguments.precision,
            arguments.calibration,
            arguments.validation,
            parse_settings(arguments.set),
            arguments.factored,
        )
    manifest = model.manifest
    for name, figure in manifest.parity.items():
        if name.startswith("auc_"):
            print(f"success AUC {name.removeprefix('auc_')}: {figure:.4f}")
        else:
            print(f"parity {name}: {figure:.2e} of torch's largest value")
    size = sum(path.stat().st_size for path in (model.template_path, model.search_path))
    form = "factored " if "factored" in manifest.source else ""
    print(f"{form}{manifest.precision} model in {model.folder}: {size / 1e6:.1f} MB")
    return 0


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` pairs; a value is JSON, as 0.1 or [0.5, 1, 2].

    Raises:
        InputError: no such pair. Names and ranges are the tracker configuration's to check.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            settings[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            raise InputError(f"--set is {text!r}: expected NAME=VALUE, as penalty_k=0.1") from None
    return settings


def _build_engines(arguments: argparse.Namespace) -> int:
    """Build both TensorRT engines into the cache, where `--engine tensorrt` finds them."""
    from exporter.runtime.open import models_of
    from exporter.runtime.tensorrt import TensorRtBackend
    from exporter.tensorrt import BuildOptions, cache_folder

    options = BuildOptions(arguments.workspace, arguments.opt_level)
    backend = TensorRtBackend(models_of(arguments.model)("tensorrt"), options)
    print(f"{backend.name}: engines in {cache_folder() / 'engines'}")
    backend.close()
    return 0
