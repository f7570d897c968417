"""The beginning of a track: from the operator's box to a target at the newest frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from drone.frame import Frame
from gcs.history import History, thin_out
from gcs.requests import GivenUpError
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
REPLAY_S = 1.0
"""About the longest time that they may take."""


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
    request: StartRequest,
    history: History,
    tracker: Tracker,
    confidence: ConfidenceConfig,
    *,
    given_up: Callable[[], bool] = lambda: False,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Beginning:
    """Learn the target on the frame that was seen and replay the frames since.

    The newest frame is left to the loop's own update, which also publishes it. On a slow machine
    fewer frames are replayed, so that the replay takes about `REPLAY_S` at most.

    Args:
        request: what the operator asked for.
        history: frames at hand.
        tracker: of the target.
        confidence: thresholds of the target.
        given_up: asked between the updates whether the start is still wanted.
        clock: ns.

    Raises:
        GivenUpError: it is not.
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
    whole = [frame for frame in later if frame is not newest and not frame.damaged]
    rest = thin_out(whole, MAX_REPLAY)
    replayed, began = 0, clock()
    while rest:
        if given_up():
            raise GivenUpError("the start was given up before it was ready")
        target.update(rest[0].image)
        target.learn()
        replayed += 1
        spent_s = (clock() - began) / 1e9
        each_s = spent_s / replayed
        fit = len(rest) if each_s <= 0 else max(0, int((REPLAY_S - spent_s) / each_s))
        rest = thin_out(rest[1:], fit) if fit else []
    return Beginning(target, first, learnt, truth, replayed)


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
