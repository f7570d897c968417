"""The models that ship with the package."""

from __future__ import annotations

import logging
from pathlib import Path

from exporter.machine import int8_flags
from model.errors import ModelFileError

log = logging.getLogger(__name__)

DEFAULT_NAME = "siamrpn-alexnet"
INT8_SUFFIX = "-int8"
"""Behind the name of a folder: the same weights in int8, for CPUs."""
INT8_ENGINES = ("openvino", "onnxruntime-cpu")
"""Engines that take the int8 form; those that name a precision of their own do not."""


def default_model(engine: str = "") -> Path:
    """Folder of the model that every command uses unless told otherwise.

    Args:
        engine: the one that will run it. An engine of `INT8_ENGINES` gets the int8 form where it
            ships and this CPU multiplies int8 itself; elsewhere int8 would gain little and, on
            CPUs that saturate its sums, lose accuracy.

    Raises:
        ModelFileError: this copy of the package ships none.
    """
    folder = Path(__file__).parent / DEFAULT_NAME
    small = folder.with_name(f"{DEFAULT_NAME}{INT8_SUFFIX}")
    if engine in INT8_ENGINES and (small / "manifest.json").is_file():
        flags = int8_flags()
        if flags:
            log.info("model %s: this CPU computes int8 itself (%s)", small.name, ", ".join(flags))
            return small
        log.info("model %s: this CPU is not known to compute int8 itself", folder.name)
    if not (folder / "manifest.json").is_file():
        raise ModelFileError(
            f"there is no built-in model at {folder}: give one with --model, made by mlkd export"
        )
    return folder
