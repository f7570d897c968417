"""Looks a data set over: what is missing, what is odd, and whether it is the one that is known."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Listing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.evaluation.box_files import Float64, read_lines
from model.evaluation.datasets import (
    find_dataset,
    is_plain,
    list_pictures,
    picture_number,
    read_entry,
)
from model.evaluation.errors import DataFileError
from model.evaluation.layouts import PICTURE_SUFFIXES, Entry
from model.evaluation.sequences import (
    VIDEO_SUFFIXES,
    ImageFrames,
    Sequence,
    VideoFrames,
    read_video_sequence,
    video_folders,
)

Mask = npt.NDArray[np.bool_]

FIRST_BOX_PX = 1.0
"""Published first boxes are rounded; more than this on any side is another annotation."""

Load = Callable[[], Sequence]

Progress = Callable[[int, int], None]
"""Called with sequences done and their total."""


@dataclass(frozen=True)
class Finding:
    """One thing wrong; `missing` files keep a sequence from being used, `odd` ones do not."""

    kind: str
    sequence: str
    text: str


@dataclass(frozen=True)
class Known:
    """What is published of a sequence: its length and first box."""

    frames: int
    first_box: tuple[float, float, float, float]


def read_known(path: Path) -> dict[str, Known]:
    """Read `sequence,frames,x,y,w,h` rows.

    Raises:
        DataFileError: the header or a row is another.
    """
    columns = ["sequence", "frames", "x", "y", "w", "h"]
    rows = list(csv.reader(read_lines(path)))
    if not rows or rows[0] != columns:
        raise DataFileError(path, ",".join(columns), ",".join(rows[0]) if rows else "nothing", 1)
    return dict(_known_row(path, number, row) for number, row in enumerate(rows[1:], start=2))


def _known_row(path: Path, number: int, row: list[str]) -> tuple[str, Known]:
    try:
        name, frames, *box = row
        x, y, w, h = (float(v) for v in box)
        return name, Known(int(frames), (x, y, w, h))
    except ValueError:
        raise DataFileError(path, "a name and five numbers", ",".join(row), number) from None


def check_dataset(
    name: str, root: Path, known: dict[str, Known] | None = None, progress: Progress | None = None
) -> tuple[int, list[Finding]]:
    """Check every sequence of a set.

    Returns:
        the number of sequences found, and the findings.

    Raises:
        InputError: the set is unknown, or nothing of it is below `root`.
    """
    if is_plain(name):
        folders = video_folders(root)
        loaders: list[tuple[str, Load]] = [
            (f"{f.resolve().parent.name}/{f.name}", partial(read_video_sequence, f))
            for f in folders
        ]
        left_over = unused_videos(root, folders)
        loose = False
    else:
        data_set = find_dataset(name)
        entries = data_set.entries(root)
        if not entries:
            raise DataFileError(root, f"sequences of {data_set.name}", "none")
        loaders = [(entry.name, partial(read_entry, entry, data_set)) for entry in entries]
        loose = data_set.loose
        left_over = [] if loose else unused_pictures(entries)
    findings: list[Finding] = []
    for done, (sequence_name, load) in enumerate(loaders, start=1):
        findings.extend(_check_one(sequence_name, load, (known or {}).get(sequence_name), loose))
        if progress is not None:
            progress(done, len(loaders))
    findings.extend(left_over)
    names = Counter(sequence_name for sequence_name, _ in loaders)
    for sequence_name in (n for n, count in names.items() if count > 1):
        text = f"{names[sequence_name]} sequences of this name: expected one"
        findings.append(Finding("missing", sequence_name, text))
    if known is not None:
        findings.extend(_compare_names(set(names), known, name))
    return len(loaders), findings


def unused_videos(root: Path, folders: Listing[Path]) -> list[Finding]:
    """Videos below `root` without boxes beside them."""
    videos = (p for p in sorted(root.rglob("*")) if p.suffix.lower() in VIDEO_SUFFIXES)
    return [
        Finding("odd", str(p.relative_to(root)), "a video without groundtruth.txt beside it")
        for p in videos
        if p.parent not in folders
    ]


def unused_pictures(entries: Listing[Entry]) -> list[Finding]:
    """Folders of pictures beside those of the sequences that no boxes belong to."""
    used = {entry.pictures for entry in entries}
    inner = {f.name for f in used} & {"img", "imgs"}
    findings = []
    for parent in sorted({f.parent.parent if f.name in inner else f.parent for f in used}):
        for folder in sorted(p for p in parent.iterdir() if p.is_dir()):
            places = [folder, *(folder / name for name in inner)]
            if not used & set(places) and any(_holds_pictures(p) for p in places):
                findings.append(Finding("odd", folder.name, f"{folder}: pictures without boxes"))
    return findings


def _holds_pictures(folder: Path) -> bool:
    return folder.is_dir() and any(p.suffix.lower() in PICTURE_SUFFIXES for p in folder.iterdir())


def _check_one(name: str, load: Load, known: Known | None, loose: bool) -> Iterator[Finding]:
    try:
        sequence = load()
    except DataFileError as error:
        yield Finding("missing", name, str(error))
        return
    yield from check_sequence(sequence)
    if isinstance(sequence.frames, VideoFrames):
        yield from check_video_length(sequence)
    if isinstance(sequence.frames, ImageFrames):
        yield from check_pictures(sequence.name, sequence.frames, loose)
    if known is not None:
        yield from compare_known(sequence, known)


def check_video_length(sequence: Sequence) -> Iterator[Finding]:
    """Decode a video and compare its length with the boxes."""
    try:
        count = sum(1 for _ in sequence.frames)
    except DataFileError:
        return  # told already: the first frame cannot be read
    if 0 < count < len(sequence):  # none at all is told already
        text = f"{count} frames decode: expected {len(sequence)}, one a box"
        yield Finding("missing", sequence.name, text)
    elif count > len(sequence):
        text = f"{count} frames decode, {len(sequence)} are annotated: the rest is not used"
        yield Finding("odd", sequence.name, text)


def check_pictures(name: str, frames: ImageFrames, loose: bool) -> Iterator[Finding]:
    """Look at the names and the first bytes of all pictures of a sequence.

    Args:
        name: of the sequence.
        frames: those that belong to boxes.
        loose: more pictures than boxes are no finding.
    """
    broken = [str(p) for p in frames.paths if not _looks_like_picture(p)]
    if broken:
        yield Finding("missing", name, f"{_some(broken)}: expected a picture, found something else")
    numbers = [picture_number(p.stem) for p in frames.paths]
    pairs = list(itertools.pairwise(numbers))
    step = min((b - a for a, b in pairs), default=1)  # a set may keep every third number
    gaps = [str(a + step) for a, b in pairs if b != a + step]
    if gaps:
        yield Finding("odd", name, f"the numbers of the pictures have gaps at {_some(gaps)}")
    surplus = len(list_pictures(frames.source)) - len(frames.paths)
    if surplus and not loose:
        yield Finding("odd", name, f"{surplus} more pictures than boxes: the rest is not used")


_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")
"""First bytes of JPEG, PNG and BMP."""


def _looks_like_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8).startswith(_SIGNATURES)


def _some(names: Listing[str]) -> str:
    return ", ".join(names[:5]) + (f" … ({len(names)} in all)" if len(names) > 5 else "")


def check_sequence(sequence: Sequence) -> Iterator[Finding]:
    """Look at the boxes and at the first picture."""
    truth = sequence.truth
    seen = ~np.isnan(truth).any(axis=1)
    try:
        box = sequence.first_box
    except DataFileError as error:
        yield Finding("missing", sequence.name, str(error))
        return
    unknown = np.isnan(truth)
    part = np.logical_and(unknown.any(axis=1), ~unknown.all(axis=1))
    if part.any():
        yield Finding("odd", sequence.name, f"{_lines(part)}: some of the four values are NaN")
    named = np.asarray((truth != 0).any(axis=1), np.bool_)  # a row of zeros means absent
    thin = seen & ((truth[:, 2] <= 0) | (truth[:, 3] <= 0)) & named
    if thin.any():
        yield Finding("odd", sequence.name, f"{_lines(thin)}: width or height of 0 or below")
    try:
        image = next(iter(sequence.frames), None)
    except DataFileError as error:
        yield Finding("missing", sequence.name, str(error))
        return
    if image is None:
        text = f"{sequence.frames.source}: expected {len(sequence)} frames, found none"
        yield Finding("missing", sequence.name, text)
        return
    height, width = image.shape[:2]
    if box.x >= width or box.y >= height or box.x + box.w <= 0 or box.y + box.h <= 0:
        text = f"the first box {tuple(box)} lies outside the {width} x {height} px picture"
        yield Finding("odd", sequence.name, text)
    outside = seen & named & _outside(truth, width, height)
    if outside.any():
        yield Finding("odd", sequence.name, f"{_lines(outside)}: boxes wholly outside the picture")


def compare_known(sequence: Sequence, known: Known) -> Iterator[Finding]:
    """Compare with what is published."""
    if len(sequence) != known.frames:
        text = f"{len(sequence)} frames: expected {known.frames}"
        yield Finding("odd", sequence.name, text)
    off_px = np.abs(sequence.truth[0] - np.array(known.first_box)).max()
    if not off_px <= FIRST_BOX_PX:
        found = ",".join(f"{v:g}" for v in sequence.truth[0])
        expected = ",".join(f"{v:g}" for v in known.first_box)
        yield Finding("odd", sequence.name, f"first box {found}: expected {expected}")


def _compare_names(names: set[str], known: dict[str, Known], set_name: str) -> Iterator[Finding]:
    for name in sorted(set(known) - names):
        yield Finding("missing", name, f"a sequence of {set_name} that is not here")
    for name in sorted(names - set(known)):
        yield Finding("odd", name, f"not among the {len(known)} known sequences of {set_name}")


def _outside(truth: Float64, width: int, height: int) -> Mask:
    right, bottom = truth[:, 0] + truth[:, 2], truth[:, 1] + truth[:, 3]
    return (truth[:, 0] >= width) | (truth[:, 1] >= height) | (right <= 0) | (bottom <= 0)


def _lines(mask: Mask) -> str:
    return f"line {_some([str(i + 1) for i in np.flatnonzero(mask)])}"
