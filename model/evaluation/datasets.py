"""Data sets by name: `read_dataset("DTB70", root)` yields its sequences."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from model.errors import InputError
from model.evaluation import attributes, layouts
from model.evaluation.box_files import Float64, read_boxes, read_lines
from model.evaluation.errors import DataFileError, LengthError
from model.evaluation.layouts import Entry
from model.evaluation.sequences import (
    DAY,
    NIGHT,
    ImageFrames,
    Sequence,
    check_unique,
    find_video_sequences,
)


@dataclass(frozen=True)
class DataSet:
    """What is known of a set.

    Attributes:
        name: as its authors write it.
        entries: lists the files of its sequences below a folder.
        flags: names of attributes by number of columns, for a set released in several forms.
        night: recorded at night.
        test: its figures are published as results: selecting on it spoils them.
        loose: has pictures without a box, or folders of pictures of other sets.
    """

    name: str
    entries: Callable[[Path], list[Entry]]
    flags: tuple[tuple[str, ...], ...] = ()
    night: bool = False
    test: bool = True
    loose: bool = False


_NIGHT_FLAGS = (attributes.MMOT5, attributes.NAT12)
_ALL = (
    DataSet("UAVDark135", layouts.flat, _NIGHT_FLAGS, night=True),
    DataSet("DarkTrack2021", layouts.flat, _NIGHT_FLAGS, night=True),
    DataSet("NAT2021-train", layouts.flat, _NIGHT_FLAGS, night=True, test=False),
    DataSet("NAT2021-test", layouts.flat, _NIGHT_FLAGS, night=True),
    DataSet("NAT2021L", layouts.flat, _NIGHT_FLAGS, night=True),
    DataSet("UAVDark70", layouts.flat, _NIGHT_FLAGS, night=True),
    DataSet(
        "UAV123",
        partial(layouts.uav123, anno="UAV123", pictures="UAV123"),
        (attributes.UAV12,),
        loose=True,
    ),
    DataSet(
        "UAV20L",
        partial(layouts.uav123, anno="UAV20L", pictures="UAV123"),
        (attributes.UAV12,),
        loose=True,
    ),
    DataSet(
        "UAV123@10fps",
        partial(layouts.uav123, anno="UAV123_10fps", pictures="UAV123_10fps"),
        (attributes.UAV12,),
        loose=True,
    ),
    DataSet("DTB70", layouts.folder_each, (attributes.DTB11,)),
    DataSet("UAVDT", layouts.uavdt, (attributes.UAVDT9,)),
    DataSet("OTB100", layouts.folder_each, (attributes.OTB11,), loose=True),
    DataSet("LaSOT", layouts.lasot, (attributes.LASOT14,)),
    DataSet("GOT-10k", layouts.got10k, (attributes.GOT3,)),
    DataSet("VisDrone-SOT", layouts.visdrone, (attributes.VISDRONE12,)),
)
VIDEOS = "videos"
"""Name of the plain layout: folders with a video and groundtruth.txt."""


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


DATASETS = {_key(data_set.name): data_set for data_set in _ALL}


def find_dataset(name: str) -> DataSet:
    """Find a set by name; case and punctuation do not count.

    Raises:
        InputError: no such set.
    """
    if _key(name) not in DATASETS:
        known = ", ".join([VIDEOS, *(d.name for d in _ALL)])
        raise InputError(f"data set {name!r} is unknown: expected one of {known}")
    return DATASETS[_key(name)]


def is_plain(name: str) -> bool:
    """Tell whether a name means the plain layout, `VIDEOS`."""
    return _key(name) == VIDEOS


def is_test_set(name: str) -> bool:
    """Tell whether a name is that of a set kept for testing."""
    found = DATASETS.get(_key(name))
    return found is not None and found.test


def read_dataset(name: str, root: Path) -> list[Sequence]:
    """Read every sequence of a set.

    Raises:
        InputError: the set is unknown, a file is missing or malformed.
    """
    if is_plain(name):
        return check_unique(find_video_sequences(root))
    data_set = find_dataset(name)
    entries = data_set.entries(root)
    if not entries:
        raise DataFileError(root, f"sequences of {data_set.name}", "none")
    return check_unique([read_entry(entry, data_set) for entry in entries])


def read_entry(entry: Entry, data_set: DataSet) -> Sequence:
    """Read one sequence.

    Raises:
        DataFileError: a file is missing or malformed, or there are fewer pictures than boxes.
    """
    pictures = list_pictures(entry.pictures)
    truth = read_boxes(entry.truth)
    if len(truth) == 1 and len(pictures) > 1:  # GOT-10k's test split gives the first box alone
        truth = np.vstack([truth, np.full((len(pictures) - 1, 4), np.nan)])
    truth = mark_absent(truth, entry)
    start = entry.start - 1 if len(pictures) > len(truth) else 0
    chosen = pictures[start : start + len(truth)]
    if len(chosen) < len(truth):
        expected = f"{len(truth)} pictures from number {start + 1} on, one a box of {entry.truth}"
        raise LengthError(entry.pictures, expected, f"{len(chosen)}")
    flags: frozenset[str] = frozenset()
    if entry.attributes is not None and data_set.flags:
        flags = _read_flags(entry.attributes, data_set)
    if entry.labels is not None:
        flags = attributes.read_frame_labels(entry.labels, len(truth))
    condition = NIGHT if data_set.night else DAY
    frames = ImageFrames(entry.pictures, tuple(chosen))
    return Sequence(entry.name, data_set.name, frames, truth, flags, condition, entry.truth)


def mark_absent(truth: Float64, entry: Entry) -> Float64:
    """Write NaN where a flag says that the target cannot be seen; the first box stays.

    Raises:
        LengthError: flags and boxes are not as many.
    """
    for path in entry.absent:
        flags = attributes.read_flags(path)
        if len(flags) != len(truth):
            raise LengthError(
                path, f"{len(truth)} flags, one a box of {entry.truth}", str(len(flags))
            )
        flags[0] = False
        truth = np.where(flags[:, None], np.nan, truth)
    return truth


def list_pictures(folder: Path) -> list[Path]:
    """Pictures of a folder by the number in their names.

    Raises:
        DataFileError: there is no such folder or no picture in it.
    """
    if not folder.is_dir():
        raise DataFileError(folder, "a folder of pictures", "nothing")
    found = [p for p in folder.iterdir() if p.suffix.lower() in layouts.PICTURE_SUFFIXES]
    if not found:
        raise DataFileError(folder, "pictures", "none")
    return sorted(found, key=lambda path: (picture_number(path.stem), path.name))


def picture_number(stem: str) -> int:
    """The last number in a file's name; −1 without one."""
    digits = re.findall(r"\d+", stem)
    return int(digits[-1]) if digits else -1


def read_flags_of(folder: Path, sequence: str, data_set: DataSet) -> frozenset[str]:
    """Read a sequence's flags from a folder of flag files; empty where there is none."""
    for suffix in ("", "_att", "_attr"):
        path = folder / f"{sequence}{suffix}.txt"
        if path.is_file() and data_set.flags:
            return _read_flags(path, data_set)
    return frozenset()


def _read_flags(path: Path, data_set: DataSet) -> frozenset[str]:
    """Read flags with the names whose number fits; the first names where none does."""
    lines = read_lines(path)
    count = len(lines[0].replace(",", " ").split()) if lines else 0
    fitting = [names for names in data_set.flags if len(names) == count]
    return attributes.read_attributes(path, (fitting or list(data_set.flags))[0])
