"""Network streams and webcams: a thread decodes, reconnects and keeps only the newest frame."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drone.decoding import CPU, open_options
from drone.errors import SourceError
from drone.frame import Frame
from drone.latest import LatestFrame
from drone.video_file import bgr_of, reason_of

if TYPE_CHECKING:
    import av
    import av.container

_log = logging.getLogger(__name__)

# Without these FFmpeg buffers for 0.4 s and more before it shows a frame.
LOW_LATENCY = {
    "fflags": "nobuffer",
    "flags": "low_delay",
    "max_delay": "0",
    "reorder_queue_size": "0",
    "probesize": "32",
    "analyzeduration": "0",
}
STALL_S = 0.5
_KEY_FRAME_WAIT_S = 1.0


@dataclass(frozen=True)
class LiveTiming:
    """Waiting times of a live source.

    Attributes:
        connect_s: longest wait for a connection.
        silence_s: a connection that gives no packet for so long is dropped and made again.
        backoff_first_s: wait before the first reconnection; doubles with each failure.
        backoff_most_s: longest wait between reconnections.
    """

    connect_s: float = 3.0
    silence_s: float = 2.0
    backoff_first_s: float = 0.5
    backoff_most_s: float = 5.0


class LiveVideoSource:
    """Delivers the newest frame of a stream that FFmpeg opens; one thread owns the connection.

    A stream that breaks is opened again with growing waits (0.5 → 5 s); until then `read` raises
    FrameTimeoutError every 0.5 s at the latest. Frames are numbered over reconnections.
    """

    live = True

    def __init__(
        self,
        name: str,
        connect: Callable[[LiveTiming], av.container.InputContainer],
        timing: LiveTiming | None = None,
    ) -> None:
        """Name the source; `connect` opens the container and runs in the decoding thread."""
        self._name = name
        self._connect = connect
        self._timing = timing or LiveTiming()
        self._slot = LatestFrame(name)
        self._stop = threading.Event()
        self._first_try = threading.Event()
        self._first_error: Exception | None = None
        self._thread: threading.Thread | None = None
        self._number = 0
        self.reconnects = 0

    @property
    def name(self) -> str:
        """Its address."""
        return self._name

    @property
    def dropped(self) -> int:
        """Frames decoded and never read."""
        return self._slot.dropped

    def open(self) -> None:
        """Connect and start decoding.

        Raises:
            SourceError: no connection within `connect_s`, or it holds no video.
        """
        self.close()
        self._stop = threading.Event()
        self._forget_first_try()
        self._slot = LatestFrame(self._name)
        args = (self._slot, self._stop)
        self._thread = threading.Thread(target=self._run, args=args, name="video", daemon=True)
        self._thread.start()
        answered = self._first_try.wait(self._timing.connect_s + 1.0)
        error = self._first_error
        if answered and error is None:
            return
        self.close()
        reason = f"no answer in {self._timing.connect_s:g} s"
        if error is not None:
            reason = reason_of(error)
        raise SourceError(
            f"{self._name}: cannot connect ({reason}); expected a running camera or stream at "
            "this address"
        ) from None  # the cause would show the password

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for the newest frame, 0.5 s at most.

        Raises:
            FrameTimeoutError: the stream is silent; it is being reconnected, read again.
        """
        return self._slot.take(min(timeout_s, STALL_S))

    def close(self) -> None:
        """Stop the thread and drop the connection."""
        self._stop.set()
        self._slot.end()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._timing.silence_s + self._timing.connect_s)

    def _forget_first_try(self) -> None:
        self._first_try = threading.Event()
        self._first_error = None

    def _run(self, slot: LatestFrame, stop: threading.Event) -> None:
        backoff_s = self._timing.backoff_first_s
        while not stop.is_set():
            before = self._number
            try:
                self._stream(slot, stop)
                reason = "the stream ended"
            except (OSError, ValueError, SourceError) as error:  # FFmpegError is one of these
                reason = reason_of(error)
                if not self._first_try.is_set():
                    self._first_error = error
                    self._first_try.set()
                    return
            except Exception as error:
                slot.end(SourceError(f"{self._name}: the decoding thread died: {error!r}"))
                self._first_error = error
                self._first_try.set()
                raise
            if self._number > before:
                backoff_s = self._timing.backoff_first_s
            if stop.is_set():
                return
            _log.warning("%s: %s; reconnecting in %.1f s", self._name, reason, backoff_s)
            stop.wait(backoff_s)
            backoff_s = min(2 * backoff_s, self._timing.backoff_most_s)
            self.reconnects += 1

    def _stream(self, slot: LatestFrame, stop: threading.Event) -> None:
        """Open one connection and decode it until it ends, breaks or `stop`."""
        import av

        container = self._connect(self._timing)
        try:
            if not container.streams.video:
                raise SourceError(f"{self._name}: the stream holds no video")
            video = container.streams.video[0]
            video.thread_type = "SLICE"  # frame threads hold back one frame each
            self._first_try.set()
            started_s = time.monotonic()
            clean = False
            for packet in container.demux(video):
                if stop.is_set():
                    return
                arrived_ns = time.monotonic_ns()
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    continue  # a damaged packet: the next key frame mends the picture
                for frame in frames:
                    assert isinstance(frame, av.VideoFrame)
                    # Start on a whole picture; some drones never send a key frame, so not for ever.
                    clean = clean or frame.key_frame
                    if clean or time.monotonic() - started_s > _KEY_FRAME_WAIT_S:
                        self._publish(slot, frame, arrived_ns)
        finally:
            container.close()

    def _publish(self, slot: LatestFrame, frame: av.VideoFrame, arrived_ns: int) -> None:
        source_ns = None
        if frame.pts is not None and frame.time_base is not None:
            source_ns = int(frame.pts * frame.time_base * 1_000_000_000)
        image = bgr_of(frame)
        slot.put(Frame(self._number, image, arrived_ns, source_ns))
        self._number += 1


