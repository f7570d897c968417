"""The slot between a thread that captures and the thread that tracks: newest wins."""

from __future__ import annotations

import threading
import time

from drone.errors import FrameTimeoutError
from drone.frame import Frame


class LatestFrame:
    """Holds at most one frame; a newer one replaces an unread one.

    One writer, one reader. The reader never sees a frame twice and never waits behind a
    backlog: a slow reader costs frames, not latency.
    """

    def __init__(self, name: str) -> None:
        """Make an empty slot; `name` appears in its errors."""
        self._name = name
        self._ready = threading.Condition()
        self._frame: Frame | None = None
        self._ended = False
        self._error: Exception | None = None
        self._dropped = 0
        self._last_put_s = time.monotonic()

    @property
    def dropped(self) -> int:
        """Frames that were replaced before anybody read them."""
        with self._ready:
            return self._dropped

    def put(self, frame: Frame) -> None:
        """Hand over a frame; never blocks. Ignored after `end`."""
        with self._ready:
            if self._ended:
                return
            if self._frame is not None:
                self._dropped += 1
            self._frame = frame
            self._last_put_s = time.monotonic()
            self._ready.notify()

    def end(self, error: Exception | None = None) -> None:
        """Say that no frame follows; the reader gets the unread frame, then None or `error`."""
        with self._ready:
            if not self._ended:
                self._ended = True
                self._error = error
            self._ready.notify_all()

    def take(self, timeout_s: float) -> Frame | None:
        """Wait for a frame not yet taken.

        Returns:
            the newest frame, or None after `end`.

        Raises:
            FrameTimeoutError: nothing came in `timeout_s`.
            Exception: the error given to `end`.
        """
        with self._ready:
            self._ready.wait_for(lambda: self._frame is not None or self._ended, timeout_s)
            if self._frame is not None:
                frame, self._frame = self._frame, None
                return frame
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
            silent_s = time.monotonic() - self._last_put_s
        raise FrameTimeoutError(
            f"{self._name}: no frame within {timeout_s:.2f} s (the last came {silent_s:.1f} s ago)"
        )
