"""The parts of one running ground station."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection

from drone.control import StationVehicle, VehicleControl
from drone.source import FrameSource
from gcs.feed import Feed, Video
from gcs.follow import Follow
from gcs.history import History
from gcs.hub import Hub
from gcs.journal import Journal
from gcs.loop import Loop, LoopParts
from gcs.output import Identity, Look, Output
from gcs.pilot import Pilot
from gcs.problems import ProblemError
from gcs.recorder import Recorder
from gcs.requests import BusyError, ReopenOrder, StartOrder, StopOrder
from gcs.schemas import Health, LevelName, Started, Status, Stopped
from gcs.settings import Settings
from gcs.situation import ControlLevel
from model.backend import Backend
from model.tracker import Tracker

ANSWER_TIMEOUT_S = 5.0
"""A loop that does not answer within it is stuck; a start replays for about a second at most."""

STUCK_MS = 3000.0

LEVEL_NAMES: dict[ControlLevel, LevelName] = {
    ControlLevel.OFF: "OFF",
    ControlLevel.CAMERA: "CAMERA",
    ControlLevel.FOLLOW: "FOLLOW",
}

Result = TypeVar("Result")


@dataclass
class Station:
    """What the routes work with. Build it with `assemble`.

    Attributes:
        control: the vehicle itself, for moves by hand.
        pilot: the follow controller; None where the source cannot be commanded.
        vehicle: the vehicle where it has a connection of its own, to open and close.
    """

    settings: Settings
    backend: Backend
    feed: Feed
    hub: Hub
    journal: Journal
    loop: Loop
    output: Output
    control: VehicleControl | None = None
    clock: Callable[[], int] = time.monotonic_ns
    pilot: Pilot | None = None
    vehicle: StationVehicle | None = None

    def start(self) -> None:
        """Start the loop, and let the vehicle connect."""
        self.loop.start()
        if self.vehicle is not None:
            self.vehicle.open(
                lambda: self.take_over("stick"), lambda line: self.journal.post("vehicle", line)
            )

    def stop(self) -> None:
        """End the flight, the loop, the vehicle's commands and the engine."""
        self.loop.stop()
        if self.vehicle is not None:
            self.vehicle.close()
        if not self.loop.alive:
            self.backend.close()

    def calm(self) -> None:
        """Hover at once, from any thread; nothing is commanded before the target is proven anew."""
        if self.pilot is not None:
            self.pilot.reset()
        self.loop.neutral()

    def take_over(self, source: str) -> None:
        """Hover at once; the level of control falls to OFF."""
        if self.pilot is not None:
            self.pilot.override(source)
        self.loop.neutral()

    def connect(self) -> None:
        """Open a live source in the background; one that is absent is tried again later."""
        self.feed.reopen("connecting", delay_s=0.0)

    def order(self, order: StartOrder | StopOrder | ReopenOrder) -> None:
        """Hand an order to the loop.

        Raises:
            ProblemError: the loop is dead or flooded.
        """
        if not self.loop.alive:
            raise unavailable(f"the loop is not running: {self.loop.died or 'stopped'}")
        try:
            self.loop.orders.put(order)
        except BusyError as error:
            raise unavailable(str(error)) from None

    async def ask(self, order: StartOrder | StopOrder) -> Started | Stopped:
        """Hand an order to the loop and wait for its answer.

        A start that is refused here never begins; a stop stays ordered.

        Raises:
            ProblemError: the loop is dead, stuck or flooded.
            Exception: whatever the loop answered with.
        """
        self.order(order)
        answer: Future[Any] = order.answer
        waiting = asyncio.wrap_future(answer)
        late = f"the loop did not answer within {ANSWER_TIMEOUT_S:g} s"
        try:
            waited: Started | Stopped = await asyncio.wait_for(
                asyncio.shield(waiting), ANSWER_TIMEOUT_S
            )
        except (asyncio.TimeoutError, TimeoutError):
            if isinstance(order, StopOrder):
                raise unavailable(f"{late}; the track stops as soon as it does") from None
            if order.claim.take():
                raise unavailable(f"{late}; nothing was started") from None
            waited = await waiting  # it began just now
        return waited

    def status(self) -> Status:
        """The newest state with the newest picture's number and its age as of now."""
        latest, picture = self.hub.latest, self.hub.latest_picture
        if latest is None:
            early = Status(source=self.feed.name, engine=self.backend.name)
            return self.stamped(early)
        status = latest.status
        if status.frame_id is None and picture is not None:
            known = picture.status
            seen = {"frame_id": known.frame_id, "captured_ns": known.captured_ns}
            status = status.model_copy(update=seen)
        return self.stamped(status)

    def stamped(self, status: Status) -> Status:
        """Copy a status with the age and the level of control as of now."""
        age_ms = self.feed.age_ms()
        if status.captured_ns is not None:
            age_ms = round((self.clock() - status.captured_ns) / 1e6, 2)
        return status.model_copy(update={"age_ms": age_ms, **self._control_state()})

    def _control_state(self) -> dict[str, object]:
        if self.pilot is None:
            return {}
        state = self.pilot.status
        return {
            "control": LEVEL_NAMES[state.level],
            "control_confirmed": state.confirmed,
            "control_reason": None if state.verdict is None else state.verdict.reason,
        }

    def health(self) -> Health:
        """Which parts live, and why one does not."""
        beat_ms = (self.clock() - self.loop.beat_ns) / 1e6
        problems = []
        loop = "running"
        if not self.loop.alive:
            loop = "dead"
            problems.append(f"the loop is not running: {self.loop.died or 'stopped'}")
        elif beat_ms > STUCK_MS:
            loop = "stuck"
            problems.append(f"the loop has not turned for {beat_ms / 1e3:.1f} s")
        if self.feed.video is not Video.LIVE:
            message = self.feed.message or "no frame yet"
            problems.append(f"video {self.feed.video.value.lower()}: {message}")
        if self.loop.refusing:
            problems.append("the engine does not answer")
        if self.output.log_error:
            problems.append(self.output.log_error)
        return Health(
            healthy=not problems,
            loop=loop,
            source=f"{self.feed.name}: {self.feed.video.value}",
            engine=self.backend.name,
            loop_beat_ms=round(beat_ms, 1),
            problems=problems,
        )


