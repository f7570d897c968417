"""Something that is looked at again and again, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

WATCH_S = 0.05


class Watch:
    """Calls a function every `WATCH_S` in a thread of its own until it is ended."""

    def __init__(self, look: Callable[[], None], name: str) -> None:
        """Start looking."""
        self._look = look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(WATCH_S):
            self._try()

    def _try(self) -> None:
        try:
            self._look()
        except Exception:
            logger.exception("%s: goes on", self._thread.name)

    def wait(self, pause_s: float) -> bool:
        """Pause within `look`; True when it is to end."""
        return self._stop.wait(pause_s)

    def end(self, timeout_s: float) -> None:
        """Stop looking; waits for a look that is under way."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
