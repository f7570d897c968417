"""The models that ship with the package."""

from __future__ import annotations

import logging
from pathlib import Path

from exporter.machine import int8_flags
from model.errors import ModelFileError

log = logging.getLogger(__name__)

DEFAULT_NAME = "siamrpn-alexnet"
INT8_SUFFIX = "-int8"
"""Behind the name of a folder: the same network in int8, for CPUs; AlexNet's also in factors."""
FACTORED_SUFFIX = "-factored"
"""Behind the name of a folder: the same network in factors, in float, for CPUs."""
INT8_ENGINES = ("openvino",)
"""Engines that take the int8 form; those that name a precision of their own do not. ONNX Runtime
computes it in float between quantisers, slower than the plain form."""
FACTORED_ENGINES = ("openvino", "openvino-bf16", "openvino-f32", "onnxruntime-cpu")
"""Engines that take the factored form where they do not take int8: all on CPUs."""


def default_model(engine: str = "") -> Path:
    """Folder of the model that every command uses unless told otherwise; see `shipped_model`."""
    return shipped_model(DEFAULT_NAME, engine)


def shipped_names() -> list[str]:
    """Names of the models that ship, without their forms for CPUs."""
    found = sorted(path.parent.name for path in Path(__file__).parent.glob("*/manifest.json"))
    return [name for name in found if not name.endswith((INT8_SUFFIX, FACTORED_SUFFIX))]


def is_shipped_name(path: Path) -> bool:
    """Whether a path that a user gave is the bare name of a model that ships, and no folder."""
    return str(path) in shipped_names() and not path.exists()


def is_shipped_form(path: Path) -> bool:
    """Whether a path that a user gave is the name of a form that the engine chooses by itself."""
    name = str(path)
    ends = (INT8_SUFFIX, FACTORED_SUFFIX)
    return name.endswith(ends) and (Path(__file__).parent / name / "manifest.json").is_file()


def shipped_model(name: str, engine: str = "") -> Path:
    """Folder of a model that ships with the package.

    Args:
        name: one of `shipped_names`.
        engine: the one that will run it. An engine of `INT8_ENGINES` gets the int8 form where it
            ships and this CPU multiplies int8 itself; elsewhere int8 would gain little and, on
            CPUs that saturate its sums, lose accuracy. Other engines on CPUs get the factored form
            where it ships, GPUs the whole network.

    Raises:
        ModelFileError: this copy of the package ships none of that name.
    """
    folder = Path(__file__).parent / name
    small = folder.with_name(f"{name}{INT8_SUFFIX}")
    if engine in INT8_ENGINES and (small / "manifest.json").is_file():
        flags = int8_flags()
        if flags:
            log.info("model %s: this CPU computes int8 itself (%s)", small.name, ", ".join(flags))
            return small
        log.info("model %s: not taken, this CPU is not known to compute int8 itself", small.name)
    factors = folder.with_name(f"{name}{FACTORED_SUFFIX}")
    if engine in FACTORED_ENGINES and (factors / "manifest.json").is_file():
        log.info("model %s: in factors, for engines on CPUs", factors.name)
        return factors
    if not (folder / "manifest.json").is_file():
        raise ModelFileError(
            f"there is no built-in model at {folder}: give one with --model, made by mlkd export"
        )
    return folder
