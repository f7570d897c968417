"""`mlkd bench-loop`: the whole ground-station loop, from a frame's capture to its publication."""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drone.errors import FrameTimeoutError
from drone.frame import Frame, Telemetry
from model.errors import InputError, MlkdError

if TYPE_CHECKING:
    from exporter.scene import Clip
    from gcs.station import Station

CLIP_FRAMES = 40
START_TIMEOUT_S = 10.0
HEALTHY = Telemetry(
    yaw_deg=0.0, gimbal_pitch_deg=-20.0, height_m=30.0, home_distance_m=5.0,
    battery_percent=90.0, link_quality=1.0, flying_state="hovering",
)  # fmt: skip
"""A vehicle that may be steered, so that the servo works."""
WARM_UP = 30
"""Frames of the track that are not counted."""


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = sub.add_parser(
        "bench-loop",
        help="measure the whole loop: frame, tracker, decision, flight log, publication",
        description="Run the ground station's own loop on 720p frames and read its flight log.",
    )
    add = parser.add_argument
    add("--model", type=Path, metavar="DIR", help="model folder (default: built in)")
    add("--engine", default="auto", help="engine, as of mlkd serve (default: auto)")
    add("--frames", type=int, default=300, help="frames measured (default: 300)")
    add("--fps", type=float, default=30.0, help="pace of the source; 0: as fast as they are taken")
    add("--view", action="store_true", help="encode each picture too, as for one viewer")
    add("--json", action="store_true", help="end with one line of JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from exporter.runtime.open import open_backend
    from exporter.scene import draw_clip

    if arguments.frames < 1 or not 0 <= arguments.fps <= 1000:
        raise InputError(
            f"--frames {arguments.frames}, --fps {arguments.fps:g}: expected 1 or more frames and "
            "0..1000 a second"
        )
    backend = open_backend(arguments.model, arguments.engine)
    source = ClipSource(draw_clip(CLIP_FRAMES), arguments.fps)
    with tempfile.TemporaryDirectory() as folder:
        station = make_station(source, backend, Path(folder))
        started_s = time.perf_counter()
        records = measure(station, source, arguments.frames, arguments.view)
        wall_s = time.perf_counter() - started_s
    report = summarise(records, wall_s, len(records))
    report |= {"engine": backend.name, "fps_asked": arguments.fps, "viewed": arguments.view}
    for line in table(report):
        print(line)
    if arguments.json:
        print(json.dumps(report))
    return 0


class ClipSource:
    """A live source of drawn frames that goes to and fro over a clip.

    Frames that nobody took in time are dropped, as a camera's are; with 0 frames a second the next
    one is there as soon as it is asked for.
    """

    live = True
    name = "bench"

    def __init__(self, clip: Clip, fps: float) -> None:
        """Prepare.

        Args:
            clip: frames and the target's box in each.
            fps: frames a second; 0 for no pace.
        """
        self.clip = clip
        self.dropped = 0
        self._period_ns = round(1e9 / fps) if fps else 0
        self._started_ns = 0
        self._number = -1

    def place(self, number: int) -> int:
        """Index in the clip of a frame's number, as 0 1 2 1 0 1."""
        last = len(self.clip.frames) - 1
        at = number % (2 * last)
        return min(at, 2 * last - at)

    def open(self) -> None:
        """Begin."""
        self._started_ns = time.monotonic_ns()

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for the next frame.

        Raises:
            FrameTimeoutError: the next one comes later than `timeout_s`.
        """
        now_ns = time.monotonic_ns()
        number, captured_ns = self._number + 1, now_ns
        if self._period_ns:
            newest = (now_ns - self._started_ns) // self._period_ns
            if newest <= self._number:
                due_ns = self._started_ns + number * self._period_ns
                if due_ns - now_ns > timeout_s * 1e9:
                    time.sleep(timeout_s)
                    raise FrameTimeoutError("bench: the next frame is not due yet")
                time.sleep(max(due_ns - now_ns, 0) / 1e9)
                newest = number
            self.dropped += newest - number
            number = newest
            captured_ns = self._started_ns + number * self._period_ns
        self._number = number
        image = self.clip.frames[self.place(number)]
        return Frame(number, image, captured_ns, telemetry=HEALTHY)

    def close(self) -> None:
        """Nothing to free."""


def make_station(source: ClipSource, backend: Any, folder: Path) -> Station:
    """A station around the clip that steers a vehicle which hears nothing."""
    from gcs.settings import Settings
    from gcs.station import assemble

    settings = Settings(flights_dir=folder)
    return assemble(settings, source, backend, control=Nobody())


class Nobody:
    """A vehicle that takes every command and does nothing, so that deciding is measured too."""

    expiry_s = 0.25

    def send(self, command: object) -> None:
        """Take a command."""

    def neutral(self) -> None:
        """Hover."""


def measure(station: Station, source: ClipSource, frames: int, view: bool) -> list[dict[str, Any]]:
    """Track `frames` frames and return their lines of the flight log.

    Raises:
        MlkdError: the loop died or gives no frames.
    """
    from gcs.flights import read_flight
    from gcs.requests import StartOrder, StopOrder
    from gcs.schemas import StartRequest
    from gcs.situation import ControlLevel

    source.open()
    station.start()
    try:
        _wait(station, lambda: station.hub.latest_picture)
        newest = station.hub.latest_picture
        number = (newest.status.frame_id if newest else None) or 0
        box = list(source.clip.boxes[source.place(number)])
        start = StartOrder(StartRequest.model_validate({"box": box, "frame_id": number}))
        station.order(start)
        start.answer.result(START_TIMEOUT_S)
        assert station.pilot is not None
        station.pilot.grant(ControlLevel.CAMERA)
        seen: int | None = None
        for _ in range(frames + WARM_UP):
            _wait(station, lambda last=seen: _number(station) != last)
            seen = _number(station)
            picture = station.hub.latest_picture
            if view and picture is not None:
                picture.jpeg()
        stop = StopOrder()
        station.order(stop)
        stop.answer.result(START_TIMEOUT_S)
    finally:
        station.stop()
    return read_flight(station.settings.flights_dir, "last").records[WARM_UP:]


def summarise(records: Sequence[dict[str, Any]], wall_s: float, frames: int) -> dict[str, Any]:
    """Percentiles, ms, of what the flight log tells of each frame."""
    if not records:
        raise MlkdError("the flight log holds no frame: expected one a tracked frame")
    tracked = [r for r in records if r["inferred_ns"] is not None]
    if not tracked:
        raise MlkdError("no frame was tracked: each lay unread for too long; is the machine busy?")
    captured, inferred, published = (
        np.array([r[key] for r in tracked], np.float64) / 1e6
        for key in ("captured_ns", "inferred_ns", "published_ns")
    )
    stages = {
        "update": np.array([r["update_ms"] for r in tracked], np.float64),
        "capture to answer": inferred - captured,
        "answer to publication": published - inferred,
        "capture to publication": published - captured,
    }
    report: dict[str, Any] = {
        name: {f"p{q}_ms": round(float(np.percentile(ms, q)), 3) for q in (50, 95, 99)}
        for name, ms in stages.items()
    }
    gaps_s = np.diff(published) / 1e3
    report["frames"] = frames
    report["untracked"] = len(records) - len(tracked)
    report["fps"] = round(float(1 / gaps_s.mean()), 1) if gaps_s.size else None
    report["dropped"] = sum(r["dropped"] for r in records)
    report["wall_s"] = round(wall_s, 2)
    return report


def table(report: dict[str, Any]) -> list[str]:
    """Lay the figures out for reading."""
    lines = [f"engine  {report['engine']}", f"{'':<24}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"]
    for name, value in report.items():
        if isinstance(value, dict):
            figures = "".join(f"{value[f'p{q}_ms']:9.2f}" for q in (50, 95, 99))
            lines.append(f"{name:<24}{figures}")
    lines.append(
        f"{report['frames']} frames, {report['fps']} a second, {report['dropped']} dropped by the "
        "source because the loop was busy"
    )
    return lines


def _number(station: Station) -> int | None:
    picture = station.hub.latest_picture
    return None if picture is None else picture.status.frame_id


def _wait(station: Station, reached: Any) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    for _ in itertools.count():
        if reached():
            return
        if not station.loop.alive or time.monotonic() > deadline_s:
            raise MlkdError(f"the loop gives no frames: {station.loop.died or 'it is stuck'}")
        time.sleep(0.0005)
