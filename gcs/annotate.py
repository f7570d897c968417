"""Annotated video: the box and the score burned into each frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import av.video.stream
import cv2
import numpy as np

from model.geometry import Box, Image

BOX_BGR = (80, 220, 80)
LOW_BGR = (60, 170, 255)
LOW_SCORE = 0.5


def draw_box(image: Image, box: Box, score: float | None) -> Image:
    """Return a copy of a BGR frame with the box and, where there is one, its score drawn in."""
    shown: Image = image.copy()
    colour = LOW_BGR if score is not None and score < LOW_SCORE else BOX_BGR
    x0, y0 = round(box.x), round(box.y)
    cv2.rectangle(shown, (x0, y0), (round(box.x + box.w), round(box.y + box.h)), colour, 2)
    if score is not None:
        place = (x0, max(14, y0 - 6))
        cv2.putText(shown, f"{score:.2f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1)
    return shown


class VideoWriter:
    """Writes H.264 in MP4; opened at the first frame, whose size it takes."""

    def __init__(self, path: Path, fps: float = 30.0) -> None:
        self._path = path
        self._fps = fps
        self._container: av.container.OutputContainer | None = None
        self._stream: av.video.stream.VideoStream | None = None

    def write(self, image: Image, box: Box, score: float | None) -> None:
        """Append one (H, W, 3) BGR frame; odd sizes lose their last row or column."""
        height, width = image.shape[0] & ~1, image.shape[1] & ~1
        if self._container is None or self._stream is None:
            self._container = av.open(str(self._path), "w", format="mp4")
            rate = Fraction(self._fps).limit_denominator(1000)
            self._stream = self._container.add_stream("libx264", rate=rate)
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"preset": "veryfast", "crf": "23"}
        shown = np.ascontiguousarray(draw_box(image, box, score)[:height, :width])
        frame = av.VideoFrame.from_ndarray(shown, format="bgr24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file; nothing happens where no frame was written."""
        if self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        self._container = self._stream = None
