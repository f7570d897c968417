"""Results as other toolkits write and read them.

| format | layout below the folder of one tracker | values |
| --- | --- | --- |
| `pysot` | `<seq>.txt` | x,y,w,h with decimals |
| `got10k` | `<seq>/<seq>_001.txt` and `<seq>/<seq>_time.txt` | x,y,w,h with 3 decimals; seconds |
| `pytracking` | `<seq>.txt` and `<seq>_time.txt` | tab-separated whole numbers; seconds |
| `matlab` | `<seq>.mat` or `<seq>_<tracker>.mat` | struct `results`, see `mat_files` |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.errors import InputError
from model.evaluation.box_files import Float64, read_boxes, read_lines, read_rows, write_boxes
from model.evaluation.errors import DataFileError
from model.evaluation.mat_files import read_mat, write_mat

FORMATS = ("pysot", "got10k", "pytracking", "matlab")


@dataclass(frozen=True)
class Result:
    """A tracker's answers over one sequence.

    Attributes:
        boxes: (N, 4) x, y, w, h px, 0-based.
        times_s: (N,) seconds a frame; None where the format or the run kept none.
    """

    boxes: Float64
    times_s: Float64 | None = None


def check_format(name: str) -> str:
    """Refuse an unknown format.

    Raises:
        InputError: not one of `FORMATS`.
    """
    if name not in FORMATS:
        raise InputError(f"format {name!r}: expected one of {', '.join(FORMATS)}")
    return name


def write_result(name: str, folder: Path, sequence: str, result: Result) -> Path:
    """Write one sequence in a format.

    Args:
        name: one of `FORMATS`.
        folder: of the tracker.
        sequence: its name.
        result: what to write; pytracking's whole numbers are rounded.

    Returns:
        the file of boxes.
    """
    check_format(name)
    times = None if result.times_s is None else result.times_s[:, None]
    if name == "matlab":
        path = folder / f"{sequence}.mat"
        write_mat(path, result.boxes, result.times_s)
        return path
    if name == "got10k":
        path = folder / sequence / f"{sequence}_001.txt"
        write_boxes(path, result.boxes, decimals=3)
        if times is not None:
            write_boxes(path.with_name(f"{sequence}_time.txt"), times, decimals=8)
        return path
    path = folder / f"{sequence}.txt"
    if name == "pytracking":
        write_boxes(path, result.boxes, decimals=0, separator="\t")
        if times is not None:
            write_boxes(path.with_name(f"{sequence}_time.txt"), times, decimals=7)
    else:
        write_boxes(path, result.boxes)
    return path


def read_result(name: str, folder: Path, sequence: str) -> Result:
    """Read one sequence in a format.

    Raises:
        DataFileError: the file is missing or malformed.
    """
    path = result_file(name, folder, sequence)
    if name == "matlab":
        return Result(*read_mat(path))
    boxes = read_boxes(path)
    times = path.with_name(f"{sequence}_time.txt")
    ours = path.parent / "times" / f"{sequence}.txt"  # where `mlkd eval run` puts them
    return Result(boxes, _read_times(times if times.is_file() else ours, len(boxes)))


def result_file(name: str, folder: Path, sequence: str) -> Path:
    """The file of boxes of a sequence, there or not."""
    check_format(name)
    if name == "matlab":
        places = [folder / f"{sequence}.mat", *sorted(folder.glob(f"{sequence}_*.mat"))]
        return next((p for p in places if p.is_file()), places[0])
    if name == "got10k":
        return folder / sequence / f"{sequence}_001.txt"
    return folder / f"{sequence}.txt"


def find_format(folder: Path) -> str:
    """Tell in which format a tracker's folder is, by its layout and its separators.

    Raises:
        DataFileError: in none that is known.
    """
    if not folder.is_dir():
        raise DataFileError(folder, "a tracker's folder of results", "nothing")
    if any(folder.glob("*.mat")):
        return "matlab"
    if any(folder.glob("*/*_001.txt")):
        return "got10k"
    texts = [p for p in sorted(folder.glob("*.txt")) if not p.stem.endswith("_time")]
    if not texts:
        raise DataFileError(folder, "results (*.txt, */*_001.txt or *.mat)", "none")
    first = read_lines(texts[0])[:1]
    return "pytracking" if first and "\t" in first[0] else "pysot"


def result_names(folder: Path) -> list[str]:
    """Names of the sequences in a tracker's folder, sorted; those of a MATLAB file are its stem."""
    name = find_format(folder)
    if name == "got10k":
        return sorted(p.parent.name for p in folder.glob("*/*_001.txt"))
    suffix = ".mat" if name == "matlab" else ".txt"
    stems = (p.stem for p in folder.glob(f"*{suffix}"))
    return sorted(stem for stem in stems if not stem.endswith("_time"))


def check_names(folder: Path, expected: list[str]) -> None:
    """Compare the sequences of a folder of results with those of a set.

    Raises:
        DataFileError: one is missing; what is there instead is named.
    """
    names = result_names(folder)
    missing = [n for n in expected if n not in names and not _has_prefix(names, n)]
    if missing:
        others = sorted(set(names) - set(expected))
        found = f"no {missing[0]!r} ({len(missing)} missing"
        found += f"; other names such as {others[0]!r})" if others else ")"
        raise DataFileError(folder, f"results of {len(expected)} sequences", found)


def _has_prefix(names: list[str], sequence: str) -> bool:
    return any(name.startswith(f"{sequence}_") for name in names)


def _read_times(path: Path, count: int) -> Float64 | None:
    if not path.is_file():
        return None
    rows = read_rows(path)
    times = rows[:, 0] if rows.shape[0] != 1 or count == 1 else rows[0]
    if len(times) != count:
        raise DataFileError(path, f"{count} times, one a frame", f"{len(times)}")
    return np.asarray(times, np.float64)
