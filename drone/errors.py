"""Errors of sources and vehicles."""

from __future__ import annotations


class DroneError(Exception):
    """Base of the errors of this package; the message names the source and what was expected."""


class SourceError(DroneError):
    """A video source cannot be opened or broke for good."""


class FrameTimeoutError(DroneError, TimeoutError):
    """No frame came in time; the source may recover."""


class ControlError(DroneError):
    """A vehicle refused a connection or a command."""
