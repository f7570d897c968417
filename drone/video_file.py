"""A video file as a source: every frame in order, or paced by its own clock as if live."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from drone.decoding import CPU, open_options
from drone.errors import FrameTimeoutError, SourceError
from drone.frame import Frame, Pixels, TruthBox
from drone.truth_file import truth_beside, truth_of

if TYPE_CHECKING:
    import av
    import av.container
    import av.video

_log = logging.getLogger(__name__)

# Only formats that hold pictures themselves. Play lists and scripts (hls, concat, sdp …) could
# make the decoder open other files or hosts; text would be drawn by the tty demuxer.
CONTAINER_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,h264,hevc,m4v,mjpeg,"
    "ogg,asf,gif,ivf,obu,av1,yuv4mpegpipe,nut,mxf,apng,wtv,dv,rm,vob"
)
_ROTATIONS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}
_DEFAULT_FPS = 25.0


class VideoFileSource:
    """Delivers the frames of a video file, decoded with FFmpeg in the reader's thread.

    A `groundtruth.txt` beside the file, one x,y,w,h line a frame, becomes the truth of "target".
    `source_ns` is the presentation time since the first frame. A damaged or truncated file
    delivers what can be decoded, then ends with a warning in the log.
    """

    def __init__(self, path: Path, *, realtime: bool = False, decoder: str = CPU) -> None:
        """Name the file; nothing is read before `open`.

        Args:
            path: any container that FFmpeg reads and that holds a video stream.
            realtime: pace the frames by their presentation times and drop those the reader is
                too late for, as a camera does.
            decoder: as `drone.decoding.choose_decoder` gives it.
        """
        self._path = path
        self._realtime = realtime
        self._decoder = decoder
        self._container: av.container.InputContainer | None = None
        self._frames: Iterator[tuple[Pixels, int]] = iter(())
        self._ahead: tuple[Pixels, int] | None = None
        self._truth: list[TruthBox | None] = []
        self._number = 0
        self._start_ns: int | None = None
        self._damaged = 0
        self.fps = _DEFAULT_FPS
        self.frame_count = 0
        self._enough = 0

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    @property
    def live(self) -> bool:
        """True when paced in real time."""
        return self._realtime

    def open(self) -> None:
        """Open the file and decode its first frame; sets `fps` and `frame_count` (0: unknown).

        Raises:
            SourceError: missing, unreadable, not a video, audio only, or no frame can be decoded.
        """
        self.close()
        self._truth = truth_beside(self._path)
        self._container = _open_container(self._path, self._decoder)
        try:
            stream = self._container.streams.video[0]
            self.fps = float(stream.average_rate or _DEFAULT_FPS)
            seconds = (self._container.duration or 0) / 1e6
            self.frame_count = int(stream.frames or seconds * self.fps)
            self._enough = stream.frames or int(0.95 * self.frame_count)
            self._frames = self._decoded(self._container, stream)
            self._ahead = next(self._frames, None)
        except BaseException:
            self.close()
            raise
        if self._ahead is None:
            self.close()
            raise SourceError(
                f"{self._path}: no frame can be decoded: the file is empty or damaged; "
                "expected a playable video"
            )

    def read(self, timeout_s: float) -> Frame | None:
        """Give the next frame, or with `realtime` the newest one that is due.

        Raises:
            FrameTimeoutError: with `realtime` only: the next frame is due after `timeout_s`.
        """
        if self._ahead is None:
            return None
        if self._realtime:
            self._wait_until_due(timeout_s)
        image, source_ns = self._ahead
        number = self._number
        self._advance()
        captured_ns = (self._start_ns or 0) + source_ns
        if not self._realtime:
            captured_ns = time.monotonic_ns()
        return Frame(
            number=number,
            image=image,
            captured_ns=captured_ns,
            source_ns=source_ns,
            truth=truth_of(self._truth, number),
        )

    def close(self) -> None:
        """Close the file; a later `read` gives None."""
        container, self._container = self._container, None
        self._frames, self._ahead = iter(()), None
        self._number, self._start_ns, self._damaged = 0, None, 0
        if container is not None:
            container.close()

    def _wait_until_due(self, timeout_s: float) -> None:
        """Sleep until the next frame is due, then skip to the newest frame that is due."""
        assert self._ahead is not None
        now_ns = time.monotonic_ns()
        if self._start_ns is None:
            self._start_ns = now_ns - self._ahead[1]
        wait_s = (self._start_ns + self._ahead[1] - now_ns) / 1e9
        if wait_s > timeout_s:
            time.sleep(max(timeout_s, 0.0))
            raise FrameTimeoutError(
                f"{self._path}: the next frame is due in {wait_s:.2f} s, waited {timeout_s:.2f} s"
            )
        if wait_s > 0:
            time.sleep(wait_s)
            return
        while True:
            current = self._ahead
            following = next(self._frames, None)
            if following is None or self._start_ns + following[1] > time.monotonic_ns():
                break
            self._ahead = following
            self._number += 1
        self._frames = _chain_one(following, self._frames)
        self._ahead = current

    def _advance(self) -> None:
        self._ahead = next(self._frames, None)
        self._number += 1
        if self._ahead is None and (self._number < self._enough or self._damaged):
            _log.warning(
                "%s: delivered %d of %d frames (%d damaged packets): the file is truncated or "
                "damaged",
                self._path,
                self._number,
                self.frame_count,
                self._damaged,
            )

    def _decoded(
        self, container: av.container.InputContainer, stream: av.video.VideoStream
    ) -> Iterator[tuple[Pixels, int]]:
        """Decode frame by frame, stepping over damaged packets: (image, time since first, ns)."""
        import av

        step_ns = int(1e9 / self.fps)
        first_ns: int | None = None
        last_ns = -step_ns
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.error.FFmpegError as error:
                self._damaged += 1
                if isinstance(error, (av.error.EOFError, OSError)):
                    return
                continue
            for frame in frames:
                assert isinstance(frame, av.VideoFrame)
                time_ns = last_ns + step_ns
                if frame.pts is not None and frame.time_base is not None:
                    stamp_ns = int(frame.pts * frame.time_base * 1_000_000_000)
                    first_ns = stamp_ns if first_ns is None else first_ns
                    time_ns = max(stamp_ns - first_ns, last_ns + 1)
                last_ns = time_ns
                yield bgr_of(frame), time_ns


def bgr_of(frame: av.VideoFrame) -> Pixels:
    """Convert a decoded frame to BGR, turned upright as its display matrix says."""
    image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    turn = _ROTATIONS.get(int(getattr(frame, "rotation", 0)) % 360)
    upright = image if turn is None else cv2.rotate(image, turn)
    return np.ascontiguousarray(upright, np.uint8)


def _chain_one(
    first: tuple[Pixels, int] | None, rest: Iterator[tuple[Pixels, int]]
) -> Iterator[tuple[Pixels, int]]:
    if first is not None:
        yield first
        yield from rest


def _open_container(path: Path, decoder: str) -> av.container.InputContainer:
    import av

    if not path.is_file():
        raise SourceError(f"{path}: no such file; expected the path of a video")
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: the file is empty (0 bytes); expected a video")
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINER_FORMATS}
    try:
        container: av.container.InputContainer = av.open(
            str(path), options=options, **open_options(decoder)
        )
    except PermissionError as error:
        raise SourceError(f"{path}: no permission to read the file") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(
            f"{path}: not a video that can be opened ({reason_of(error)}); expected a complete "
            "MP4, MKV, AVI or other video file: if it was cut off while recording or copying, "
            "copy or remux it again"
        ) from error
    if not container.streams.video:
        held = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        container.close()
        raise SourceError(
            f"{path}: holds no video stream (it holds: {held}); expected a file with pictures"
        )
    container.streams.video[0].thread_type = "AUTO"
    return container


def reason_of(error: BaseException) -> str:
    """Give what went wrong without the address, which may hold a password."""
    return str(getattr(error, "strerror", None) or error)
