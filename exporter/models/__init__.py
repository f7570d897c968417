"""The models that ship with the package."""

from __future__ import annotations

from pathlib import Path

from model.errors import ModelFileError

DEFAULT_NAME = "siamrpn-alexnet"


def default_model() -> Path:
    """Folder of the model that every command uses unless told otherwise.

    Raises:
        ModelFileError: this copy of the package ships none.
    """
    folder = Path(__file__).parent / DEFAULT_NAME
    if not (folder / "manifest.json").is_file():
        raise ModelFileError(
            f"there is no built-in model at {folder}: give one with --model, made by mlkd export"
        )
    return folder
