"""Fan-out: the newest publication for every viewer, however slow; the loop never waits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from gcs.schemas import Status
from model.geometry import Image

BOX_COLOUR = {"TRACKING": (120, 230, 60), "LOST": (70, 70, 245)}
"""BGR."""


class HubClosedError(Exception):
    """The station stops; viewers end."""


class ViewersFullError(Exception):
    """Every seat is taken."""


class Publication:
    """One result with its picture; the JPEG is made once, by the first viewer that wants it."""

    def __init__(self, status: Status, image: Image | None, width_px: int, quality: int) -> None:
        self.status = status
        self.encode_ms: float | None = None
        self._image = image
        self._width_px = width_px
        self._quality = quality
        self._lock = threading.Lock()
        self._plain: bytes | None = None
        self._marked: bytes | None = None

    @property
    def has_picture(self) -> bool:
        """False for news without a frame, as that the video has stalled."""
        return self._image is not None

    def jpeg(self) -> bytes:
        """The picture as the camera saw it; thread-safe, encoded once."""
        assert self._image is not None
        with self._lock:
            if self._plain is None:
                began = time.perf_counter()
                self._plain = encode_jpeg(fit_width(self._image, self._width_px), self._quality)
                self.encode_ms = (time.perf_counter() - began) * 1e3
            return self._plain

    def marked_jpeg(self) -> bytes:
        """The picture with the box burned in, for players that know no header."""
        assert self._image is not None
        with self._lock:
            if self._marked is None:
                small = fit_width(self._image, self._width_px)
                scale = small.shape[1] / self._image.shape[1]
                self._marked = encode_jpeg(draw_box(small, self.status, scale), self._quality)
            return self._marked


class Hub:
    """Hands the newest publication to viewers in the event loop. One publishing thread."""

    def __init__(self, max_viewers: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Prepare; `attach` connects it to the event loop that serves."""
        self.max_viewers = max_viewers
        self.viewers = 0
        self.latest: Publication | None = None
        self.latest_picture: Publication | None = None
        self.clock = clock
        self._serving: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def attach(self, serving: asyncio.AbstractEventLoop) -> None:
        """Wake viewers in this event loop from now on."""
        self._serving = serving
        self._closed = False

    def publish(self, publication: Publication) -> None:
        """Replace the newest publication; thread-safe, never blocks."""
        self.latest = publication
        if publication.has_picture:
            self.latest_picture = publication
        if self._serving is not None:
            # The event loop may have closed between the test and the call, at the end.
            with contextlib.suppress(RuntimeError):
                self._serving.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """End every viewer; call it in the event loop."""
        self._closed = True
        self._serving = None
        self._wake()

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    @contextlib.contextmanager
    def seat(self) -> Iterator[None]:
        """Take a viewer's seat while in the block; in the event loop.

        Raises:
            ViewersFullError: none is free.
        """
        if self.viewers >= self.max_viewers:
            raise ViewersFullError(f"{self.viewers} of {self.max_viewers} viewers are watching")
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1

    async def newer_than(self, sequence: int) -> Publication:
        """Wait for a publication after number `sequence`; always the newest one.

        Raises:
            HubClosedError: the station stops.
        """
        while True:
            if self._closed:
                raise HubClosedError
            if self.latest is not None and self.latest.status.sequence > sequence:
                return self.latest
            future = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)


class Pace:
    """Holds a viewer to a frame rate without beating against the source's own."""

    def __init__(self, fps: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = 1.0 / fps
        self._clock = clock
        self._due_s = clock()

    def delay_s(self) -> float:
        """Time to wait before the next message; books that message."""
        now = self._clock()
        # Half a period of credit: a frame that comes a little early is not put off to the next.
        delay = max(0.0, self._due_s - 0.5 * self._period_s - now)
        self._due_s = max(self._due_s + self._period_s, now + delay)
        return delay


def fit_width(image: Image, width_px: int) -> Image:
    """Scale an image down to a width; one that is narrower stays as it is."""
    height, width = image.shape[:2]
    if width <= width_px:
        return image
    size = (width_px, max(1, round(height * width_px / width)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(image: Image, quality: int) -> bytes:
    """Encode BGR uint8 as JPEG."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def draw_box(image: Image, status: Status, scale: float) -> Image:
    """Return a copy with the box and the state drawn on it."""
    canvas = np.array(image, np.uint8)
    colour = BOX_COLOUR.get(status.state, (200, 200, 200))
    if status.box is not None:
        x, y, w, h = (round(v * scale) for v in status.box)
        cv2.rectangle(canvas, (x, y), (x + w, y + h), colour, 2)
    score = "" if status.score is None else f" {status.score:.2f}"
    at = (12, 28)
    for ink, thick in (((0, 0, 0), 4), (colour, 1)):
        cv2.putText(canvas, status.state + score, at, cv2.FONT_HERSHEY_SIMPLEX, 0.7, ink, thick)
    return canvas
