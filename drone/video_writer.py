"""Frames to an H.264 file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drone.errors import SourceError
from drone.frame import Pixels

if TYPE_CHECKING:
    import av.container
    import av.video


class VideoWriter:
    """Writes H.264 into MP4 or MKV, as the file's name says; opened at the first frame."""

    def __init__(self, path: Path, fps: float, *, crf: int = 20) -> None:
        """Name the file.

        Args:
            path: ends in .mp4, .mkv or .mov.
            fps: frames per second.
            crf: quality of the encoder; lower is better and larger.

        Raises:
            SourceError: another ending, or the folder does not exist.
        """
        if path.suffix.lower() not in (".mp4", ".mkv", ".mov"):
            raise SourceError(f"{path}: cannot write this kind of video: expected .mp4 or .mkv")
        if not path.parent.is_dir():
            raise SourceError(f"{path}: its folder does not exist; create it first")
        self._path = path
        self._fps = fps
        self._crf = crf
        self._container: av.container.OutputContainer | None = None
        self._stream: av.video.VideoStream | None = None

    def write(self, image: Pixels) -> None:
        """Append a frame; odd sizes lose their last row or column."""
        import av

        height, width = image.shape[0] & ~1, image.shape[1] & ~1
        if self._container is None or self._stream is None:
            self._container = av.open(str(self._path), "w")
            rate = Fraction(self._fps).limit_denominator(1000)
            self._stream = self._container.add_stream("libx264", rate=rate)
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"preset": "veryfast", "crf": str(self._crf)}
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image[:height, :width]), format="bgr24"
        )
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file; nothing happens where no frame was written."""
        if self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        self._container = self._stream = None
