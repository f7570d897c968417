"""Ground truth beside a video: one box a line."""

from __future__ import annotations

import math
import re
from pathlib import Path

from drone.errors import SourceError
from drone.frame import TruthBox

TRUTH_FILE = "groundtruth.txt"
TARGET = "target"
"""Name of the one target that such a file describes."""


def read_truth(path: Path) -> list[TruthBox | None]:
    """Read boxes x, y, w, h in px, separated by commas, spaces or tabs, one line a frame.

    A box with `nan`, or of no width or height, is an absent target: None.

    Raises:
        SourceError: the file cannot be read, or a line does not hold four numbers.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot read the ground truth: {error}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return [_parse_line(line, f"{path}, line {n}") for n, line in enumerate(lines, 1)]


def truth_beside(media: Path) -> list[TruthBox | None]:
    """Read `groundtruth.txt` in the folder of a video, or in an image folder; [] without one."""
    path = (media if media.is_dir() else media.parent) / TRUTH_FILE
    return read_truth(path) if path.is_file() else []


def truth_of(boxes: list[TruthBox | None], number: int) -> dict[str, TruthBox | None]:
    """Give the truth of one frame; {} where the file has no line for it."""
    return {TARGET: boxes[number]} if number < len(boxes) else {}


def _parse_line(line: str, where: str) -> TruthBox | None:
    try:
        x, y, w, h = (float(v) for v in re.split(r"[,\s]+", line.strip().strip(",")))
    except ValueError as error:
        raise SourceError(
            f"{where}: {line.strip()[:60]!r} is not a box: expected x,y,w,h in px, or "
            "nan,nan,nan,nan where the target is absent"
        ) from error
    if not all(math.isfinite(v) for v in (x, y, w, h)) or w <= 0 or h <= 0:
        return None
    return (x, y, w, h)
