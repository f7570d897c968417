"""Events: what happened, for the flight log and for the operator."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from gcs.recorder import Recorder
from gcs.schemas import Notice

logger = logging.getLogger(__name__)

KEPT = 200

QUIET = frozenset({"control"})
"""Kinds that would hide the others from the page; the status shows their content anyway."""


class Journal:
    """Numbers events, keeps the last ones and writes those of a flight to its log."""

    def __init__(self, recorder: Recorder, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.events: deque[Notice] = deque(maxlen=KEPT)
        self._recorder = recorder
        self._clock = clock
        self._count = 0
        self._newest: Notice | None = None
        self._posted: deque[tuple[str, str, int]] = deque()

    @property
    def newest(self) -> Notice | None:
        """The last event that is not quiet."""
        return self._newest

    def note(self, kind: str, message: str, **fields: Any) -> None:
        """Add an event; `fields` go to the flight log only. The loop's thread only."""
        self._add(self._clock(), kind, message, fields)

    def post(self, kind: str, message: str) -> None:
        """Leave an event for `collect`; from any thread, and no disk keeps it waiting."""
        self._posted.append((kind, message, self._clock()))

    def close(self) -> None:
        """Nothing more comes; the loop's thread only, as its last word."""
        self._recorder.close()

    def collect(self) -> None:
        """Add what was posted. The loop's thread only."""
        while self._posted:
            kind, message, posted_ns = self._posted.popleft()
            self._add(posted_ns, kind, message, {})

    def _add(self, now_ns: int, kind: str, message: str, fields: Mapping[str, Any]) -> None:
        self._count += 1
        notice = Notice(number=self._count, kind=kind, message=message)
        self.events.append(notice)
        if kind not in QUIET:
            self._newest = notice
        logger.info("%s: %s", kind, message)
        self._recorder.event({"monotonic_ns": now_ns, "kind": kind, "message": message, **fields})
