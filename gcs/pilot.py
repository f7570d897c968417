"""The follow controller: the servo under its supervisor, and the operator's word over both."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from drone.control import RateCommand, VehicleControl
from drone.errors import ControlError
from drone.frame import Frame
from gcs import safety, servo
from gcs.follow import Decision
from gcs.follow_config import FollowConfig
from gcs.servo import Servo, Sighting
from gcs.session import Phase
from gcs.situation import Action, ControlLevel, Situation, Verdict, Watch
from gcs.target import Answer
from model.confidence import ConfidenceConfig, Level
from model.errors import MlkdError

logger = logging.getLogger(__name__)

Note = Callable[[str, str], None]
"""Takes an event's kind and message."""


class GrantError(MlkdError, RuntimeError):
    """The operator's wish cannot be granted now; says why and what was expected."""


@dataclass(frozen=True)
class PilotStatus:
    """What the operator is shown.

    Attributes:
        level: granted now.
        confirmed: forward flight is confirmed.
        verdict: the newest decision; None before the first.
    """

    level: ControlLevel
    confirmed: bool
    verdict: Verdict | None


class Pilot:
    """Decides a command for every frame. `decide` from the loop's thread, the rest from any.

    Give the loop `gate` as its vehicle, so that nothing which was decided before an override
    goes out after it.
    """

    def __init__(
        self,
        control: VehicleControl,
        config: FollowConfig | None = None,
        confidence: ConfidenceConfig | None = None,
        *,
        note: Note | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Start with the level OFF.

        Args:
            control: the vehicle, or the process that sends to it.
            config: gains and limits.
            confidence: which scores are a miss.
            note: told of changes; must not block.
            clock: host's monotonic clock.
        """
        self.config = config or FollowConfig()
        self.gate = Gate(self, control)
        self._control = control
        self._miss_score = (confidence or ConfidenceConfig()).lost_score
        self._note: Note = note or (lambda _kind, _message: None)
        self._clock = clock
        self._lock = threading.RLock()
        self._watch = Watch()
        self._servo = Servo()
        self._verdict: Verdict | None = None
        self._refusal: str | None = None
        self._held: str | None = None
        self._barrier_ns = -1

    @property
    def refusal(self) -> str | None:
        """Why the newest command did not go out; None where it did."""
        return self._held

    @property
    def status(self) -> PilotStatus:
        """Level, confirmation and the newest decision."""
        with self._lock:
            return PilotStatus(self._watch.level, self._watch.confirmed, self._verdict)

    def grant(self, level: ControlLevel) -> None:
        """Set the level; OFF hovers at once. FOLLOW flies forward only after `confirm`."""
        if level is ControlLevel.OFF:
            self.override("api")
            return
        with self._lock:
            self._watch = safety.grant(self._watch, level)
            self._barrier_ns = self._clock()
            self._verdict = None
            self._servo = self._servo.release_distance()
        self._note("control_level", f"control level {level.name}")

    def confirm(self) -> None:
        """Let the vehicle fly forward on the target it holds now, keeping its distance.

        Raises:
            GrantError: nothing is held, or the level is not FOLLOW.
        """
        with self._lock:
            self._watch, refusal = safety.confirm(self._watch, self._clock(), self.config)
            if refusal is None:
                self._verdict = None
                self._servo = self._servo.keep_distance()
        if refusal is not None:
            raise GrantError(f"forward flight is not confirmed: {refusal}")
        self._note("follow_confirmed", "the operator confirmed forward flight")

    def override(self, source: str) -> None:
        """The operator takes over: neutral goes out before this returns, the level is OFF.

        Args:
            source: `stick`, `key` or `api`.
        """
        with self._lock:
            was = self._watch.level
            situation = Situation(self._clock(), override=source)
            self._watch, self._verdict = safety.judge(self._watch, situation, self.config)
            self._servo = self._servo.forget_target()
            self._calm()
        if was is not ControlLevel.OFF:
            self._note("override", self._verdict.reason)

    def stick(self, deflection: float) -> None:
        """Hear of a stick's deflection, -1..1; a value that is no number counts as moved."""
        if not abs(deflection) < self.config.stick_threshold and (
            self.status.level is not ControlLevel.OFF
        ):
            self.override("stick")

    def reset(self) -> None:
        """Believe no earlier box and void the confirmation; the level stays."""
        with self._lock:
            self._watch = safety.lose(self._watch)
            self._barrier_ns = self._clock()
            self._verdict = None
            self._servo = self._servo.forget_target()

    def hover(self) -> None:
        """Send neutral before this returns, and believe no earlier box; the level stays."""
        with self._lock:
            self.reset()
            self._calm()

    def decide(self, frame: Frame, answer: Answer, phase: Phase) -> Decision:
        """Decide on one processed frame.

        Returns:
            the command, stamped with the capture of the box it stands on so that every later
            expiry counts from the picture; None when the vehicle is its pilot's.
        """
        with self._lock:
            return self._decide(situation_of(frame, answer, phase, self._clock(), self._miss_score))

    def _decide(self, now: Situation) -> Decision:
        config = self.config.of_vehicle(now.telemetry)
        before = self._verdict
        was_off = self._watch.level is ControlLevel.OFF
        good_ns = self._watch.good_ns
        self._watch, verdict = safety.judge(self._watch, now, config)
        self._verdict = verdict
        if before is None or before.rule != verdict.rule:
            self._note("control", f"{verdict.rule}: {verdict.reason}")
        if not was_off and self._watch.level is ControlLevel.OFF:
            self._note("control_released", verdict.reason)
        if verdict.action >= Action.HOVER:
            self._servo = self._servo.forget_target()
        elif self._watch.good_ns != good_ns and now.box is not None:
            seen = Sighting(
                now.box, now.width_px, now.height_px, now.captured_ns or 0, now.telemetry
            )
            self._servo = servo.observe(self._servo, seen, config)
        wanted = servo.steer(self._servo, now.now_ns, config)
        command = safety.permit(wanted, verdict.action, now.now_ns, config)
        self._servo = servo.sent(self._servo, command, now.now_ns, config)
        reason = f"{verdict.rule}: {verdict.reason}"
        if was_off:
            return Decision(None, reason)
        if not command.is_neutral and self._watch.good_ns is not None:
            command = replace(command, issued_ns=self._watch.good_ns)
        return Decision(command, reason)

    def _pass(self, command: RateCommand) -> None:
        """Send what was decided, unless the operator took over, stopped or changed the level since.

        What stands on a box from before that is held back, however late it comes.

        A vehicle out of reach is noted, not raised: the target is tracked on, and the vehicle's
        own expiry makes it neutral. When it is reached again it starts still: forward flight has
        to be confirmed anew, as after a loss of the target.
        """
        refusal: str | None = None
        with self._lock:
            self._held = None if command.is_neutral else self._why_held(command)
            if self._held is not None:
                return
            try:
                self._control.send(command)
            except ControlError as error:
                self._held = refusal = str(error)
                self._watch = safety.lose(self._watch)
                self._servo = self._servo.forget_target()
            if refusal is None and command.is_neutral:
                return  # zeros may pass where commands do not: no proof that it is reached again
            fresh, self._refusal = refusal != self._refusal, refusal
        if refusal is not None and fresh:
            self._note("control_failed", refusal)

    def _why_held(self, command: RateCommand) -> str | None:
        if self._watch.level is ControlLevel.OFF:
            return "the level of control is OFF"
        if command.issued_ns <= self._barrier_ns:
            return "decided before a stop or a change of level"
        return None

    def _calm(self) -> None:
        now_ns = self._clock()
        self._servo = servo.sent(self._servo, RateCommand(), now_ns, self.config)
        try:
            self._control.neutral()
        except ControlError as error:
            # The vehicle is out of reach: its own expiry makes it neutral.
            logger.warning("neutral: %s", error)


class Gate:
    """The vehicle as the loop sees it: closed while the level is OFF."""

    def __init__(self, pilot: Pilot, control: VehicleControl) -> None:
        self._pilot, self._control = pilot, control

    @property
    def expiry_s(self) -> float:
        """Age at which a command turns neutral by itself."""
        return self._control.expiry_s

    def send(self, command: RateCommand) -> None:
        """Pass a command on while the level is above OFF; see `VehicleControl.send`."""
        self._pilot._pass(command)

    def neutral(self) -> None:
        """Hover at once; always passed on."""
        self._control.neutral()


def situation_of(
    frame: Frame, answer: Answer, phase: Phase, now_ns: int, miss_score: float
) -> Situation:
    """Put a processed frame into the supervisor's words; a miss has no box.

    A damaged picture is a miss, whatever the answer: its regions may be old or wrong. While the
    target is missed the tracker repeats its last box: to take that for a new one would make an
    old place look fresh.
    """
    height_px, width_px = frame.image.shape[:2]
    score = answer.score
    missed = frame.damaged or answer.refused is not None or score is None or score < miss_score
    return Situation(
        now_ns=now_ns,
        phase=phase,
        captured_ns=frame.captured_ns,
        box=None if missed else answer.box,
        width_px=width_px,
        height_px=height_px,
        score=score,
        low=answer.level is not Level.SURE,
        damaged=frame.damaged,
        telemetry=frame.telemetry,
    )
