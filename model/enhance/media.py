"""Images and videos for `mlkd enhance`: read frames, write frames, nothing half-written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from model.errors import InputError
from model.geometry import Image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".m4v", ".webm", ".ts")
WRITTEN_VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".m4v", ".ts")
"""A WebM file cannot hold H.264 or MPEG-4, which are what is written."""
_CODECS = ("libx264", "mpeg4")

Work = Callable[[Image], Image]
Watch = Callable[[Iterable[Image], int | None], Iterable[Image]]
"""Wraps the frames and their number (None where unknown) in a progress bar."""


def enhance_file(source: Path, target: Path, work: Work, watch: Watch) -> int:
    """Apply `work` to an image, a video or every image of a folder.

    Args:
        source: an image, a video or a folder of images.
        target: a file of the same kind; a folder for a folder. Written under another name first.
        work: one BGR image to one of the same size.
        watch: shows progress.

    Returns:
        Number of images or frames written.

    Raises:
        InputError: a file is missing, of an unknown kind or cannot be read or written.
    """
    if not source.exists():
        raise InputError(
            f"{source} does not exist: expected an image, a video or a folder of images"
        )
    if target.exists() and source.resolve() == target.resolve():
        raise InputError(f"--out {target} is the input itself: name another file")
    if source.is_dir():
        return _folder(source, target, work, watch)
    if not target.parent.is_dir():
        raise InputError(f"the folder of --out {target} does not exist")
    kind = source.suffix.lower()
    if kind in IMAGE_SUFFIXES:
        _need_suffix(target, IMAGE_SUFFIXES, "an image")
        for image in watch([read_image(source)], 1):
            write_image(target, work(image))
        return 1
    if kind in VIDEO_SUFFIXES:
        _need_suffix(target, WRITTEN_VIDEO_SUFFIXES, "a video")
        return _video(source, target, work, watch)
    known = " ".join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)
    raise InputError(f"{source} is of no known kind; known: {known}")


def read_image(path: Path) -> Image:
    """Read an image as BGR uint8.

    Raises:
        InputError: not readable as an image.
    """
    image: object = None
    with contextlib.suppress(cv2.error):  # as for a header of more pixels than OpenCV takes
        if _size(path):
            image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} cannot be read as an image")
    return np.asarray(image, np.uint8)


def write_image(path: Path, image: Image) -> None:
    """Write an image in the format of its suffix."""
    done, data = cv2.imencode(path.suffix.lower(), image)
    if not done:
        raise InputError(f"{path} cannot be written as {path.suffix}")
    with _whole(path) as part:
        part.write_bytes(data.tobytes())


def _folder(source: Path, target: Path, work: Work, watch: Watch) -> int:
    paths = sorted(p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise InputError(f"folder {source} holds no image ({' '.join(IMAGE_SUFFIXES)})")
    if target.exists() and not target.is_dir():
        raise InputError(f"--out {target} is a file: a folder of images needs a folder")
    target.mkdir(parents=True, exist_ok=True)
    images = watch((read_image(p) for p in paths), len(paths))
    for path, image in zip(paths, images, strict=True):
        write_image(target / path.name, work(image))
    return len(paths)


def _video(source: Path, target: Path, work: Work, watch: Watch) -> int:
    frames = 0
    try:
        with av.open(str(source)) as reader, _whole(target) as part:
            if not reader.streams.video:
                raise InputError(f"{source} holds no video stream")
            stream = reader.streams.video[0]
            stream.thread_type = "AUTO"
            rate = Fraction(stream.average_rate or 25)
            with av.open(str(part), "w", format=_container(target)) as writer:
                lit = map(work, watch(_decode(reader), stream.frames or None))
                frames = _encode(writer, lit, rate)
            if frames == 0:
                raise InputError(f"{source} holds no frame that can be decoded")
    except av.error.FFmpegError as error:
        raise InputError(f"video {source} cannot be read or {target} written: {error}") from error
    return frames


def _decode(reader: Any) -> Iterator[Image]:
    for frame in reader.decode(video=0):
        yield frame.to_ndarray(format="bgr24")


def _encode(writer: Any, images: Iterable[Image], rate: Fraction) -> int:
    """Write the frames as H.264, or MPEG-4 where that is missing; sides are cut to even px."""
    stream: Any = None
    count = 0
    for image in images:
        rows, cols = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        if stream is None:
            codec = next(c for c in _CODECS if c in av.codecs_available)
            stream = writer.add_stream(codec, rate=rate)
            stream.width, stream.height, stream.pix_fmt = cols, rows, "yuv420p"
            stream.bit_rate = max(2_000_000, rows * cols * 6)
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image[:rows, :cols]), format="bgr24"
        )
        writer.mux(stream.encode(frame))
        count += 1
    if stream is not None:
        writer.mux(stream.encode())
    return count


def _container(target: Path) -> str:
    suffix = target.suffix.lower().removeprefix(".")
    special = {"mkv": "matroska", "m4v": "mp4", "ts": "mpegts"}
    return special.get(suffix, suffix)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A neighbouring name to write to; it becomes `path` at the end, or goes on an error."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _need_suffix(path: Path, suffixes: tuple[str, ...], kind: str) -> None:
    if path.suffix.lower() not in suffixes:
        raise InputError(
            f"--out {path} must be {kind} as well, of a kind that can be written: "
            f"{' '.join(suffixes)}"
        )


def _size(path: Path) -> int:
    return path.stat().st_size
