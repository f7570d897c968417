"""From one step of the loop to the page, the flight log and the figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from drone.frame import Frame
from gcs.feed import Feed
from gcs.follow import Decision
from gcs.hub import Hub, Publication
from gcs.journal import Journal
from gcs.rate import Rate
from gcs.recorder import Recorder
from gcs.schemas import Latency, Status, Truth
from gcs.session import Phase
from gcs.target import Answer
from gcs.truth import TruthError, measure
from model.geometry import Box

QUIET_NS = 200_000_000
"""Without frames the state is still published this often."""


@dataclass
class Step:
    """What one pass of the loop found out.

    Attributes:
        frame: the frame processed; None when none came.
        answer: what it said of the target; None when nothing is tracked.
        phase: the session's state after it.
        truth: annotated target that the flight is measured against.
        decision: what the follow controller wanted.
        held: why its command did not go out; None where it did, or there is none.
        update_ns: begin and end of the tracker's update, host's monotonic clock.
    """

    frame: Frame | None
    answer: Answer | None
    phase: Phase
    truth: str | None
    decision: Decision | None = None
    held: str | None = None
    update_ns: tuple[int, int] | None = None

    @property
    def update_ms(self) -> float | None:
        """Duration of the update."""
        if self.update_ns is None:
            return None
        return (self.update_ns[1] - self.update_ns[0]) / 1e6


@dataclass(frozen=True)
class Look:
    """How pictures are published."""

    width_px: int = 1280
    quality: int = 80


@dataclass(frozen=True)
class Identity:
    """What does not change while the station runs.

    Attributes:
        engine: name of the engine.
        manifest: keys of every flight's manifest: engine_sha256, tracker_config.
        camera: the camera can be moved by hand.
        thresholds: scores below which an answer is a miss, and LOW.
    """

    engine: str
    manifest: Mapping[str, Any] = field(default_factory=dict)
    camera: bool = False
    thresholds: tuple[float, float] | None = None


class Output:
    """Publishes and records the loop's steps. One thread: the loop's."""

    def __init__(
        self,
        hub: Hub,
        recorder: Recorder,
        journal: Journal,
        feed: Feed,
        identity: Identity,
        look: Look | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.refused = 0
        self.dropped = 0
        self._hub = hub
        self._recorder = recorder
        self._journal = journal
        self._feed = feed
        self._identity = identity
        self._look = look or Look()
        self._clock = clock
        self._sequence = 0
        self._published_ns = 0
        self._last_number: int | None = None
        self._skipped = 0
        self._received_ns = 0
        self._source_rate = Rate()
        self._track_rate = Rate()
        self._size: list[int] | None = None

    @property
    def flight_id(self) -> str | None:
        """The flight being written."""
        return self._recorder.flight_id

    @property
    def log_error(self) -> str | None:
        """Why the flight is not written."""
        return self._recorder.error

    def received(self, frame: Frame) -> None:
        """Count a frame and the ones that it replaced."""
        self._received_ns = self._clock()
        last = self._last_number
        self._skipped = 0 if last is None else max(0, frame.number - last - 1)
        self.dropped += self._skipped
        self._last_number = frame.number
        self._source_rate.tick(self._received_ns)
        height, width = frame.image.shape[:2]
        self._size = [width, height]

    def begin_flight(self, frame: Frame, box: Box, truth: str | None) -> str | None:
        """Open the flight log; returns the flight's name, None when it cannot be written."""
        height, width = frame.image.shape[:2]
        manifest = {
            "source": self._feed.name,
            "engine": self._identity.engine,
            **self._identity.manifest,
            "frame_size": [width, height],
            "first_frame_id": frame.number,
            "first_box": list(box),
            "truth_target": truth,
        }
        self._track_rate.clear()
        return self._recorder.begin(manifest, self._clock())

    def end_flight(self) -> None:
        """Close the flight log."""
        self._recorder.end()
        self._track_rate.clear()

    def publish(self, step: Step) -> None:
        """Hand a step to the viewers and write it to the flight log."""
        now = self._clock()
        if step.frame is None and now - self._published_ns < QUIET_NS:
            return
        if step.update_ns is not None:
            self._track_rate.tick(step.update_ns[1])
        answer = step.answer.box if step.answer and step.phase is Phase.TRACKING else None
        error = TruthError()
        if step.frame is not None:
            error = measure(answer, step.frame.truth, step.truth)
        self._published_ns = now
        self._sequence += 1
        had_log = self._recorder.recording
        if step.frame is not None and step.phase is not Phase.IDLE and step.answer is not None:
            self._recorder.record(self._line(step, step.frame, step.answer, error))
        if had_log and not self._recorder.recording:
            self._journal.note("log_failed", self._recorder.error or "the flight log failed")
        status = self._status(step, error)
        image = None if step.frame is None else step.frame.image
        self._hub.publish(Publication(status, image, self._look.width_px, self._look.quality))

    def _line(self, step: Step, frame: Frame, answer: Answer, error: TruthError) -> dict[str, Any]:
        decision = step.decision
        command = decision.command if decision else None
        return {
            "frame_id": frame.number,
            "captured_ns": frame.captured_ns,
            "inferred_ns": step.update_ns[1] if step.update_ns else None,
            "published_ns": self._published_ns,
            "box": list(answer.box) if step.phase is Phase.TRACKING else None,
            "score": answer.score,
            "state": step.phase.value,
            "level": answer.level.value,
            "truth": list(error.box) if error.box else None,
            "cle_px": error.cle_px,
            "iou": error.iou,
            "update_ms": step.update_ms,
            "dropped": self._skipped,
            "command": asdict(command) if command else None,
            "reason": decision.reason if decision else answer.refused,
            "held": step.held,
        }

    def _status(self, step: Step, error: TruthError) -> Status:
        frame, answer, feed = step.frame, step.answer, self._feed
        now = self._clock()
        status = Status(
            sequence=self._sequence,
            age_ms=feed.age_ms(),
            size=self._size,
            state=step.phase.value,
            video=feed.video.value,
            video_message=feed.message,
            track_fps=round(self._track_rate.per_second(now), 1),
            source_fps=round(self._source_rate.per_second(now), 1),
            dropped=self.dropped,
            refused=self.refused,
            recording=self._recorder.flight_id if self._recorder.recording else None,
            log_error=self._recorder.error,
            source=feed.name,
            engine=self._identity.engine,
            camera=self._identity.camera,
            thresholds=self._identity.thresholds,
            notice=self._journal.newest,
        )
        if answer is not None:
            status.level = answer.level.value
            status.box = [round(v, 2) for v in answer.box]
            status.score = None if answer.score is None else round(answer.score, 4)
        if frame is not None:
            self._describe_frame(status, frame, step)
        if step.truth is not None:
            known = None if error.box is None else list(error.box)
            status.truth = Truth(target=step.truth, box=known, cle_px=error.cle_px, iou=error.iou)
        return status

    def _describe_frame(self, status: Status, frame: Frame, step: Step) -> None:
        status.frame_id = frame.number
        status.captured_ns = frame.captured_ns
        status.latency = Latency(
            receive_ms=(self._received_ns - frame.captured_ns) / 1e6,
            update_ms=step.update_ms,
            publish_ms=(self._published_ns - frame.captured_ns) / 1e6,
        )
        telemetry = frame.telemetry
        status.yaw_deg = telemetry.yaw_deg
        status.gimbal_pitch_deg = telemetry.gimbal_pitch_deg
        status.height_m = telemetry.height_m
        status.battery_percent = telemetry.battery_percent
        status.link_quality = telemetry.link_quality
