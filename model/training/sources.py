"""Reading of training folders: sequences, images with boxes, images without."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from model.errors import InputError
from model.evaluation.box_files import read_lines
from model.evaluation.crop511 import read_crop511
from model.evaluation.datasets import picture_number
from model.geometry import Image
from model.training.annotations import Boxes, read_annotations
from model.training.config import SourceConfig

TRUTH_FILES = ("groundtruth.txt", "groundtruth_rect.txt")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov")
_BORDER_SLACK_PX = 2.0


@dataclass
class DataReport:
    """Counts bad content and keeps the first examples, so that nothing is skipped unseen."""

    strict: bool = False
    """Refuse bad content instead of skipping it."""
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def skip(self, problem: str, where: str) -> None:
        """Note that something is left out.

        Raises:
            InputError: the report is strict.
        """
        if self.strict:
            raise InputError(f"{where}: {problem}; mend it or train without --strict-data")
        self.counts[problem] += 1
        self.examples.setdefault(problem, where)

    def lines(self) -> list[str]:
        """One line a kind of problem, as `3 x box outside the image, first: …`."""
        return [
            f"{count} x {problem}, first: {self.examples[problem]}"
            for problem, count in sorted(self.counts.items())
        ]

    def replay(self, lines: Iterable[str]) -> None:
        """Count again what `lines` of an earlier report say; other lines are passed over."""
        for line in lines:
            found = re.fullmatch(r"(\d+) x (.+?), first: (.+)", line)
            if found:
                count, problem, where = found.groups()
                self.counts[problem] += int(count)
                self.examples.setdefault(problem, where)


@dataclass(frozen=True)
class SourceFrame:
    """One image of a source.

    Attributes:
        group: sequence or folder that it belongs to.
        index: frame number in a sequence; running number otherwise.
        image: (H, W, 3) BGR uint8.
        boxes: usable boxes; none in image folders and where the target is absent.
    """

    group: str
    index: int
    image: Image
    boxes: Boxes


def iter_source(
    source: SourceConfig, root: Path, report: DataReport, min_side_px: float = 4.0
) -> Iterator[SourceFrame]:
    """Yield the images of a source in a fixed order.

    Raises:
        InputError: the folder is missing or holds nothing of its kind.
    """
    folder = root / source.path
    if not folder.is_dir():
        raise InputError(
            f"training folder {folder} does not exist: give the data root with --data DIR"
        )
    if source.kind == "sequences":
        yield from _iter_sequences(source, folder, report, min_side_px)
    elif source.kind == "crop511":
        yield from _iter_crops(source, folder, report, min_side_px)
    elif source.kind == "boxes":
        yield from _iter_annotated(source, folder, report, min_side_px)
    else:
        yield from _iter_images(source, folder, report)


def _iter_sequences(
    source: SourceConfig, folder: Path, report: DataReport, min_side_px: float
) -> Iterator[SourceFrame]:
    truths = sorted(path for name in TRUTH_FILES for path in folder.rglob(name))
    if not truths:
        raise InputError(f"{folder} holds no sequence: expected folders with groundtruth.txt")
    for truth in truths:
        if truth.parent.name in source.skip:
            continue
        group = truth.parent.relative_to(folder).as_posix()
        boxes = read_boxes(truth)
        for index, image in _iter_frames(truth, len(boxes), report):
            if index % source.frame_step or index >= len(boxes):
                continue
            where = f"{truth} line {index + 1}"
            usable = _usable(boxes[index : index + 1], image, report, where, min_side_px)
            yield SourceFrame(group, index, image, usable)


def _iter_crops(
    source: SourceConfig, folder: Path, report: DataReport, min_side_px: float
) -> Iterator[SourceFrame]:
    """PySOT's training crops: the target stands in the centre of each."""
    listings = sorted(folder.glob("*.json"))
    if len(listings) != 1:
        names = ", ".join(path.name for path in listings) or "none"
        raise InputError(f"{folder}: expected crop511/ and one JSON beside it, found {names}")
    for group, crops in read_crop511(folder / "crop511", listings[0]).items():
        if Path(group).parent.name in source.skip:
            continue
        for crop in crops[:: source.frame_step]:
            image = _read_image(crop.picture, report)
            if image is not None:
                boxes = np.asarray([tuple(crop.box)], np.float32)
                usable = _usable(boxes, image, report, str(crop.picture), min_side_px)
                yield SourceFrame(group, crop.frame, image, usable)


def read_boxes(path: Path) -> Boxes:
    """Read one box a line, separated by comma, tab or blanks.

    `nan` and a blank line stand for a frame without a target; blank lines at the end do not count.

    Raises:
        InputError: a line does not hold four numbers, or the file is no UTF-8 text.
    """
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            rows.append([np.nan] * 4)
            continue
        try:
            values = [float(v) for v in line.replace(",", " ").split()]
        except ValueError:
            values = []
        if len(values) != 4:
            raise InputError(f"{path} line {number} is {line!r}: expected x,y,w,h")
        rows.append(values)
    return np.asarray(rows, np.float32).reshape(-1, 4)


