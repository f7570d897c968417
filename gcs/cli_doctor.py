"""`mlkd doctor`: what this machine has, and the command that brings what it lacks."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

# library, distribution, pip extra, what it is for
LIBRARIES = (
    ("openvino", "openvino", "", "engine on a CPU"),
    ("onnxruntime", "onnxruntime", "cpu", "engine on a CPU, or with onnxruntime-gpu on a GPU"),
    ("tensorrt", "tensorrt-cu13", "gpu", "engine on an NVIDIA GPU"),
    ("torch", "torch", "train", "training and export"),
    ("olympe", "parrot-olympe", "olympe", "Parrot drones"),
)


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = sub.add_parser("doctor", help="tell what this machine has and what it lacks")
    parser.add_argument("--flights-dir", type=Path, default=Path("flights"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 1 if the ground station could not track here."""
    print(f"python      {sys.version.split()[0]} on {platform.platform()}")
    for module, distribution, extra, purpose in LIBRARIES:
        if importlib.util.find_spec(module) is None:
            mend = f"pip install 'mlkd-track[{extra}]'" if extra else "pip install mlkd-track"
            print(f"{module:11} missing ({purpose}): {mend}")
            continue
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            version = "installed"
        print(f"{module:11} {version}")
    place = arguments.flights_dir.resolve()
    while not place.exists():
        place = place.parent
    print(f"disk        {shutil.disk_usage(place).free / 1e9:.1f} GB free for flights")
    return _check_engine()


def _check_engine() -> int:
    from exporter.runtime.open import open_backend
    from model.errors import MlkdError

    try:
        backend = open_backend(None)
    except MlkdError as error:
        print(f"engine      cannot be opened: {error}")
        return 1
    print(f"engine      {backend.name}")
    backend.close()
    return 0
