"""Requests from HTTP to the loop's thread, and its answers."""

from __future__ import annotations

import queue
from concurrent.futures import Future
from dataclasses import dataclass, field

from gcs.schemas import Started, StartRequest, Stopped

MAX_WAITING = 32


class BusyError(RuntimeError):
    """Too many requests wait for the loop."""


@dataclass(frozen=True)
class StartOrder:
    """Start a track; the loop answers with the start or with why not."""

    request: StartRequest
    answer: Future[Started] = field(default_factory=Future)


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

    def put(self, order: Order) -> None:
        """Hand an order over; thread-safe, never blocks.

        Raises:
            BusyError: too many wait already.
        """
        try:
            self._queue.put_nowait(order)
        except queue.Full:
            raise BusyError(f"{MAX_WAITING} requests are waiting for the loop") from None

    def take(self) -> list[Order]:
        """Everything that waits, oldest first."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]
