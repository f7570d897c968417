"""Recent frames: a track begins on the frame that the operator saw, not on a later one."""

from __future__ import annotations

from collections import OrderedDict, deque

from drone.frame import Frame
from model.errors import MlkdError

DENSE_NS = 2_000_000_000
"""Every frame of the last two seconds is kept: a picture on a slow screen is still whole here."""

SPARSE_STEP_NS = 150_000_000
"""Older frames are thinned to one in this time: a target stays within the search region."""

MAX_HELD = 8
"""Frames that operators may hold at a time, while they draw."""


class FrameGoneError(MlkdError, LookupError):
    """The frame is not in the history; the message names what is."""


class History:
    """A ring of frames bounded by age and bytes. One thread.

    The newest two seconds are complete and older frames are thinned; a frame that was held (the
    operator has begun to draw on it) stays whole until it is too old.
    """

    def __init__(self, keep_ns: int, max_bytes: int, held_ns: int = 30_000_000_000) -> None:
        """Set the bounds.

        Args:
            keep_ns: age of the oldest frame kept.
            max_bytes: pixels kept, apart from held frames.
            held_ns: age at which a held frame goes.
        """
        self._keep_ns = keep_ns
        self._max_bytes = max_bytes
        self._held_ns = held_ns
        self._dense: deque[Frame] = deque()
        self._sparse: deque[Frame] = deque()
        self._held: OrderedDict[int, Frame] = OrderedDict()
        self._bytes = 0

    def add(self, frame: Frame) -> None:
        """Append the newest frame and let go of what is too old."""
        self._dense.append(frame)
        self._bytes += frame.image.nbytes
        now = frame.captured_ns
        while now - self._dense[0].captured_ns > DENSE_NS:
            self._thin(self._dense.popleft())
        while self._sparse and now - self._sparse[0].captured_ns > self._keep_ns:
            self._drop(self._sparse)
        while self._bytes > self._max_bytes and len(self._dense) + len(self._sparse) > 1:
            self._drop(self._sparse if self._sparse else self._dense)
        for number in [n for n, f in self._held.items() if now - f.captured_ns > self._held_ns]:
            del self._held[number]

    def _thin(self, frame: Frame) -> None:
        last = self._sparse[-1].captured_ns if self._sparse else None
        if last is not None and frame.captured_ns - last < SPARSE_STEP_NS:
            self._bytes -= frame.image.nbytes
        else:
            self._sparse.append(frame)

    def _drop(self, ring: deque[Frame]) -> None:
        self._bytes -= ring.popleft().image.nbytes

    def hold(self, number: int) -> bool:
        """Keep a frame while a box is drawn on it; tells whether it was still there."""
        frame = self._find(number)
        if frame is None:
            return False
        self._held[number] = frame
        while len(self._held) > MAX_HELD:
            self._held.popitem(last=False)
        return True

    def clear(self) -> None:
        """Forget everything, as when the source starts anew and its numbers repeat."""
        self._dense.clear()
        self._sparse.clear()
        self._held.clear()
        self._bytes = 0

    def newest(self) -> Frame | None:
        """The newest frame."""
        return self._dense[-1] if self._dense else None

    def since(self, number: int) -> list[Frame]:
        """Return a frame and the kept ones after it, oldest first.

        Raises:
            FrameGoneError: it is too old, or it never was.
        """
        first = self._find(number)
        if first is None:
            raise FrameGoneError(self._absence(number))
        later = [f for ring in (self._sparse, self._dense) for f in ring if f.number > number]
        return [first, *later]

    def _find(self, number: int) -> Frame | None:
        if number in self._held:
            return self._held[number]
        rings = (self._dense, self._sparse)
        return next((f for ring in rings for f in ring if f.number == number), None)

    def _absence(self, number: int) -> str:
        newest = self.newest()
        if newest is None:
            return f"frame {number} is not known: no frame has arrived yet"
        oldest = (self._sparse or self._dense)[0].number
        what = "has not come yet" if number > newest.number else "is gone"
        return f"frame {number} {what}: frames {oldest} to {newest.number} are at hand"

    def __len__(self) -> int:
        return len(self._dense) + len(self._sparse)


def thin_out(frames: list[Frame], limit: int) -> list[Frame]:
    """Pick at most `limit` frames, evenly spread, always with the last one."""
    if len(frames) <= limit:
        return frames
    step = len(frames) / limit
    return [frames[min(len(frames) - 1, round((i + 1) * step) - 1)] for i in range(limit)]