def rtsp_source(
    url: str,
    *,
    transport: str | None = None,
    timing: LiveTiming | None = None,
    decoder: str = CPU,
) -> LiveVideoSource:
    """Make a source of an rtsp:// address.

    Args:
        url: the stream's address, credentials included where it needs them.
        transport: `udp` (lowest latency), `tcp` (nothing torn, but waits for lost packets), or
            None: UDP, then TCP where the camera refuses it or nothing arrives.
        timing: waiting times.
        decoder: as `drone.decoding.choose_decoder` gives it.
    """

    def connect(timing: LiveTiming) -> av.container.InputContainer:
        import av

        options = {**LOW_LATENCY, "protocol_whitelist": "rtsp,rtp,udp,tcp"}
        if transport is not None:
            options["rtsp_transport"] = transport
        container: av.container.InputContainer = av.open(
            url,
            format="rtsp",
            options=options,
            timeout=(timing.connect_s, timing.silence_s),
            **open_options(decoder),
        )
        return container

    return LiveVideoSource(without_password(url), connect, timing)


def webcam_source(
    index: int, *, timing: LiveTiming | None = None, decoder: str = CPU
) -> LiveVideoSource:
    """Make a source of a camera of this machine, by its index as the system counts them."""
    device, container_format = _webcam_device(index)

    def connect(timing: LiveTiming) -> av.container.InputContainer:
        import av

        container: av.container.InputContainer = av.open(
            device,
            format=container_format,
            options={**LOW_LATENCY, "framerate": "30"},
            timeout=(timing.connect_s, timing.silence_s),
            **open_options(decoder),
        )
        return container

    return LiveVideoSource(f"webcam:{index}", connect, timing)


def without_password(url: str) -> str:
    """Hide the password of an address, for logs and the page."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    user, at, place = host.rpartition("@")
    if at and ":" in user:
        host = f"{user.partition(':')[0]}:***@{place}"
    return f"{scheme}{mark}{host}{slash}{path}"


def _webcam_device(index: int) -> tuple[str, str]:
    if sys.platform == "darwin":
        return str(index), "avfoundation"
    if sys.platform == "win32":
        return f"video={index}", "vfwcap"
    return f"/dev/video{index}", "v4l2"
