"""Text files with one box, or one row of numbers, a line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.evaluation.errors import DataFileError

Float64 = npt.NDArray[np.float64]

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?nan", re.IGNORECASE)


def read_lines(path: Path) -> list[str]:
    """Lines of a text file; empty ones at the end are dropped.

    Raises:
        DataFileError: the file is missing, a folder, or no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataFileError(path, "a text file", "nothing") from None
    except IsADirectoryError:
        raise DataFileError(path, "a text file", "a folder") from None
    except UnicodeDecodeError as error:
        raise DataFileError(path, "UTF-8 text", f"a byte that is none ({error.reason})") from None
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def separator_of(line: str) -> str:
    """Name of the separator of a row: `comma`, `semicolon` or `space` (spaces and tabs)."""
    for mark, name in ((",", "comma"), (";", "semicolon")):
        if mark in line:
            return name
    return "space"


def split_row(line: str, separator: str) -> list[str]:
    """Cut a row at its separator; spaces around values do not count."""
    if separator == "space":
        return line.split()
    mark = {"comma": ",", "semicolon": ";"}[separator]
    return [value.strip() for value in line.strip().split(mark)]


def parse_rows(
    lines: Sequence[str], path: Path, columns: int | None, first_line: int = 1
) -> Float64:
    """Turn text rows into numbers.

    Args:
        lines: the rows.
        path: named in errors.
        columns: numbers a row holds; None takes the first row's count.
        first_line: number of the first row in its file.

    Returns:
        (N, columns) float64; NaN where the file says nan.

    Raises:
        DataFileError: a row is empty, has another separator than the first one, another number of
            values, or a value that is no number.
    """
    if not lines:
        raise DataFileError(path, "at least one row of numbers", "an empty file")
    separator = separator_of(lines[0].strip())
    rows = []
    for number, line in enumerate(lines, start=first_line):
        if not line.strip():
            raise DataFileError(path, "a row of numbers", "an empty line", number)
        values = split_row(line, separator)
        columns = len(values) if columns is None else columns
        if len(values) != columns or not all(_NUMBER.fullmatch(value) for value in values):
            raise _row_error(path, number, line, values, separator, columns)
        rows.append([float(value) for value in values])
        if any(math.isinf(value) for value in rows[-1]):
            raise DataFileError(path, "finite numbers", repr(line.strip()[:60]), number)
    return np.asarray(rows, np.float64)


def _row_error(
    path: Path, number: int, line: str, values: list[str], separator: str, columns: int
) -> DataFileError:
    """Say what is wrong with a row: mixed separators, text, or another number of values."""
    shown = repr(line.strip()[:60])
    mixed = any(not _NUMBER.fullmatch(value) and _is_mixed(value) for value in values)
    if separator_of(line) != separator or mixed:
        expected = f"one separator, {separator} as in the first line"
        return DataFileError(path, expected, f"another or several in {shown}", number)
    odd = [value for value in values if not _NUMBER.fullmatch(value)]
    if odd:
        return DataFileError(path, "numbers", repr(odd[0][:40]), number)
    return DataFileError(path, f"{columns} values", f"{len(values)} in {shown}", number)


def _is_mixed(value: str) -> bool:
    """Tell whether a value is really several numbers with another separator between."""
    parts = re.split(r"[\s,;]+", value)
    return len(parts) > 1 and all(_NUMBER.fullmatch(part) for part in parts)


def read_rows(path: Path, columns: int | None = None) -> Float64:
    """Read a file of number rows, none of them infinite; see `parse_rows`."""
    lines = read_lines(path)
    try:
        # The common case, ten times faster than the careful way; anything odd falls through.
        if lines and all("," in line for line in lines):
            table = np.loadtxt(lines, np.float64, comments=None, delimiter=",", ndmin=2)
            fits = len(table) == len(lines) and columns in (None, table.shape[1])
            if fits and not np.isinf(table).any():
                return table
    except ValueError:
        pass
    return parse_rows(lines, path, columns)


def read_boxes(path: Path) -> Float64:
    """Read boxes, one x, y, w, h a line: (N, 4) float64 px; NaN where the target is absent.

    Eight values a line are the corners of a quadrilateral (VOT); its bounding box is taken.

    Raises:
        DataFileError: see `parse_rows`.
    """
    table = read_rows(path)
    if table.shape[1] == 8:
        xs, ys = table[:, 0::2], table[:, 1::2]
        left, top = xs.min(axis=1), ys.min(axis=1)
        return np.stack([left, top, xs.max(axis=1) - left, ys.max(axis=1) - top], axis=1)
    if table.shape[1] != 4:
        raise DataFileError(path, "4 values x, y, w, h", f"{table.shape[1]}", 1)
    return table


def format_row(values: Iterable[float], decimals: int, separator: str = ",") -> str:
    """One row of text; whole numbers keep no decimals they do not need when `decimals` is 0."""
    return separator.join(f"{value:.{decimals}f}" for value in values)


def write_boxes(path: Path, boxes: Float64, decimals: int = 4, separator: str = ",") -> None:
    """Write boxes, one a line, replacing the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(format_row(box, decimals, separator) + "\n" for box in boxes)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
