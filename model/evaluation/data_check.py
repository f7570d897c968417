"""Looks a data set over: what is missing, what is odd, and whether it is the one that is known."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.evaluation.box_files import Float64
from model.evaluation.datasets import find_dataset, is_plain, read_entry
from model.evaluation.errors import DataFileError
from model.evaluation.sequences import (
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
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError:
        raise DataFileError(path, "a CSV file of known sequences", "nothing") from None
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
    loaders = list_loaders(name, root)
    findings: list[Finding] = []
    for done, (sequence_name, load) in enumerate(loaders.items(), start=1):
        findings.extend(_check_one(sequence_name, load, (known or {}).get(sequence_name)))
        if progress is not None:
            progress(done, len(loaders))
    if known is not None:
        findings.extend(_compare_names(set(loaders), known, name))
    return len(loaders), findings


def list_loaders(name: str, root: Path) -> dict[str, Load]:
    """What reads each sequence of a set, by its name.

    Raises:
        InputError: the set is unknown, or nothing of it is below `root`.
    """
    if is_plain(name):
        return {
            f"{folder.parent.name}/{folder.name}": partial(read_video_sequence, folder)
            for folder in video_folders(root)
        }
    data_set = find_dataset(name)
    entries = data_set.entries(root)
    if not entries:
        raise DataFileError(root, f"sequences of {data_set.name}", "none")
    return {entry.name: partial(read_entry, entry, data_set) for entry in entries}


def _check_one(name: str, load: Load, known: Known | None) -> Iterator[Finding]:
    try:
        sequence = load()
    except DataFileError as error:
        yield Finding("missing", name, str(error))
        return
    yield from check_sequence(sequence)
    if isinstance(sequence.frames, VideoFrames):
        yield from check_video_length(sequence)
    if known is not None:
        yield from compare_known(sequence, known)


def check_video_length(sequence: Sequence) -> Iterator[Finding]:
    """Decode a video and compare its length with the boxes."""
    try:
        count = sum(1 for _ in sequence.frames)
    except DataFileError:
        return  # told already: the first frame cannot be read
    if count < len(sequence):
        text = f"{count} frames decode: expected {len(sequence)}, one a box"
        yield Finding("missing", sequence.name, text)
    elif count > len(sequence):
        text = f"{count} frames decode, {len(sequence)} are annotated: the rest is not used"
        yield Finding("odd", sequence.name, text)


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
        image = next(iter(sequence.frames))
    except DataFileError as error:
        yield Finding("missing", sequence.name, str(error))
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
    numbers = [str(i + 1) for i in np.flatnonzero(mask)]
    shown = ", ".join(numbers[:5]) + (f" … ({len(numbers)} in all)" if len(numbers) > 5 else "")
    return f"line {shown}"
