"""`mlkd export`: a checkpoint becomes a model that engines run."""

from __future__ import annotations

import argparse
from pathlib import Path

from exporter.manifest import PRECISIONS
from model.errors import MissingExtraError


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = sub.add_parser(
        "export",
        help="turn a checkpoint into ONNX graphs with a manifest",
        description="Turn a checkpoint into ONNX graphs with a manifest, checked against torch.",
    )
    parser.add_argument("checkpoint", type=Path, help="torch weights (.pt, .pth)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="model folder")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="compact",
        help="compact: fp16 weights, fp32 arithmetic (default); fp16: for GPUs; int8: fastest on "
        "CPUs, needs --calibration",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="images, or videos with groundtruth.txt, of the kind that will be flown",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export, and print the parity figures."""
    try:
        from exporter.export import export_model
    except ModuleNotFoundError as absent:
        raise MissingExtraError(str(absent.name), "export") from absent

    model = export_model(
        arguments.checkpoint, arguments.out, arguments.precision, arguments.calibration
    )
    manifest = model.manifest
    for name, error in manifest.parity.items():
        print(f"parity {name}: {error:.2e} of torch's largest value")
    size = sum(path.stat().st_size for path in (model.template_path, model.search_path))
    print(f"{manifest.precision} model in {model.folder}: {size / 1e6:.1f} MB")
    return 0
