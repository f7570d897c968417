"""Where the results of a run lie, and whether they are finished.

`<out>/<set>/<tracker>/<sequence>.txt` holds the boxes as PySOT's toolkit expects them; beside
them `times/` (seconds of each update), `scores/` and `meta/`. The meta file is written last: a
sequence that has one whose fingerprint fits is finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.evaluation.box_files import Float64, read_boxes, read_rows, write_boxes
from model.evaluation.darkened import DarkenedFrames
from model.evaluation.errors import DataFileError
from model.evaluation.peers import TrackerSpec
from model.evaluation.sequences import Sequence


@dataclass(frozen=True)
class TrackRun:
    """One tracker's answers over one sequence.

    Attributes:
        boxes: (N, 4) x, y, w, h px, the first being the given box.
        times_s: (N,) seconds of `init` (first) and of each `update`; decoding not counted.
        scores: (N,) score of each answer; NaN where the tracker has none.
        engine: what computed.
        machine: where.
    """

    boxes: Float64
    times_s: Float64
    scores: Float64
    engine: str
    machine: str

    @property
    def fps(self) -> float:
        """Updates a second, `init` not counted; NaN for a single frame."""
        total = float(self.times_s[1:].sum())
        return (len(self.times_s) - 1) / total if total > 0 else float("nan")


def set_folder(sequence: Sequence) -> str:
    """Name of the set's folder; a darkened set is another set."""
    if isinstance(sequence.frames, DarkenedFrames):
        return f"{sequence.dataset}.night{sequence.frames.seed}"
    return sequence.dataset


def result_path(out: Path, sequence: Sequence, tracker: str) -> Path:
    """The text file of boxes."""
    return out / set_folder(sequence) / tracker / f"{sequence.name}.txt"


def _beside(path: Path, kind: str, suffix: str) -> Path:
    return path.parent / kind / (path.stem + suffix)


def tracker_fingerprint(spec: TrackerSpec) -> str:
    """Digest of what decides a tracker's answers: its kind, its files and its configuration."""
    digest = hashlib.sha256(repr((spec.kind, spec.command, spec.config)).encode())
    if spec.path is not None:
        files = sorted(spec.path.rglob("*")) if spec.path.is_dir() else [spec.path]
        for file in files:
            if file.is_file():
                digest.update(file.name.encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def sequence_fingerprint(sequence: Sequence) -> str:
    """Digest of what decides a sequence: its boxes and, if darkened, its first dark frame."""
    digest = hashlib.sha256(np.ascontiguousarray(sequence.truth).tobytes())
    if isinstance(sequence.frames, DarkenedFrames):
        digest.update(repr(sequence.frames.scene).encode())
        first = next(iter(sequence.frames), None)
        if first is not None:
            digest.update(first.tobytes())
    return digest.hexdigest()[:16]


def is_finished(out: Path, sequence: Sequence, tracker: str, fingerprint: str) -> bool:
    """Tell whether a result with this fingerprint is there."""
    path = result_path(out, sequence, tracker)
    try:
        meta = json.loads(_beside(path, "meta", ".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    told = meta.get("fingerprint") if isinstance(meta, dict) else None
    return path.is_file() and told == fingerprint


def write_run(
    out: Path, sequence: Sequence, tracker: str, run: TrackRun, extra: Mapping[str, Any]
) -> None:
    """Write one result; `extra` goes into the meta file, which comes last."""
    path = result_path(out, sequence, tracker)
    write_boxes(path, run.boxes)
    write_boxes(_beside(path, "times", ".txt"), run.times_s[:, None], decimals=7)
    write_boxes(_beside(path, "scores", ".txt"), run.scores[:, None], decimals=5)
    values = asdict(run)
    meta = {
        "tracker": tracker,
        "dataset": sequence.dataset,
        "sequence": sequence.name,
        "condition": sequence.condition,
        "frames": len(run.boxes),
        "fps": round(run.fps, 2),
        "engine": values["engine"],
        "machine": values["machine"],
        **extra,
    }
    place = _beside(path, "meta", ".json")
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    part.write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    part.replace(place)


def read_run(out: Path, sequence: Sequence, tracker: str) -> TrackRun:
    """Read one result; times, scores and meta may be missing (results made elsewhere).

    Raises:
        DataFileError: the boxes are missing or malformed.
    """
    path = result_path(out, sequence, tracker)
    boxes = read_boxes(path)
    meta: dict[str, Any] = {}
    place = _beside(path, "meta", ".json")
    if place.is_file():
        try:
            meta = json.loads(place.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataFileError(place, "JSON", str(error)) from None
        if not isinstance(meta, dict):
            raise DataFileError(place, "a JSON object", type(meta).__name__)
    return TrackRun(
        boxes,
        _column(_beside(path, "times", ".txt"), len(boxes)),
        _column(_beside(path, "scores", ".txt"), len(boxes)),
        str(meta.get("engine", "unknown")),
        str(meta.get("machine", "unknown")),
    )


def _column(path: Path, length: int) -> Float64:
    if not path.is_file():
        return np.full(length, np.nan)
    values = read_rows(path, 1)[:, 0]
    if len(values) != length:
        raise DataFileError(path, f"{length} values, one a frame", str(len(values)))
    return values
