"""Frames and telemetry: time travels with the pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""H x W x 3, BGR, uint8."""

TruthBox = tuple[float, float, float, float]
"""x, y, w, h; 0-based px of the full frame."""


@dataclass(frozen=True)
class Telemetry:
    """What the vehicle says of itself; None where it has not said it."""

    yaw_deg: float | None = None
    gimbal_pitch_deg: float | None = None
    height_m: float | None = None
    home_distance_m: float | None = None
    """Over ground, from where it took off."""
    speed_m_s: float | None = None
    battery_percent: float | None = None
    link_quality: float | None = None
    """0 (none) .. 1 (best)."""
    flying_state: str | None = None
    returning_home: bool | None = None
    """It flies home by its own decision or its pilot's; nobody else may command then."""
    horizontal_fov_deg: float | None = None
    yaw_full_deg_s: float | None = None
    gimbal_full_deg_s: float | None = None
    """What a full command does; the pilot may change it in the vehicle's settings."""


@dataclass(frozen=True)
class Frame:
    """One picture and when it was taken.

    Attributes:
        number: counts from 0 over everything that the source captured; gaps are frames dropped.
        image: (H, W, 3) BGR uint8; never written to after it was published.
        captured_ns: the host's monotonic clock at capture. A network source without a clock gives
            the arrival; with one, the constant part of the way from the camera is missing.
        source_ns: the source's own clock, None where it has none.
        truth: box of every annotated target by name, where ground truth exists; a target that is
            absent or hidden maps to None.
        telemetry: the vehicle's state near the capture.
        arrived_ns: the host's monotonic clock at arrival, where that is another time than the
            capture; it tells a picture that lay unread from one that was long on its way.
        damaged: the decoder says that parts of the picture are wrong or old: it is shown and
            recorded, but nothing is tracked or steered by it.
    """

    number: int
    image: Pixels
    captured_ns: int
    source_ns: int | None = None
    truth: dict[str, TruthBox | None] = field(default_factory=dict)
    telemetry: Telemetry = field(default_factory=Telemetry)
    arrived_ns: int | None = None
    damaged: bool = False