def _iter_frames(truth: Path, boxes: int, report: DataReport) -> Iterator[tuple[int, Image]]:
    """Yield (line of the box from 0, image) of a sequence's video, or else of its pictures.

    Frames without a box and boxes without a frame are counted once a sequence.
    """
    folder = truth.parent
    videos = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    if videos:
        count = 0
        for frame in _iter_video(videos[0]):
            yield count, frame
            count += 1
        _compare(count, boxes, truth, report)
        return
    place = folder / "img" if (folder / "img").is_dir() else folder
    pictures = [p for p in place.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    matched = _match_pictures(pictures, boxes)
    if matched is None:
        counts = f"{_numbering(pictures)}; {boxes} boxes"
        report.skip(f"sequence whose pictures do not fit its boxes ({counts})", str(truth))
        return
    _compare(len(matched), boxes, truth, report)
    for index, picture in matched:
        image = _read_image(picture, report)
        if image is not None:
            yield index, image


def _numbering(pictures: list[Path]) -> str:
    numbers = sorted(picture_number(picture.stem) for picture in pictures)
    if numbers[0] < 0:
        return f"{len(pictures)} pictures, not all numbered"
    return f"{len(pictures)} pictures, numbered {numbers[0]} to {numbers[-1]}"


def _match_pictures(pictures: list[Path], boxes: int) -> list[tuple[int, Path]] | None:
    """Match pictures to boxes by the number in their names, so that no label shifts unseen.

    - As many pictures as boxes: by their order.
    - As many boxes as the numbers span: the first number is the first box's, and a number left
      out is a frame that is missing.
    - Numbers from 0 or 1 on without a hole: from the first box on; what is left over is at the end.
    - Anything else could be matched in several ways.

    Args:
        pictures: files in any order.
        boxes: count of the boxes.

    Returns:
        (line of the box from 0, picture) in order, or None for the last case.
    """
    ordered = sorted(pictures, key=lambda path: (picture_number(path.stem), path.name))
    if len(ordered) in (0, boxes):
        return list(enumerate(ordered))
    numbers = [picture_number(path.stem) for path in ordered]
    first, span = numbers[0], numbers[-1] - numbers[0] + 1
    distinct = len(set(numbers)) == len(numbers)
    whole = span == len(numbers) and first in (0, 1)
    if distinct and (span == boxes or whole):
        return [(number - first, path) for number, path in zip(numbers, ordered, strict=True)]
    return None


def _compare(frames: int, boxes: int, truth: Path, report: DataReport) -> None:
    if frames < boxes:
        report.skip(f"missing frames ({frames} of {boxes} boxes have one)", str(truth))
    elif frames > boxes:
        report.skip(f"frames without a box ({boxes} of {frames} have one)", str(truth))


def _iter_video(path: Path) -> Iterator[Image]:
    capture = cv2.VideoCapture(str(path))
    try:
        while True:
            more, frame = capture.read()
            if not more:
                return
            yield np.asarray(frame, np.uint8)
    finally:
        capture.release()


def _iter_annotated(
    source: SourceConfig, folder: Path, report: DataReport, min_side_px: float
) -> Iterator[SourceFrame]:
    path = folder / "annotations.json"
    for index, (file, boxes) in enumerate(read_annotations(path)):
        if Path(file).stem in source.skip:
            continue
        image = _read_image(folder / file, report)
        if image is not None:
            usable = _usable(boxes, image, report, f"{path}: {file}", min_side_px)
            yield SourceFrame(source.path, index, image, usable)


def _iter_images(source: SourceConfig, folder: Path, report: DataReport) -> Iterator[SourceFrame]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise InputError(f"{folder} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    for index, path in enumerate(paths):
        image = None if path.stem in source.skip else _read_image(path, report)
        if image is not None:
            yield SourceFrame(source.path, index, image, np.empty((0, 4), np.float32))


def _read_image(path: Path, report: DataReport) -> Image | None:
    image: object = None
    with contextlib.suppress(cv2.error):  # as for a header of more pixels than OpenCV takes
        image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if image is None:
        report.skip("missing or damaged image", str(path))
        return None
    return np.asarray(image, np.uint8)


def _usable(
    boxes: Boxes, image: Image, report: DataReport, where: str, min_side_px: float
) -> Boxes:
    """Keep boxes that lie in the image, cut to it; count the others by what is wrong."""
    height, width = image.shape[:2]
    kept = []
    for x, y, w, h in boxes.tolist():
        if not np.isfinite([x, y, w, h]).all() or x == y == w == h == 0:
            continue  # the data sets' sign for an absent target
        x1, y1 = min(x + w, width), min(y + h, height)
        x0, y0 = max(x, 0.0), max(y, 0.0)
        over = max(-x, -y, x + w - width, y + h - height)
        if w <= 0 or h <= 0:
            report.skip("box without size", where)
        elif x1 <= x0 or y1 <= y0:
            report.skip("box outside the image", where)
        elif min(x1 - x0, y1 - y0) < min_side_px:
            report.skip(f"box under {min_side_px:g} px a side", where)
        else:
            if over > _BORDER_SLACK_PX and report.strict:
                report.skip("box reaches over the border", where)
            kept.append((x0, y0, x1 - x0, y1 - y0))
    return np.asarray(kept, np.float32).reshape(-1, 4)
