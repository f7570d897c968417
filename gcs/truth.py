"""Which annotated target a flight is measured against, and the error against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drone.frame import TruthBox
from model.geometry import Box, centre_error_px, iou

MATCH_IOU = 0.3
"""The operator's box must overlap an annotated target by more than this to be measured by it."""


@dataclass(frozen=True)
class TruthError:
    """Ground truth of one frame and the answer's error against it.

    Attributes:
        box: the true box; None where the target is absent or hidden.
        cle_px: centre location error; None without a true box or an answer.
        iou: overlap with the true box; None likewise.
    """

    box: Box | None = None
    cle_px: float | None = None
    iou: float | None = None


def match_target(box: Box, truth: Mapping[str, TruthBox | None]) -> str | None:
    """Name the annotated target that overlaps the operator's box most, or None."""
    best_name, best = None, MATCH_IOU
    for name, known in truth.items():
        if known is None:
            continue
        overlap = iou(box, Box(*known))
        if overlap > best:
            best_name, best = name, overlap
    return best_name


def measure(
    answer: Box | None, truth: Mapping[str, TruthBox | None], target: str | None
) -> TruthError:
    """Compare an answer with the ground truth of its frame; never estimates."""
    known = truth.get(target) if target is not None else None
    if known is None:
        return TruthError()
    box = Box(*known)
    if answer is None:
        return TruthError(box)
    return TruthError(box, centre_error_px(answer, box), iou(answer, box))
