"""Sequences: frames and boxes of one target, from video or from pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from model.evaluation.attributes import read_names
from model.evaluation.box_files import Float64, read_boxes
from model.evaluation.errors import DataFileError
from model.geometry import Box, Image

DAY, NIGHT, DARKENED = "day", "real night", "night-degraded"
NIGHT_SETS = ("uavdark", "darktrack", "nat2021")
"""Beginnings of the names of sets recorded at night, in lower case."""


class Frames(Protocol):
    """Frames of a sequence, read in order; iterating again begins anew."""

    @property
    def source(self) -> Path:
        """The file or folder, for messages."""
        ...

    def __iter__(self) -> Iterator[Image]:
        """Yield (H, W, 3) BGR uint8 frames; the consumer owns each."""
        ...


@dataclass(frozen=True)
class VideoFrames:
    """Frames of a video file."""

    source: Path

    def __iter__(self) -> Iterator[Image]:
        """Yield every frame that decodes.

        Raises:
            DataFileError: the file is missing or no video.
        """
        if not self.source.is_file():
            raise DataFileError(self.source, "a video file", "nothing")
        video = cv2.VideoCapture(str(self.source))
        try:
            if not video.isOpened():
                raise DataFileError(self.source, "a video that OpenCV can read", "something else")
            while True:
                fine, frame = video.read()
                if not fine:
                    return
                yield np.asarray(frame, np.uint8)
        finally:
            video.release()


@dataclass(frozen=True)
class ImageFrames:
    """Frames that are picture files, in playing order."""

    source: Path
    paths: tuple[Path, ...]

    def __iter__(self) -> Iterator[Image]:
        """Yield every picture.

        Raises:
            DataFileError: a file is missing or no picture.
        """
        for path in self.paths:
            yield read_image(path)


def read_image(path: Path) -> Image:
    """Read one picture, (H, W, 3) BGR uint8.

    Raises:
        DataFileError: the file is missing or no picture.
    """
    if not path.is_file():
        raise DataFileError(path, "a picture", "nothing")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataFileError(path, "a picture that OpenCV can read", "something else")
    return np.asarray(image, np.uint8)


@dataclass(frozen=True)
class Sequence:
    """One target through one video.

    Attributes:
        name: unique within its set; the name of its result file.
        dataset: name of the set.
        frames: the pictures.
        truth: (N, 4) x, y, w, h px; NaN where the target is absent. The first box is given.
        attributes: challenges that the set's authors flagged, as `LR` or `IV`.
        condition: `DAY`, `NIGHT` or `DARKENED`.
        boxes_file: where the truth was read, for messages; None where it is no file.
    """

    name: str
    dataset: str
    frames: Frames
    truth: Float64
    attributes: frozenset[str] = field(default_factory=frozenset)
    condition: str = DAY
    boxes_file: Path | None = None

    @property
    def first_box(self) -> Box:
        """The box that a tracker is given.

        Raises:
            DataFileError: the target is absent from the first frame.
        """
        x, y, w, h = (float(v) for v in self.truth[0])
        box = Box(x, y, w, h)
        if not (box.is_finite() and w > 0 and h > 0):
            found = f"the box {x:g},{y:g},{w:g},{h:g}"
            expected, line = "a target in the first frame", 1 if self.boxes_file else None
            raise DataFileError(self.boxes_file or self.frames.source, expected, found, line)
        return box

    def __len__(self) -> int:
        """Number of annotated frames."""
        return len(self.truth)


def sequence_label(sequence: Sequence) -> str:
    """Set, name and condition, for people."""
    return f"{sequence.dataset}/{sequence.name} ({sequence.condition})"


def check_unique(sequences: list[Sequence]) -> list[Sequence]:
    """Return the sequences; two of one set and name would share one file of results.

    Raises:
        DataFileError: two have the same set and name.
    """
    seen: dict[tuple[str, str], Sequence] = {}
    for sequence in sequences:
        first = seen.setdefault((sequence.dataset, sequence.name), sequence)
        if first is not sequence:
            raise DataFileError(
                sequence.boxes_file or sequence.frames.source,
                f"another name than {sequence.dataset}/{sequence.name}",
                f"the same at {first.boxes_file or first.frames.source}",
            )
    return sequences


def condition_of(dataset: str) -> str:
    """`NIGHT` for the sets known to be recorded at night, `DAY` for any other."""
    return NIGHT if dataset.lower().startswith(NIGHT_SETS) else DAY


def read_video_sequence(folder: Path, dataset: str | None = None) -> Sequence:
    """Read a folder that holds `video.mp4` (or another video) and `groundtruth.txt`.

    `attributes.txt` may name attributes, as `SV, OCC`.

    Raises:
        DataFileError: one of the two is missing, a box is no box or a name is unknown.
    """
    videos = list_videos(folder)
    if not videos:
        raise DataFileError(folder, "a video (video.mp4)", "none")
    if len(videos) > 1:
        found = ", ".join(p.name for p in videos)
        raise DataFileError(folder, "one video", found)
    name = dataset or folder.resolve().parent.name
    boxes_file, flags_file = folder / "groundtruth.txt", folder / "attributes.txt"
    truth = read_boxes(boxes_file)
    frames = VideoFrames(videos[0])
    flags = read_names(flags_file) if flags_file.is_file() else frozenset()
    return Sequence(folder.name, name, frames, truth, flags, condition_of(name), boxes_file)


VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")


def list_videos(folder: Path) -> list[Path]:
    """Video files of a folder, sorted."""
    return [p for p in sorted(folder.iterdir()) if p.suffix.lower() in VIDEO_SUFFIXES]


def video_folders(root: Path) -> list[Path]:
    """Find the sequence folders below `root`: `<name>/` or `<set>/<name>/`, sorted.

    Raises:
        DataFileError: there is none.
    """
    if not root.is_dir():
        raise DataFileError(root, "a folder of sequences", "nothing")
    folders = sorted({path.parent for path in root.rglob("groundtruth.txt")})
    if not any(list_videos(folder) for folder in folders):
        expected = "folders that hold video.mp4 and groundtruth.txt"
        raise DataFileError(root, expected, "none (name the set for another layout)")
    return folders


def find_video_sequences(root: Path) -> list[Sequence]:
    """Read every sequence folder below `root`.

    Raises:
        DataFileError: there is none, or one cannot be read.
    """
    return [read_video_sequence(folder) for folder in video_folders(root)]
