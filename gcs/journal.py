"""Events: what happened, for the flight log and for the operator."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from gcs.recorder import Recorder
from gcs.schemas import Notice

logger = logging.getLogger(__name__)

KEPT = 200


class Journal:
    """Numbers events, keeps the last ones and writes those of a flight to its log."""

    def __init__(self, recorder: Recorder, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.events: deque[Notice] = deque(maxlen=KEPT)
        self._recorder = recorder
        self._clock = clock
        self._count = 0

    @property
    def newest(self) -> Notice | None:
        """The last event."""
        return self.events[-1] if self.events else None

    def note(self, kind: str, message: str, **fields: Any) -> None:
        """Add an event; `fields` go to the flight log only."""
        self._count += 1
        self.events.append(Notice(number=self._count, kind=kind, message=message))
        logger.info("%s: %s", kind, message)
        now = self._clock()
        self._recorder.event({"monotonic_ns": now, "kind": kind, "message": message, **fields})
