"""The loop: one thread that receives, answers requests, tracks, steers and publishes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from drone.control import VehicleControl
from drone.errors import ControlError
from drone.frame import Frame
from gcs.beginning import NoVideoError, begin_target
from gcs.feed import Feed, Video
from gcs.follow import Decision, Follow
from gcs.history import History
from gcs.journal import Journal
from gcs.output import Output, Step
from gcs.requests import GivenUpError, HoldOrder, Orders, ReopenOrder, StartOrder, StopOrder
from gcs.schemas import Started, Stopped
from gcs.session import Phase, Session
from gcs.target import Answer, Target
from model.confidence import ConfidenceConfig, Level
from model.tracker import Tracker

logger = logging.getLogger(__name__)

READ_TIMEOUT_S = 0.1
"""Longest wait for a frame; a stop is heard within it even when the video stands still."""

MAX_FAILURES = 100
"""Passes in a row that may fail before the loop gives up, visibly."""


@dataclass(frozen=True)
class LoopParts:
    """What the loop works with; it owns the thread, not the parts."""

    feed: Feed
    tracker: Tracker
    confidence: ConfidenceConfig
    history: History
    output: Output
    journal: Journal
    control: VehicleControl | None = None
    follow: Follow | None = None
    clock: Callable[[], int] = time.monotonic_ns


class Loop:
    """Runs until `stop`; requests come from any thread through `orders`."""

    def __init__(self, parts: LoopParts) -> None:
        self.orders = Orders()
        self.session = Session()
        self.died: str | None = None
        self.beat_ns = parts.clock()
        self._parts = parts
        self._target: Target | None = None
        self._learning_failed = False
        self._truth: str | None = None
        self._frames = 0
        self._stops_done = 0
        self._video = parts.feed.video
        self.refusing = False
        self._failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlkd-loop", daemon=True)

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 1.5) -> None:
        """End the flight and the thread; safe to call twice."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def neutral(self) -> None:
        """Hover at once, from any thread, without waiting for the loop."""
        if self._parts.control is not None:
            try:
                self._parts.control.neutral()
            except ControlError as error:
                logger.warning("neutral: %s", error)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._pass()
        except BaseException as error:
            self.died = f"{type(error).__name__}: {error}"
            logger.exception("the loop died")
        finally:
            self._finish()

    def _pass(self) -> None:
        """One turn of the loop; the only place where its errors are caught."""
        self.beat_ns = self._parts.clock()
        try:
            frame = self._receive()
            self._parts.journal.collect()
            self._handle_orders()
            step = self._update(frame)
            self._steer(step)
            self._parts.output.publish(step)
            self._learn()
            self._failures = 0
        except Exception as error:
            self._survive(error)

    def _receive(self) -> Frame | None:
        """Wait for the newest frame; note when the video stalls, ends or comes back."""
        frame = self._parts.feed.read(READ_TIMEOUT_S)
        if frame is not None:
            self._parts.history.add(frame)
            self._parts.output.received(frame)
        self._watch_video()
        return frame

    def _watch_video(self) -> None:
        video, last = self._parts.feed.video, self._video
        if video is last:
            return
        self._video = video
        message = self._parts.feed.message or f"video {video.value.lower()}"
        self._parts.journal.note(f"video_{video.value.lower()}", message)
        if video is Video.LIVE:
            return
        self._calm()
        if self._target is not None:
            self._target.suspect()
        if self.session.phase is Phase.TRACKING:
            self._lose("the video stalled")
        if video is Video.ENDED and self.session.active:
            self._end_track("the video has ended")

    def _handle_orders(self) -> None:
        for order in self.orders.take():
            if isinstance(order, StopOrder):
                self._stops_done += 1
            if isinstance(order, HoldOrder):
                self._parts.history.hold(order.frame_id)
            elif isinstance(order, ReopenOrder):
                self._parts.feed.reopen("opened anew by the operator", delay_s=0.0)
            elif order.answer.set_running_or_notify_cancel():
                self._answer(order)

    def _answer(self, order: StartOrder | StopOrder) -> None:
        try:
            if isinstance(order, StartOrder):
                order.answer.set_result(self._start(order))
            else:
                order.answer.set_result(self._stop_track())
        except Exception as error:
            # The route turns it into a refusal; the loop goes on.
            order.answer.set_exception(error)

    def _start(self, order: StartOrder) -> Started:
        """Begin a track; what runs already goes on until the new target is there."""
        parts, request = self._parts, order.request
        if not (request.replace and self.session.active):
            self.session.start(parts.clock())
        if parts.feed.video is Video.ENDED:
            raise NoVideoError("there is no picture to track in: the video has ended")
        stops = self._stops_done

        def given_up() -> bool:
            return order.claim.taken or self.orders.stops > stops

        begun = begin_target(
            request, parts.history, parts.tracker, parts.confidence, given_up=given_up
        )
        if given_up() or not order.claim.take():
            raise GivenUpError("the start was given up before it was ready")
        if self.session.active:
            self._end_track("a new target was drawn")
        session = self.session.start(parts.clock())
        self.session, self._target, self._truth = session, begun.target, begun.truth
        self._frames, self._learning_failed = 0, False
        flight_id = parts.output.begin_flight(begun.frame, begun.box, begun.truth)
        number, box = begun.frame.number, list(begun.box)
        parts.journal.note(
            "track_started",
            f"tracking from frame {number}",
            frame_id=number,
            box=box,
            truth=begun.truth,
            replayed=begun.replayed,
        )
        if parts.output.log_error:
            parts.journal.note("log_failed", parts.output.log_error)
        if parts.follow is not None:
            parts.follow.reset()
        return Started(
            flight_id=flight_id,
            frame_id=number,
            box=box,
            replayed=begun.replayed,
            truth=begun.truth,
        )

    def _stop_track(self) -> Stopped:
        flight_id = self._parts.output.flight_id
        frames = self._frames
        self._end_track("stopped by the operator")
        return Stopped(flight_id=flight_id, frames=frames)

    def _end_track(self, reason: str) -> None:
        self.session = self.session.stop(self._parts.clock())
        self._calm()
        self._parts.journal.collect()
        self._parts.journal.note("track_stopped", reason, frames=self._frames)
        self._parts.output.end_flight()
        self._target = self._truth = None

    def _update(self, frame: Frame | None) -> Step:
        """Ask the target about the frame and move the session by the answer."""
        phase = self.session.phase
        if self._target is None:
            return Step(frame, None, phase, None)
        if frame is None or frame.damaged or self._parts.feed.outdated(frame):
            level = Level.LOST if phase is Phase.LOST else Level.LOW
            return Step(frame, Answer(self._target.box, None, level), phase, self._truth)
        began = self._parts.clock()
        answer = self._target.update(frame.image)
        ended = self._parts.clock()
        self._frames += 1
        self._watch_engine(answer)
        lost = answer.level is Level.LOST or self._parts.feed.video is not Video.LIVE
        if lost and self.session.phase is Phase.TRACKING:
            self._lose("the target is lost")
        elif not lost and self.session.phase is Phase.LOST:
            self.session = self.session.regain(ended)
            self._parts.journal.note("found", "the target is found again", frame_id=frame.number)
        return Step(frame, answer, self.session.phase, self._truth, update_ns=(began, ended))

    def _lose(self, message: str) -> None:
        self.session = self.session.lose(self._parts.clock())
        self._calm()
        self._parts.journal.note("lost", message)

    def _learn(self) -> None:
        """Learn from the frame now that its box and command are out; a failure costs no box."""
        reason = None if self._target is None else self._target.learn()
        if reason is not None and not self._learning_failed:
            self._learning_failed = True
            self._parts.journal.note("learning_failed", f"a new look was not learned: {reason}")

    def _watch_engine(self, answer: Answer) -> None:
        if answer.refused is not None:
            self._parts.output.refused += 1
            if not self.refusing:
                self._parts.journal.note("frame_refused", answer.refused)
        elif self.refusing:
            self._parts.journal.note("engine_recovered", "the engine answers again")
        self.refusing = answer.refused is not None

    def _calm(self) -> None:
        """Hover, and let the controller forget: at stop, loss, and stale or ended video."""
        self.neutral()
        if self._parts.follow is not None:
            self._parts.follow.reset()

    def _steer(self, step: Step) -> None:
        follow, control = self._parts.follow, self._parts.control
        if follow is None or control is None or step.frame is None or step.answer is None:
            return
        decision = step.decision = follow.decide(step.frame, step.answer, step.phase)
        if decision.command is None:
            return
        if step.phase is not Phase.TRACKING:
            # Whatever the controller says, nothing but neutral goes out without a target.
            if not decision.command.is_neutral:
                step.decision = Decision(None, f"neutral: {step.phase.value}")
            self.neutral()
            return
        control.send(decision.command)
        step.held = follow.refusal

    def _survive(self, error: Exception) -> None:
        """An error that nobody foresaw: hover, note it once and go on."""
        self.neutral()
        self._failures += 1
        if self._failures == 1:
            logger.exception("a pass of the loop failed")
            self._parts.journal.note("loop_error", f"{type(error).__name__}: {error}")
        if self._failures >= MAX_FAILURES:
            raise error
        self._stopping.wait(0.02)

    def _finish(self) -> None:
        self.neutral()
        self._parts.journal.collect()
        if self.session.active:
            self._end_track(self.died or "the station stops")
        for order in self.orders.take():
            if isinstance(order, (StartOrder, StopOrder)):
                order.answer.set_exception(NoVideoError("the station is stopping"))
        self._parts.journal.collect()
        self._parts.journal.close()
        self._parts.feed.close()
