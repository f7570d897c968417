"""What the network makes of the first frame, where the box is known, corrects its later answers."""

from __future__ import annotations

from dataclasses import dataclass

from model.config import TrackerConfig
from model.geometry import Box, iou

LEAST_IOU = 0.4
"""Least overlap of the network's box on the first frame with the one that was given."""


@dataclass(frozen=True)
class Calibration:
    """A correction of every answer for one target; a value.

    Attributes:
        grow_x, grow_y: what an answered width and height are multiplied with.
        shift_x, shift_y: what an answered centre is moved by, in widths and heights of the box.
    """

    grow_x: float = 1.0
    grow_y: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0


UNCORRECTED = Calibration()


def calibrate(seen: Box, given: Box, config: TrackerConfig) -> Calibration:
    """Compare the network's box on the first frame with the one that was given.

    A network answers some targets too wide, too high or beside their middle, in every frame alike.
    An answer that is elsewhere, or of quite another size, tells nothing of that.

    Args:
        seen: the network's, full-frame px.
        given: the operator's, full-frame px.
        config: for `shape_calibration` and `centre_calibration`.
    """
    if iou(seen, given) < LEAST_IOU:
        return UNCORRECTED
    power, share = config.shape_calibration, config.centre_calibration
    return Calibration(
        (given.w / seen.w) ** power,
        (given.h / seen.h) ** power,
        (given.cx - seen.cx) / given.w * share,
        (given.cy - seen.cy) / given.h * share,
    )
