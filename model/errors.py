"""Errors that name the input, what was expected and how to mend it."""

from __future__ import annotations


class MlkdError(Exception):
    """Base of every error that this project raises on purpose."""


class InputError(MlkdError, ValueError):
    """The user's input cannot be used; the command line answers with exit code 2."""


class ConfigError(InputError):
    """A setting is unknown, of the wrong type or out of range."""


class BoxError(InputError):
    """A box is empty, not finite, outside the image or too small to track."""


class ShapeError(MlkdError, ValueError):
    """An array does not have the shape or dtype that was asked for."""


class BackendError(MlkdError, RuntimeError):
    """An engine failed, or answered with values that cannot be used."""


class ModelFileError(InputError):
    """A model file or its manifest is missing, damaged or does not fit."""


class MissingExtraError(InputError):
    """An optional library is not installed; the message names the pip extra."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed; install it with: pip install 'mlkd-track[{extra}]'"
        )
