"""The flight log: one folder a flight, whole after a kill, never in the way of the flight."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

VERSION = 1
STATION_FILE = "station.jsonl"
"""In the folder of flights: what happened between them, of all starts of the station."""
STATION_BYTES = 4 * 1024 * 1024
"""At this size the file takes the name `station.1.jsonl`, and the one of that name goes."""


class LogFile:
    """Appends JSON lines with one system call each, so a killed process loses none of them."""

    def __init__(self, path: Path, new: bool = True) -> None:
        """Create the file, or go on in one where `new` is not set.

        Raises:
            OSError: it cannot be created, or is there and should be new.
        """
        exclusive = os.O_EXCL if new else 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | exclusive, 0o644)
        self._size = os.fstat(self._fd).st_size

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._size

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line.

        Raises:
            OSError: the disk is full or gone; the file still ends with a whole line.
        """
        line = encode_line(record)
        written = os.write(self._fd, line)
        if written < len(line):
            os.ftruncate(self._fd, self._size)
            raise OSError(28, "No space left on device")
        self._size += written

    def close(self) -> None:
        """Close the file; calling it twice is allowed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Recorder:
    """Writes the flights of one station. Called from the loop's thread only.

    A disk that fails ends the log of that flight, not the flight: `error` says why.
    """

    def __init__(self, flights_dir: Path) -> None:
        """Remember where flights go; nothing is created before the first one."""
        self.flights_dir = flights_dir
        self.flight_id: str | None = None
        self.error: str | None = None
        self.lines = 0
        self._folder: Path | None = None
        self._manifest: dict[str, Any] = {}
        self._track: LogFile | None = None
        self._events: LogFile | None = None
        self._between: LogFile | None = None
        self._between_failed = False

    @property
    def recording(self) -> bool:
        """True while a flight is being written."""
        return self._track is not None

    def begin(self, manifest: Mapping[str, Any], monotonic_ns: int) -> str | None:
        """Open a flight.

        Args:
            manifest: source, engine, configuration and frame size, added to the flight's own keys.
            monotonic_ns: host's monotonic clock now; ties the log's times to the wall clock.

        Returns:
            the flight's name, or None when it cannot be written (see `error`).
        """
        self.error = None
        self.lines = 0
        now = datetime.now(timezone.utc)
        try:
            folder = create_folder(self.flights_dir, now)
            wall = now.isoformat(timespec="milliseconds")
            clock = {"monotonic_ns": monotonic_ns, "wall": wall}
            own = {"flight_id": folder.name, "version": VERSION, "started_at": wall}
            self._manifest = {**own, **manifest, "clock": clock}
            self._folder = folder
            write_json(folder / "manifest.json", self._manifest)
            self._track = LogFile(folder / "track.jsonl")
            self._events = LogFile(folder / "events.jsonl")
        except OSError as error:
            self._fail(error)
            return None
        self.flight_id = folder.name
        return self.flight_id

    def record(self, line: Mapping[str, Any]) -> None:
        """Append the result of one frame."""
        if self._track is None:
            return
        try:
            self._track.append(line)
            self.lines += 1
        except OSError as error:
            self._fail(error)

    def event(self, event: Mapping[str, Any]) -> None:
        """Append an event to the flight's log, or to the station's where no flight is written."""
        if self._events is None:
            self._event_between(event)
            return
        try:
            self._events.append(event)
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Close the station's file; the next event opens it again."""
        if self._between is not None:
            self._between.close()
            self._between = None

    def _event_between(self, event: Mapping[str, Any]) -> None:
        wall = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        try:
            if self._between is None:
                self.flights_dir.mkdir(parents=True, exist_ok=True)
                self._between = LogFile(self.flights_dir / STATION_FILE, new=False)
            if self._between.size > STATION_BYTES:
                self.close()
                older = self.flights_dir / f"{Path(STATION_FILE).stem}.1.jsonl"
                (self.flights_dir / STATION_FILE).replace(older)
                self._between = LogFile(self.flights_dir / STATION_FILE, new=False)
            self._between.append({"wall": wall, **event})
            self._between_failed = False
        except OSError as error:
            if not self._between_failed:
                where = self.flights_dir / STATION_FILE
                logger.warning("events are not logged: %s: %s", where, error.strerror or error)
            self._between_failed = True

    def end(self) -> str | None:
        """Close the flight; returns its name where one was written."""
        flight_id = self.flight_id
        if self._track is not None and self._folder is not None:
            ended = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            self._manifest.update(ended_at=ended, lines=self.lines)
            try:
                write_json(self._folder / "manifest.json", self._manifest)
            except OSError as error:
                self._fail(error)
        self._close()
        self.flight_id = None
        return flight_id

    def _fail(self, error: OSError) -> None:
        where = self._folder or self.flights_dir
        self.error = f"the flight is not logged: {where}: {error.strerror or error}"
        self._close()

    def _close(self) -> None:
        for file in (self._track, self._events):
            if file is not None:
                file.close()
        self._track = self._events = None


def create_folder(flights_dir: Path, now: datetime) -> Path:
    """Make the folder of a new flight, named by the UTC time of its start.

    Raises:
        OSError: it cannot be made.
    """
    flights_dir.mkdir(parents=True, exist_ok=True)
    stem = now.strftime("%Y%m%dT%H%M%S") + f"{now.microsecond // 1000:03d}Z"
    for attempt in range(100):
        folder = flights_dir / (stem if attempt == 0 else f"{stem}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(17, "too many flights of one name", str(flights_dir / stem))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file as a whole: readers see the old one or the new one.

    Raises:
        OSError: the disk is full or gone; an old file stays as it was.
    """
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(json.dumps(values, indent=2, allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def encode_line(record: Mapping[str, Any]) -> bytes:
    """One JSON line; values that are not finite become null, for they are no JSON."""
    try:
        text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(record), separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
