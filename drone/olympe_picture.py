"""A decoded picture of the SDK: the slot that holds the newest one, and its way to BGR."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from drone.errors import SourceError
from drone.frame import Pixels
from drone.olympe_sdk import SdkFrame

_LEVELS = np.arange(256, dtype=np.float32)
# OpenCV reads luma 16..235: a full-range night picture would lose its darkest 16 levels.
_LUMA = np.round(16 + _LEVELS * 219 / 255).astype(np.uint8)
_CHROMA = np.round(128 + (_LEVELS - 128) * 224 / 255).astype(np.uint8)


@dataclass(frozen=True)
class RawPicture:
    """A picture that is referenced: whoever holds it must unref it, once.

    Attributes:
        frame: in the SDK's memory.
        number: counts every picture that arrived.
        arrived_ns: the host's monotonic clock in the SDK's callback.
    """

    frame: SdkFrame
    number: int
    arrived_ns: int


class RawSlot:
    """Holds at most one picture of one playing session; a newer one replaces an unread one.

    `put` runs in the SDK's thread and does nothing but ref, swap and unref. `use` runs in the
    reader's. `close` waits for a reader that is using one, so that no picture outlives its
    session.
    """

    def __init__(self, first_number: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Number the pictures from `first_number`."""
        self._clock = clock
        self._ready = threading.Condition()
        self._using = threading.Lock()
        self._held: RawPicture | None = None
        self._closed = False
        self.next_number = first_number
        self.opened_ns = clock()
        self.newest_ns: int | None = None
        self.dropped = 0
        self.refs = 0
        self.unrefs = 0

    def put(self, frame: SdkFrame) -> None:
        """Take a picture; never waits for the reader."""
        arrived_ns = self._clock()
        with self._ready:
            if self._closed:
                return
            frame.ref()
            self.refs += 1
            replaced = self._held
            self._held = RawPicture(frame, self.next_number, arrived_ns)
            self.next_number += 1
            self.newest_ns = arrived_ns
            self._ready.notify()
            if replaced is not None:
                self.dropped += 1
                self._unref(replaced)

    def flush(self) -> None:
        """Give back an unread picture."""
        with self._ready:
            self._drop()

    def close(self) -> None:
        """Give everything back and take nothing more."""
        with self._ready:
            self._closed = True
            self._drop()
            self._ready.notify_all()
        with self._using:
            pass

    def use(self, wait_s: float, convert: Callable[[RawPicture, RawSlot], Any]) -> Any:
        """Wait for a picture, convert it, give it back.

        Returns:
            what `convert` returned; None when nothing came, or the slot was closed.
        """
        with self._ready:
            self._ready.wait_for(lambda: self._held is not None or self._closed, wait_s)
            picture, self._held = self._held, None
            if picture is None:
                return None
            self._using.acquire()
        try:
            return convert(picture, self)
        finally:
            with self._ready:
                self._unref(picture)
            self._using.release()

    def _drop(self) -> None:
        picture, self._held = self._held, None
        if picture is not None:
            self.dropped += 1
            self._unref(picture)

    def _unref(self, picture: RawPicture) -> None:
        picture.frame.unref()
        self.unrefs += 1


def bgr_of_yuv(yuv: npt.NDArray[np.uint8], *, nv12: bool, full_range: bool) -> Pixels:
    """Convert a picture to BGR, into memory of its own.

    Args:
        yuv: (1.5 H, W) uint8, I420 or NV12.
        nv12: chroma interleaved.
        full_range: luma 0..255 instead of 16..235.

    Raises:
        SourceError: not such an array.
    """
    if yuv.ndim != 2 or yuv.shape[0] % 3 or yuv.shape[1] % 2:
        raise SourceError(f"picture of shape {yuv.shape}: expected (1.5 H, W) I420 or NV12")
    if full_range:
        height = yuv.shape[0] * 2 // 3
        yuv = np.vstack((cv2.LUT(yuv[:height], _LUMA), cv2.LUT(yuv[height:], _CHROMA)))
    code = cv2.COLOR_YUV2BGR_NV12 if nv12 else cv2.COLOR_YUV2BGR_I420
    return np.asarray(cv2.cvtColor(yuv, code), np.uint8)


def bgr_of_frame(frame: SdkFrame, info: Mapping[str, Any]) -> Pixels:
    """Convert a referenced picture of the SDK.

    Raises:
        SourceError: it has no pixels, or an unknown layout.
    """
    yuv = frame.as_ndarray()
    if yuv is None:
        raise SourceError("the SDK gave a picture without pixels")
    raw = info["raw"]["frame"]
    layout = str(raw["format"]).upper()
    if "YUV420" not in layout:
        raise SourceError(f"picture layout {layout}: expected YUV420, planar or semi-planar")
    return bgr_of_yuv(
        yuv, nv12="SEMI" in layout or "NV12" in layout, full_range=bool(raw["info"]["full_range"])
    )


def source_time_ns(info: Mapping[str, Any]) -> int | None:
    """The drone's capture time where it gives one, else the stream's own time."""
    for key in ("capture_timestamp", "ntp_raw_timestamp"):
        time_us = int(info.get(key) or 0)
        if time_us:
            return time_us * 1000
    return None