def unavailable(detail: str) -> ProblemError:
    """The refusal of a station that cannot work now."""
    return ProblemError(503, "Station unavailable", detail, mend="see /health")


def assemble(
    settings: Settings,
    source: FrameSource,
    backend: Backend,
    *,
    control: VehicleControl | None = None,
    follow: Follow | None = None,
    manifest: Mapping[str, Any] | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Station:
    """Put a station together around a source and an engine.

    Args:
        settings: bounds and folders.
        source: the feed opens and closes it.
        backend: the station closes it.
        control: moves the camera by hand, and by the follow controller.
        follow: steers in the place of the station's own follow controller, which every station
            with a control has; its level is OFF at first.
        manifest: keys for every flight's manifest, as engine_sha256.
        clock: host's monotonic clock, ns.
    """
    tracker = Tracker(backend)
    feed = Feed(source, settings.stall_s, settings.reconnect_s, settings.repeat, clock)
    hub = Hub(settings.max_viewers)
    recorder = Recorder(settings.flights_dir)
    journal = Journal(recorder, clock)
    confidence = settings.confidence_config
    identity = Identity(
        engine=backend.name,
        manifest={
            "engine_sha256": None,
            **(manifest or {}),
            "tracker_config": dataclasses.asdict(tracker.config),
            "confidence_config": dataclasses.asdict(confidence),
        },
        camera=control is not None,
        thresholds=(confidence.lost_score, confidence.low_score),
    )
    look = Look(settings.stream_width_px, settings.jpeg_quality)
    output = Output(hub, recorder, journal, feed, identity, look, clock)
    history = History(int(settings.history_s * 1e9), settings.history_mb * 1024 * 1024)
    pilot = None
    commanded = control
    if control is not None and follow is None:
        limits = settings.follow_config
        follow = pilot = Pilot(control, limits, confidence, note=journal.post, clock=clock)
        commanded = pilot.gate
    parts = LoopParts(
        feed, tracker, confidence, history, output, journal, commanded, follow, clock=clock
    )
    loop = Loop(parts)
    return Station(settings, backend, feed, hub, journal, loop, output, control, clock, pilot)


def station_of(connection: HTTPConnection) -> Station:
    """The station that serves this connection."""
    station = connection.app.state.station
    assert isinstance(station, Station)
    return station


CurrentStation = Annotated[Station, Depends(station_of)]
