"""From a line of text, as a user gives it, to a frame source."""

from __future__ import annotations

import re
from pathlib import Path

from drone.decoding import CPU, choose_decoder
from drone.errors import SourceError
from drone.source import FrameSource

EXPECTED = (
    "expected `simulator` or `simulator:SCENARIO`, a video file, a folder of pictures, "
    "`rtsp://…`, `webcam:0` or `olympe:ADDRESS`"
)


def open_source(spec: str, *, realtime: bool = False, decoder: str = CPU) -> FrameSource:
    """Make the source that `spec` names. It is not started: call its `open`.

    Args:
        spec: `simulator[:scenario]`, the path of a video file or of a folder of pictures,
            `rtsp://…`, `webcam:N` or `olympe:ADDRESS[:PORT][/MEDIA NAME]`.
        realtime: pace a video file as if it were live (newest wins, late frames dropped).
        decoder: what decodes files, network streams and webcams; see `choose_decoder`.

    Raises:
        SourceError: no such thing, or no such decoder; names what was expected.
    """
    decoder = choose_decoder(decoder)
    spec = spec.strip()
    if spec == "simulator" or spec.startswith("simulator:"):
        from drone.simulator import NightSimulator

        return NightSimulator(spec.partition(":")[2] or "default")
    if spec.startswith("olympe:"):
        from drone.olympe_source import olympe_source

        return olympe_source(spec.partition(":")[2])
    if spec.startswith("webcam:"):
        from drone.video_live import webcam_source

        index = spec.partition(":")[2]
        if not (index.isascii() and index.isdigit() and len(index) < 4):
            raise SourceError(f"source {spec!r}: expected webcam:0, webcam:1 …")
        return webcam_source(int(index), decoder=decoder)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", spec)
    if spec.lower().startswith("rtsp://"):
        from drone.video_live import rtsp_source

        return rtsp_source(spec, decoder=decoder)
    if scheme and not Path(spec).exists():
        raise SourceError(f"source scheme {scheme[1]!r} is not allowed: {EXPECTED}")
    return _path_source(spec, realtime, decoder, skip_damaged=True)


def open_recording(path: str | Path, *, realtime: bool = False) -> FrameSource:
    """Make a source of a video file or a folder of pictures, and of nothing else.

    A damaged picture of a folder is an error here: each picture gets its answer, in order.

    Raises:
        SourceError: no such file or folder.
    """
    return _path_source(str(path), realtime, CPU)


def _path_source(
    spec: str, realtime: bool, decoder: str, skip_damaged: bool = False
) -> FrameSource:
    path = Path(spec).expanduser()
    if not spec or "\0" in spec:
        raise SourceError(f"source {spec!r} is empty or not a path: {EXPECTED}")
    if path.is_dir():
        from drone.images import ImageFolderSource

        return ImageFolderSource(path, skip_damaged=skip_damaged)
    if not path.exists():
        raise SourceError(f"source {spec!r}: no such file or folder: {EXPECTED}")
    from drone.video_file import VideoFileSource

    return VideoFileSource(path, realtime=realtime, decoder=decoder)
