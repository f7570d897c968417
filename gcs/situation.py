"""What the supervisor knows, remembers and answers: values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from drone.frame import Telemetry
from gcs.session import Phase
from model.geometry import Box


class ControlLevel(enum.IntEnum):
    """What the operator has granted."""

    OFF = 0
    CAMERA = 1
    FOLLOW = 2


class Action(enum.IntEnum):
    """What may go out, by severity."""

    FOLLOW = 0
    """Yaw, gimbal and forward."""
    CAMERA = 1
    """Yaw and gimbal."""
    YAW = 2
    """Yaw only."""
    NEUTRAL = 3
    """Zeros, until this passes."""
    HOVER = 4
    """Zeros, and forward flight has to be confirmed anew."""
    RELEASE = 5
    """Zeros, then nothing: the level falls to OFF and the vehicle is its pilot's."""


@dataclass(frozen=True)
class Situation:
    """What is known at one decision.

    Attributes:
        now_ns: host's monotonic clock.
        phase: of the session.
        captured_ns: capture of a new frame that was looked at; None where there is none.
        box: its answer, full-frame px; None where the target was missed.
        width_px, height_px: that frame.
        score: 0..1, of the answer.
        low: the score is too low to be trusted (`model.confidence`).
        damaged: parts of the picture are wrong or old, so there is no box in it.
        telemetry: newest; a field that is not known or stale is None.
        override: who took over, as `stick`, `key` or `api`; None for nobody.
    """

    now_ns: int
    phase: Phase = Phase.TRACKING
    captured_ns: int | None = None
    box: Box | None = None
    width_px: int = 0
    height_px: int = 0
    score: float | None = None
    low: bool = False
    damaged: bool = False
    telemetry: Telemetry = field(default_factory=Telemetry)
    override: str | None = None


@dataclass(frozen=True)
class Flaw:
    """Why a box is refused.

    Attributes:
        reason: one line with the figures.
        broken: the answer is no measurement at all (NaN, wrong clock), so nothing that came with
            it is believed; else the box is real, but not to be steered by.
    """

    reason: str
    broken: bool


@dataclass(frozen=True)
class Watch:
    """What the supervisor remembers; a value.

    Attributes:
        level: granted by the operator.
        confirmed: forward flight was confirmed for this unbroken track.
        good_box: last box that passed every check; the next one is compared with it.
        good_ns: capture of the last such box whose score was not low; commands count from it.
        seen_ns: capture of the last frame that was looked at, whatever its answer.
        good_run: good boxes in a row since the last loss.
        low_run: low scores and misses in a row.
        last_ns: time of the last decision.
        gap_ms: age of the last good box when this decision began, before a new one was taken in:
            a loss shows by it even if nobody decided anything meanwhile.
        flaw: why the newest box was refused.
        clock_back: the clock went backwards at this decision.
    """

    level: ControlLevel = ControlLevel.OFF
    confirmed: bool = False
    good_box: Box | None = None
    good_ns: int | None = None
    seen_ns: int | None = None
    good_run: int = 0
    low_run: int = 0
    last_ns: int | None = None
    gap_ms: float | None = None
    flaw: Flaw | None = None
    clock_back: bool = False

    def age_ms(self, now_ns: int) -> float | None:
        """Age of the last good box's capture; None when there was none."""
        return None if self.good_ns is None else (now_ns - self.good_ns) / 1e6


@dataclass(frozen=True)
class Verdict:
    """What may go out and why.

    Attributes:
        action: the most severe of all rules that applied.
        rule: its name in the table.
        reason: one line with the figures.
        also: names of the other rules that applied, most severe first.
    """

    action: Action
    rule: str
    reason: str
    also: tuple[str, ...] = ()
