"""Results made elsewhere, and annotations without pictures: scoring what is published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.evaluation.box_files import read_boxes
from model.evaluation.datasets import find_dataset, read_flags_of
from model.evaluation.errors import DataFileError, LengthError
from model.evaluation.metrics import Convention, score_sequence
from model.evaluation.result_formats import check_names, find_format, read_result, result_file
from model.evaluation.runs import TrackRun
from model.evaluation.sequences import DAY, NIGHT, Sequence
from model.evaluation.table import ScoredRun
from model.geometry import Image


@dataclass(frozen=True)
class NoFrames:
    """Stands where pictures are not at hand."""

    source: Path

    def __iter__(self) -> Iterator[Image]:
        """Yield nothing."""
        return iter(())


def read_annotations(folder: Path, set_name: str | None = None) -> list[Sequence]:
    """Read `<seq>.txt` (or `<seq>_gt.txt`) boxes, and `att/` beside them where the set is named.

    Raises:
        DataFileError: there is none, or one is malformed.
    """
    if not folder.is_dir():
        raise DataFileError(folder, "a folder of annotations", "nothing")
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise DataFileError(folder, "annotations (<sequence>.txt)", "none")
    data_set = find_dataset(set_name) if set_name else None
    sequences = []
    for path in paths:
        name = path.stem.removesuffix("_gt")
        flags = read_flags_of(folder / "att", name, data_set) if data_set else frozenset()
        condition = NIGHT if data_set and data_set.night else DAY
        label = data_set.name if data_set else folder.resolve().parent.name
        truth = read_boxes(path)
        sequences.append(Sequence(name, label, NoFrames(path), truth, flags, condition, path))
    return sequences


def score_foreign(
    tracker: str,
    folder: Path,
    sequences: list[Sequence],
    convention: Convention = Convention.PYSOT,
    pad: bool = False,
) -> list[ScoredRun]:
    """Score a tracker's folder of results in any of the known formats.

    Raises:
        DataFileError: a result is missing, of another name, malformed or of another length.
    """
    kind = find_format(folder)
    check_names(folder, [s.name for s in sequences])
    scored = []
    for sequence in sequences:
        result = read_result(kind, folder, sequence.name)
        count = len(result.boxes)
        if count != len(sequence) and not pad:
            path = result_file(kind, folder, sequence.name)
            raise LengthError(path, f"{len(sequence)} boxes, one a frame", f"{count}")
        times = result.times_s if result.times_s is not None else np.full(count, np.nan)
        run = TrackRun(result.boxes, times, np.full(count, np.nan), "unknown", "unknown")
        score = score_sequence(sequence.truth, result.boxes, convention, pad)
        scored.append(ScoredRun(tracker, sequence, run, score))
    return scored
