"""Reading of `annotations.json`: images with any number of boxes each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.errors import InputError

Boxes = npt.NDArray[np.float32]
"""(N, 4) x, y, w, h; 0-based px of the image."""

_MOST_PX = 1e9


def read_annotations(path: Path) -> list[tuple[str, Boxes]]:
    """The file's name and the boxes of each entry of an `annotations.json`.

    Raises:
        InputError: the file cannot be read, or an entry holds no name or no list of boxes.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON text: {error}") from error
    if not isinstance(entries, list):
        raise InputError(f"{path} does not hold a list: expected a list of {{file, size, boxes}}")
    return [_read_entry(entry, f"{path} entry {n}") for n, entry in enumerate(entries, 1)]


def _read_entry(entry: object, where: str) -> tuple[str, Boxes]:
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        raise InputError(f"{where} is {str(entry)[:60]}: expected {{file, size, boxes}}")
    boxes = entry.get("boxes")
    if not isinstance(boxes, list) or not all(_is_box(box) for box in boxes):
        raise InputError(
            f"{where} ({entry['file']}): boxes are {str(boxes)[:60]}: expected a list of boxes, "
            "[[x, y, w, h]] for one and [] for none"
        )
    return entry["file"], np.asarray(boxes, np.float32).reshape(-1, 4)


def _is_box(value: object) -> bool:
    """Whether it is a list of four numbers that float32 can hold (NaN: an absent target)."""
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(type(v) in (int, float) and not abs(v) > _MOST_PX for v in value)
    )
