"""Attributes: the challenges that the authors of a set flagged for each sequence."""

from __future__ import annotations

from collections.abc import Sequence as Listing
from pathlib import Path

import numpy as np

from model.evaluation.box_files import read_lines, read_rows, split_row
from model.evaluation.errors import DataFileError, LengthError

UAV12 = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")
NAT12 = ("ARC", "BC", "CM", "FM", "FOC", "IV", "LAI", "OV", "POC", "SV", "SOB", "VC")
MMOT5 = ("VC", "FM", "LR", "OCC", "IV")
DTB11 = ("SV", "ARV", "OCC", "DEF", "FCM", "IPR", "OPR", "OV", "BC", "SOA", "MB")
UAVDT9 = ("BC", "CR", "OR", "SO", "IV", "OB", "SV", "LO", "LT")
OTB11 = ("IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR")
LASOT14 = (
    *("IV", "POC", "DEF", "MB", "CM", "ROT", "BC"),
    *("VC", "SV", "FOC", "FM", "OV", "LR", "ARC"),
)
GOT3 = ("ABS", "COV", "CUT")
VISDRONE12 = ("ARC", "BC", "CM", "FM", "FOC", "IV", "LR", "OV", "POC", "SOB", "SV", "VC")

GOT_LABELS = {
    "ABS": ("absence.label", 0),
    "COV": ("cover.label", 8),
    "CUT": ("cut_by_image.label", 0),
}
"""Of each of `GOT3` the file of frames, and the value that a frame without it has."""

MEANINGS = {
    "ABS": "absent in some frames",
    "ARC": "aspect ratio change",
    "ARV": "aspect ratio variation",
    "BC": "background clutter",
    "CM": "camera motion",
    "COV": "covered in some frames",
    "CR": "camera rotation",
    "CUT": "cut by the picture in some frames",
    "DEF": "deformation",
    "FCM": "fast camera motion",
    "FM": "fast motion",
    "FOC": "full occlusion",
    "IPR": "in-plane rotation",
    "IV": "illumination variation",
    "LAI": "low ambient illumination",
    "LO": "large occlusion",
    "LR": "low resolution",
    "LT": "long-term",
    "MB": "motion blur",
    "OB": "object blur",
    "OCC": "occlusion",
    "OPR": "out-of-plane rotation",
    "OR": "object rotation",
    "OV": "out of view",
    "POC": "partial occlusion",
    "ROT": "rotation",
    "SO": "small object",
    "SOA": "similar objects around",
    "SOB": "similar object",
    "SV": "scale variation",
    "VC": "viewpoint change",
}


def read_attributes(path: Path, names: Listing[str]) -> frozenset[str]:
    """Read one line of 0 and 1, one column an attribute.

    Raises:
        DataFileError: the columns are not as many as `names`, or a value is neither 0 nor 1.
    """
    lines = read_lines(path)
    if len(lines) != 1:
        raise DataFileError(path, "one line of flags", f"{len(lines)} lines")
    values = split_row(lines[0], "comma" if "," in lines[0] else "space")
    if len(values) != len(names):
        expected = f"{len(names)} columns {','.join(names)}"
        raise DataFileError(path, expected, f"{len(values)}", 1)
    for name, value in zip(names, values, strict=True):
        if value not in ("0", "1"):
            raise DataFileError(path, f"0 or 1 for {name}", repr(value[:20]), 1)
    return frozenset(name for name, value in zip(names, values, strict=True) if value == "1")


def read_names(path: Path) -> frozenset[str]:
    """Read names of attributes, as `SV, OCC`, with commas or spaces between.

    Raises:
        DataFileError: a name is not among `MEANINGS`.
    """
    names = set()
    for number, line in enumerate(read_lines(path), start=1):
        for name in line.replace(",", " ").split():
            if name not in MEANINGS:
                raise DataFileError(path, f"some of {', '.join(MEANINGS)}", repr(name[:20]), number)
            names.add(name)
    return frozenset(names)


def read_frame_labels(folder: Path, frames: int) -> frozenset[str]:
    """Read GOT-10k's labels of frames: a sequence has what any of its frames has.

    Raises:
        LengthError: labels and frames are not as many.
        DataFileError: a label is no number.
    """
    found = set()
    for name, (file, usual) in GOT_LABELS.items():
        path = folder / file
        if not path.is_file():
            continue
        values = read_rows(path, 1)[:, 0]
        if len(values) != frames:
            raise LengthError(path, f"{frames} labels, one a frame", str(len(values)))
        if (values != usual).any():
            found.add(name)
    return frozenset(found)


def read_flags(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Read flags of frames, comma-separated on one line or one a line: (N,) bool.

    Raises:
        DataFileError: a value is neither 0 nor 1.
    """
    flags = []
    for number, line in enumerate(read_lines(path), start=1):
        for value in line.replace(",", " ").split():
            if value not in ("0", "1"):
                raise DataFileError(path, "0 or 1", repr(value[:20]), number)
            flags.append(value == "1")
    return np.asarray(flags, np.bool_)
