"""`mlkd track`: follow one target through a recording."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from model.errors import BackendError, BoxError, InputError
from model.geometry import Box

if TYPE_CHECKING:
    from drone.frame import Frame
    from drone.source import FrameSource
    from drone.video_writer import VideoWriter
    from model.tracker import Tracker, TrackState

READ_TIMEOUT_S = 10.0
DEFAULT_FPS = 30.0
"""Of an annotated video whose source (a folder of pictures) has no clock."""


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = sub.add_parser("track", help="follow one target through a video file or image folder")
    parser.add_argument("source", metavar="VIDEO", help="a video file or a folder of images")
    parser.add_argument("--box", required=True, metavar="x,y,w,h", help="target on frame 1, px")
    parser.add_argument("--out", required=True, type=Path, help="text file, one x,y,w,h a line")
    parser.add_argument("--video", type=Path, metavar="FILE.mp4", help="write an annotated video")
    parser.add_argument("--engine", default="auto", help="as listed by `mlkd bench --help`")
    parser.add_argument("--model", type=Path, help="a model folder; the shipped one by default")
    parser.set_defaults(run=run)


def parse_box(text: str) -> Box:
    """Read `x,y,w,h`.

    Raises:
        BoxError: not four numbers.
    """
    try:
        x, y, w, h = (float(part) for part in text.split(","))
    except ValueError:
        raise BoxError(f"--box {text!r}: expected four numbers x,y,w,h in px") from None
    return Box(x, y, w, h)


def run(arguments: argparse.Namespace) -> int:
    """Track and write the boxes; what was tracked so far is kept when the video breaks off."""
    from drone.sources import open_recording
    from drone.video_writer import VideoWriter
    from exporter.runtime.open import open_backend
    from model.tracker import Tracker

    box = parse_box(arguments.box)
    if not arguments.out.parent.is_dir():
        raise InputError(f"{arguments.out}: its folder does not exist; create it first")
    _keep_apart({"--out": arguments.out, "--video": arguments.video}, Path(arguments.source))
    with ExitStack() as stack:
        source = open_recording(arguments.source)
        stack.callback(source.close)
        source.open()
        frames = _frames(source)
        head = list(itertools.islice(frames, 2))
        if not head:
            raise InputError(f"{arguments.source} holds no frame")
        video = None
        if arguments.video is not None:
            video = VideoWriter(arguments.video, _rate_hz(head))
            stack.callback(video.close)
        backend = open_backend(arguments.model, arguments.engine)
        tracker = Tracker(stack.enter_context(closing(backend)))
        state = tracker.init(head[0].image, box)
        out = stack.enter_context(arguments.out.open("w", encoding="utf-8", buffering=1))
        _answer(out, video, head[0], box, None)
        rest = _progress(itertools.chain(head[1:], frames), arguments.source)
        count, refused = _follow(tracker, state, rest, out, video)
    note = f", {refused} refused by the engine (the last box stands)" if refused else ""
    print(f"{count} frames with {backend.name}{note}: {arguments.out}")
    return 0


def _keep_apart(outputs: dict[str, Path | None], source: Path) -> None:
    """Refuse to write over the recording, or two outputs over one another.

    Raises:
        InputError: two of them are one file, or an output lies among the recording's pictures.
    """
    place = source.resolve()
    taken = {place: "the recording"}
    for option, path in outputs.items():
        if path is None:
            continue
        target = path.resolve()
        other = taken.get(target)
        if other is None and target.exists() and target.parent == place:
            other = "a file of the recording"
        if other is not None:
            raise InputError(f"{option} {path} is {other}: expected another file to write to")
        taken[target] = f"the file of {option}"


def _follow(
    tracker: Tracker,
    state: TrackState,
    frames: Iterator[Frame],
    out: TextIO,
    video: VideoWriter | None,
) -> tuple[int, int]:
    """Answer every frame; return how many there were with the first, and how many refused."""
    count, refused = 1, 0
    for frame in frames:
        score: float | None = None
        try:
            state, result = tracker.update(state, frame.image)
            score = result.score
        except BackendError:
            refused += 1
        _answer(out, video, frame, state.box, score)
        count += 1
    return count, refused


def _answer(
    out: TextIO, video: VideoWriter | None, frame: Frame, box: Box, score: float | None
) -> None:
    from gcs.annotate import draw_box

    out.write(",".join(f"{v:.2f}".rstrip("0").rstrip(".") for v in box) + "\n")
    if video is not None:
        video.write(draw_box(frame.image, box, score))


def _rate_hz(head: list[Frame]) -> float:
    """Frames a second by the source's own clock."""
    stamps = [frame.source_ns for frame in head]
    if len(stamps) < 2 or stamps[0] is None or stamps[1] is None or stamps[1] <= stamps[0]:
        return DEFAULT_FPS
    return 1e9 / (stamps[1] - stamps[0])


def _frames(source: FrameSource) -> Iterator[Frame]:
    while (frame := source.read(READ_TIMEOUT_S)) is not None:
        yield frame


def _progress(frames: Iterator[Frame], name: str) -> Iterator[Frame]:
    from tqdm import tqdm

    yield from tqdm(
        frames, desc=Path(name).name, unit=" frames", disable=not sys.stderr.isatty(), initial=1
    )
