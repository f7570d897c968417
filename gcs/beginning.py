"""The beginning of a track: from the operator's box to a target at the newest frame."""

from __future__ import annotations

from dataclasses import dataclass

from drone.frame import Frame
from gcs.history import History, thin_out
from gcs.schemas import StartRequest
from gcs.selection import select_box
from gcs.target import Target
from gcs.truth import match_target
from model.confidence import ConfidenceConfig
from model.errors import MlkdError
from model.geometry import Box
from model.tracker import Tracker

MAX_REPLAY = 40
"""Most updates that carry a target from the frame it was drawn on to the newest one."""


class NoVideoError(MlkdError, RuntimeError):
    """A request that needs a picture came before there was one, or after the last."""


class UnknownTargetError(MlkdError, LookupError):
    """The annotated target that was asked for is not in the frame."""


@dataclass(frozen=True)
class Beginning:
    """A target that has been learnt and carried forward.

    Attributes:
        target: as of the frame before the newest one.
        frame: the frame it was learnt on: the one that the operator saw.
        box: the box learnt, cut to the frame; full-frame px.
        truth: annotated target to measure against, None without ground truth.
        replayed: updates since that frame.
    """

    target: Target
    frame: Frame
    box: Box
    truth: str | None
    replayed: int


def begin_target(
    request: StartRequest, history: History, tracker: Tracker, confidence: ConfidenceConfig
) -> Beginning:
    """Learn the target on the frame that was seen and replay the frames since.

    The newest frame is left to the loop's own update, which also publishes it.

    Raises:
        NoVideoError: there is no frame.
        FrameGoneError: the frame is too old or unknown.
        BoxError: the box cannot be a target.
        UnknownTargetError: no such annotated target.
        BackendError: the engine failed on the first frame.
    """
    newest = history.newest()
    if newest is None:
        raise NoVideoError("there is no picture to track in: no frame has arrived yet")
    number = newest.number if request.frame_id is None else request.frame_id
    first, *later = history.since(number)
    height, width = first.image.shape[:2]
    drawn = select_box(request, width, height)
    truth = choose_truth(request.target, drawn, first)
    target = Target(tracker, confidence, first.image, drawn)
    learnt = target.box
    passed = thin_out([frame for frame in later if frame is not newest], MAX_REPLAY)
    for frame in passed:
        target.update(frame.image)
        target.learn()
    return Beginning(target, first, learnt, truth, len(passed))


def choose_truth(wanted: str | None, box: Box, frame: Frame) -> str | None:
    """The annotated target to measure against: the one asked for, or the best overlapping one.

    Raises:
        UnknownTargetError: the one asked for is not annotated.
    """
    if wanted is None:
        return match_target(box, frame.truth)
    if wanted not in frame.truth:
        known = ", ".join(sorted(frame.truth)[:20]) or "none in this video"
        raise UnknownTargetError(f"target {wanted!r} is not annotated; known: {known}")
    return wanted
