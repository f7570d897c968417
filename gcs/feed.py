"""The video feed: reads the source, notices silence and opens it anew."""

from __future__ import annotations

import enum
import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from drone.errors import FrameTimeoutError, SourceError
from drone.frame import Frame
from drone.source import FrameSource

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 0.5
LAST_DELAY_S = 5.0
CLOSE_S = 0.5
OLDEST_INTERVALS = 2
"""A picture that lay unread for longer than this many intervals is shown, but not tracked."""
INTERVALS_KEPT = 15


class Video(enum.Enum):
    """What the operator is told about the picture."""

    CONNECTING = "CONNECTING"
    LIVE = "LIVE"
    STALLED = "STALLED"
    ENDED = "ENDED"


class Opening:
    """One attempt to open the source, in a thread of its own: a connect may take seconds."""

    def __init__(self, source: FrameSource, delay_s: float) -> None:
        self.error: str | None = None
        self.done = threading.Event()
        self._cancelled = threading.Event()
        self._source = source
        self._delay_s = delay_s
        threading.Thread(target=self._run, name="mlkd-open", daemon=True).start()

    def cancel(self) -> None:
        """Give up; a connect that is under way is closed when it returns."""
        self._cancelled.set()

    def _run(self) -> None:
        try:
            self._source.close()
            if self._cancelled.wait(self._delay_s):
                return
            self._source.open()
            if self._cancelled.is_set():
                self._source.close()
        except Exception as error:
            self.error = str(error) or type(error).__name__
        finally:
            self.done.set()


class Feed:
    """Delivers frames with numbers that never repeat. One reader: the loop."""

    def __init__(
        self,
        source: FrameSource,
        stall_s: float,
        reconnect_s: float,
        repeat: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Prepare; `open` starts it.

        Args:
            source: the feed opens and closes it.
            stall_s: silence after which the picture is stale.
            reconnect_s: silence after which the source is opened anew.
            repeat: open a file anew when it ends.
            clock: host's monotonic clock, ns.
        """
        self.source = source
        self.video = Video.CONNECTING
        self.message: str | None = None
        self.newest_ns: int | None = None
        self._stall_ns = int(stall_s * 1e9)
        self._reconnect_ns = int(reconnect_s * 1e9)
        self._repeat = repeat
        self._clock = clock
        self._opening: Opening | None = None
        self._heard_ns = clock()
        self._delay_s = FIRST_DELAY_S
        self._offset = 0
        self._renumber = False
        self._last_number = -1
        self._intervals_ns: deque[int] = deque(maxlen=INTERVALS_KEPT)

    def open(self) -> None:
        """Open the source now.

        Raises:
            SourceError: it cannot be opened.
        """
        self.source.open()
        self._heard_ns = self._clock()

    def reopen(self, reason: str, delay_s: float | None = None) -> None:
        """Open the source anew in the background.

        Args:
            reason: told to the operator.
            delay_s: wait before it; None waits longer after each failure (0.5 → 5 s).
        """
        if self._opening is not None:
            self._opening.cancel()
        self.video = Video.STALLED if self.newest_ns is not None else Video.CONNECTING
        self.message = reason
        self._renumber = True
        if delay_s is None:
            delay_s = self._delay_s
            self._delay_s = min(2 * delay_s, LAST_DELAY_S)
        self._opening = Opening(self.source, delay_s)

    def close(self) -> None:
        """Stop reading and free the source."""
        if self._opening is not None:
            self._opening.cancel()
        # A connection that hangs may take seconds to close; the stop does not wait for it.
        closing = threading.Thread(target=self.source.close, name="mlkd-close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for a new frame; None when nothing came, see `video` for why."""
        if self.video is Video.ENDED:
            time.sleep(timeout_s)
            return None
        if self._opening is not None and not self._opened(self._opening, timeout_s):
            return None
        try:
            frame = self.source.read(timeout_s)
        except FrameTimeoutError:
            self._judge_silence()
            return None
        except SourceError as error:
            self.reopen(str(error))
            return None
        if frame is None:
            self._end()
            return None
        return self._take(frame)

    def age_ms(self) -> float | None:
        """Age of the newest frame by its capture, None before the first."""
        return None if self.newest_ns is None else (self._clock() - self.newest_ns) / 1e6

    @property
    def name(self) -> str:
        """The source's name as text that any output can hold: a path may have other bytes."""
        return self.source.name.encode("utf-8", "backslashreplace").decode("utf-8")

    def outdated(self, frame: Frame) -> bool:
        """True for a frame of a live source that is here for longer than two usual intervals.

        Newest wins, so a frame can only grow so old while none follows it: the reader was held
        up and the video stands still. A box learnt from it would be of another time.
        """
        if not self.source.live or len(self._intervals_ns) < INTERVALS_KEPT:
            return False
        usual_ns = statistics.median(self._intervals_ns)
        # A picture that was long on its way did not lie here: its age counts in the supervisor.
        here_ns = frame.captured_ns if frame.arrived_ns is None else frame.arrived_ns
        return self._clock() - here_ns > OLDEST_INTERVALS * usual_ns

    def _opened(self, opening: Opening, timeout_s: float) -> bool:
        if not opening.done.wait(timeout_s):
            return False
        self._opening = None
        self._heard_ns = self._clock()
        if opening.error is not None:
            logger.warning("%s: %s", self.name, opening.error)
            self.reopen(opening.error)
            return False
        return True

    def _take(self, frame: Frame) -> Frame:
        if self._renumber:
            # Some sources count on after they were opened anew, others begin at 0 again.
            starts_over = frame.number <= self._last_number
            self._offset = self._last_number + 1 - frame.number if starts_over else 0
            self._renumber = False
        if self._offset:
            frame = replace(frame, number=frame.number + self._offset)
        now = self._clock()
        self._heard_ns = now
        self._last_number = frame.number
        if self.newest_ns is not None:
            self._intervals_ns.append(frame.captured_ns - self.newest_ns)
        self.newest_ns = frame.captured_ns
        self._delay_s = FIRST_DELAY_S
        # The capture counts, not the arrival: a backlogged link delivers stale frames on time.
        if now - frame.captured_ns > self._stall_ns:
            self.video = Video.STALLED
            self.message = "frames arrive late"
        else:
            self.video = Video.LIVE
            self.message = None
        return frame

    def _judge_silence(self) -> None:
        silent_ns = self._clock() - self._heard_ns
        if silent_ns > self._reconnect_ns:
            self.reopen(f"no frame for {silent_ns / 1e9:.1f} s; opening {self.name} anew")
        elif silent_ns > self._stall_ns and self.newest_ns is not None:
            self.video = Video.STALLED
            self.message = "no frame arrives"

    def _end(self) -> None:
        if self._repeat:
            self.reopen("starting the video anew", delay_s=0.0)
        else:
            self.video = Video.ENDED
            self.message = "the video has ended"
