"""Requests from HTTP to the loop's thread, and its answers."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from gcs.schemas import Started, StartRequest, Stopped

MAX_WAITING = 32


class BusyError(RuntimeError):
    """Too many requests wait for the loop."""


class GivenUpError(RuntimeError):
    """A start that is no longer wanted: a stop came, or who asked was answered already."""


class Claim:
    """Settles between two threads what becomes of an order; the first one to take it decides."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False

    @property
    def taken(self) -> bool:
        """Whether it has been decided."""
        return self._taken

    def take(self) -> bool:
        """Decide; False where the other thread already has."""
        with self._lock:
            first, self._taken = not self._taken, True
        return first


@dataclass(frozen=True)
class StartOrder:
    """Start a track; the loop answers with the start or with why not.

    Attributes:
        claim: taken by the loop when the track begins, or by who asked when he waits no longer:
            a start that was refused never begins.
    """

    request: StartRequest
    answer: Future[Started] = field(default_factory=Future)
    claim: Claim = field(default_factory=Claim)


@dataclass(frozen=True)
class StopOrder:
    """Stop the track."""

    answer: Future[Stopped] = field(default_factory=Future)


@dataclass(frozen=True)
class HoldOrder:
    """Keep a frame while the operator draws on it."""

    frame_id: int


@dataclass(frozen=True)
class ReopenOrder:
    """Open the source anew, as to see a file again from its beginning."""


Order = StartOrder | StopOrder | HoldOrder | ReopenOrder


class Orders:
    """A short queue from many threads to the loop; nothing waits in it for long."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Order] = queue.Queue(MAX_WAITING)
        self._stops = 0
        self._lock = threading.Lock()

    @property
    def stops(self) -> int:
        """Stops handed over so far: a start that sees a new one gives up."""
        return self._stops

    def put(self, order: Order) -> None:
        """Hand an order over; thread-safe, never blocks.

        Raises:
            BusyError: too many wait already.
        """
        try:
            self._queue.put_nowait(order)
        except queue.Full:
            raise BusyError(f"{MAX_WAITING} requests are waiting for the loop") from None
        if isinstance(order, StopOrder):
            with self._lock:
                self._stops += 1

    def take(self) -> list[Order]:
        """Everything that waits, oldest first."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]
