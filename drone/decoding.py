"""Which device decodes the video of files, network streams and webcams."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from drone.errors import SourceError

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel

_log = logging.getLogger(__name__)

CPU = "cpu"
AUTO = "auto"
_PROBE_CODEC = "h264"
_FAILURES = (OSError, ValueError, RuntimeError)


def choose_decoder(wanted: str) -> str:
    """Find out which device will decode.

    Args:
        wanted: `cpu`, `auto` (the first device that opens, else the CPU), or a device's name as
            FFmpeg has it: `cuda`, `vaapi`, `qsv`, `videotoolbox`, `d3d11va` …

    Returns:
        `cpu` or the device's name.

    Raises:
        SourceError: this device cannot be opened here; names what there is.
    """
    if wanted == CPU:
        return CPU
    known = _known_devices()
    if wanted == AUTO:
        chosen = next((name for name in known if _refusal(name) is None), CPU)
        _log.info("video is decoded by: %s", chosen)
        return chosen
    reason = _refusal(wanted) if wanted in known else "unknown to this FFmpeg"
    if reason is not None:
        raise SourceError(
            f"decoder {wanted!r} cannot be used ({reason}): expected {CPU}, {AUTO} or one of "
            f"{', '.join(known) or 'no device, there is none'}"
        )
    return wanted


def open_options(decoder: str) -> dict[str, Any]:
    """Arguments of `av.open` for a decoder that `choose_decoder` gave.

    What the device cannot decode (another codec, another profile) is decoded by the CPU.
    """
    return {} if decoder == CPU else {"hwaccel": _device(decoder)}


def _known_devices() -> list[str]:
    try:
        from av.codec.hwaccel import hwdevices_available
    except ImportError:  # PyAV before 14
        return []
    return list(hwdevices_available())


def _device(name: str) -> HWAccel:
    from av.codec.hwaccel import HWAccel

    return HWAccel(name, allow_software_fallback=True)


def _refusal(name: str) -> str | None:
    """Why a device cannot be opened; None where it can."""
    import av

    try:
        _device(name).create(av.Codec(_PROBE_CODEC, "r"))
    except _FAILURES as error:
        return str(error) or type(error).__name__
    return None
