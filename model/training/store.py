"""The crop store: every target of the training data cut out once, uint8, in one mapped file.

Decoding video and cutting large images costs far more than a training sample may. A crop holds
the target and four times its surroundings and is never enlarged, so that small targets cost
little and keep their own resolution. Worker processes share the file through the page cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.config import TrackerConfig
from model.crop import crop_region, mean_colour, place_region, template_side_px
from model.errors import InputError
from model.geometry import Image
from model.training.config import SourceConfig, TrainConfig
from model.training.sources import (
    TRUTH_FILES,
    VIDEO_SUFFIXES,
    DataReport,
    SourceFrame,
    iter_source,
)

STORED_PX = 511
"""Side of a crop of a target of 127 px with its context, as in PySOT's crop511."""

_STRICT = "nothing: checked with --strict-data\n"
"""What `skipped.txt` holds once the data has passed the strict check."""

_RECORD = np.dtype(
    [
        ("offset", "i8"), ("height", "i4"), ("width", "i4"), ("cx", "f4"), ("cy", "f4"),
        ("w", "f4"), ("h", "f4"), ("shrink", "f4"), ("mean", "f4", 3), ("source", "i4"),
        ("group", "i4"), ("frame", "i4"), ("left", "f4"), ("top", "f4"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Crop:
    """One stored crop.

    Attributes:
        image: (H, W, 3) BGR uint8, read only.
        cx, cy, w, h: the target in continuous px of the crop; w is 0 where there is no box.
        shrink: px of the original image per px of the crop, at least 1.
        mean: mean colour of the original image, the padding.
        left, top: corner of the crop in continuous px of the original image.
    """

    image: Image
    cx: float
    cy: float
    w: float
    h: float
    shrink: float
    mean: tuple[float, float, float]
    left: float = 0.0
    top: float = 0.0


class CropStore:
    """Reads the crops; opened anew in each process."""

    def __init__(self, folder: Path) -> None:
        """Open a store that `build_store` made."""
        self.records = np.load(folder / "index.npy")
        self._bytes = np.memmap(folder / "crops.bin", np.uint8, "r")

    def __len__(self) -> int:
        """Count of crops."""
        return len(self.records)

    def crop(self, number: int) -> Crop:
        """Return a crop; its image is a view of the file."""
        r = self.records[number]
        height, width = int(r["height"]), int(r["width"])
        start = int(r["offset"])
        flat = self._bytes[start : start + height * width * 3]
        image = np.asarray(flat).reshape(height, width, 3)
        b, g, red = (float(v) for v in r["mean"])
        box = (float(r["cx"]), float(r["cy"]), float(r["w"]), float(r["h"]))
        corner = (float(r["left"]), float(r["top"]))
        return Crop(image, *box, float(r["shrink"]), (b, g, red), *corner)


def build_store(config: TrainConfig, root: Path, folder: Path, report: DataReport) -> CropStore:
    """Cut all crops, or open the store that was cut from the same data before.

    What is left out stands in `skipped.txt`, and is put in the report when the store is opened
    again. A strict report looks at all data of a store that was cut without one; the crops stay.

    Raises:
        InputError: a folder is missing or a source yields nothing to train on; the report is
            strict and there is bad content. A store that was there stays as it was.
    """
    key = _fingerprint(config, root)
    marker, skipped = folder / "key.txt", folder / "skipped.txt"
    if marker.is_file() and marker.read_text(encoding="utf-8") == key:
        noted = skipped.read_text(encoding="utf-8") if skipped.is_file() else ""
        if not report.strict:
            report.replay(noted.splitlines())
        elif noted != _STRICT:
            _check_data(config, root, report)
            skipped.write_text(_STRICT, encoding="utf-8")
        return CropStore(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Under other names first: a run that still reads the old crops keeps them.
    crops, index = (folder / f"{name}.{os.getpid()}.tmp" for name in ("crops", "index"))
    try:
        with crops.open("wb") as stream:
            rows = _write_crops(config, root, report, stream)
        with index.open("wb") as stream:
            np.save(stream, np.array(rows, _RECORD))
        marker.unlink(missing_ok=True)
        crops.replace(folder / "crops.bin")
        index.replace(folder / "index.npy")
    finally:
        crops.unlink(missing_ok=True)
        index.unlink(missing_ok=True)
    lines = "".join(f"{line}\n" for line in report.lines())
    skipped.write_text(_STRICT if report.strict else lines, encoding="utf-8")
    marker.write_text(key, encoding="utf-8")
    return CropStore(folder)


def _write_crops(
    config: TrainConfig, root: Path, report: DataReport, stream: BinaryIO
) -> list[tuple[object, ...]]:
    """Write the crops' pixels one after another; return their records."""
    rows: list[tuple[object, ...]] = []
    groups: dict[tuple[int, str], int] = {}
    for number, source in enumerate(tqdm(config.sources, desc="cutting crops", unit="source")):
        before = len(rows)
        for frame in iter_source(source, root, report, config.pairs.min_side_px):
            group = groups.setdefault((number, _group_of(source, frame)), len(groups))
            for crop in _cut(frame, source, config.tracker):
                rows.append(_row(crop, stream.tell(), number, group, frame.index))
                stream.write(np.ascontiguousarray(crop.image).tobytes())
        if len(rows) == before:
            raise InputError(f"{root / source.path} yields no usable {source.kind}")
    return rows


def _check_data(config: TrainConfig, root: Path, report: DataReport) -> None:
    """Read all data; a strict report raises at the first bad content."""
    for source in tqdm(config.sources, desc="checking data", unit="source"):
        for _ in iter_source(source, root, report, config.pairs.min_side_px):
            pass


def _group_of(source: SourceConfig, frame: SourceFrame) -> str:
    """Crops of one group show one target (sequences) or one image."""
    return frame.group if source.follows else f"{frame.group}#{frame.index}"


def _row(crop: Crop, offset: int, source: int, group: int, frame: int) -> tuple[object, ...]:
    box = (crop.cx, crop.cy, crop.w, crop.h)
    place = (source, group, frame, crop.left, crop.top)
    return (offset, *crop.image.shape[:2], *box, crop.shrink, crop.mean, *place)


def _cut(frame: SourceFrame, source: SourceConfig, tracker: TrackerConfig) -> list[Crop]:
    """Cut the targets of an image; an image without boxes is kept whole."""
    mean = mean_colour(frame.image)
    if source.kind == "images":
        shrink = max(max(frame.image.shape[:2]) / STORED_PX, 1.0)
        image = frame.image
        if shrink > 1:
            size = (round(image.shape[1] / shrink), round(image.shape[0] / shrink))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        return [Crop(image, 0.0, 0.0, 0.0, 0.0, shrink, mean)]
    cuts = []
    for x, y, w, h in frame.boxes.tolist():
        side = round(template_side_px(w, h, tracker) * STORED_PX / tracker.template_px)
        region = place_region(x + w / 2, y + h / 2, side)
        stored = min(side, STORED_PX)
        shrink = side / stored
        image = crop_region(frame.image, region, stored, mean)
        box = ((x + w / 2 - region.x) / shrink, (y + h / 2 - region.y) / shrink)
        box_size = (w / shrink, h / shrink)
        cuts.append(Crop(image, *box, *box_size, shrink, mean, region.x, region.y))
    return cuts


def _fingerprint(config: TrainConfig, root: Path) -> str:
    """Hash of everything that the crops depend on: settings, names, sizes and times of files."""
    tracker = config.tracker
    settings = [config.as_mapping()["sources"], config.pairs.min_side_px, STORED_PX]
    digest = hashlib.sha256(json.dumps([*settings, tracker.context_amount]).encode())
    for source in config.sources:
        for folder, _, files in sorted(os.walk(root / source.path)):
            for name in sorted(files):
                stat = (Path(folder) / name).stat()
                digest.update(f"{folder}/{name} {stat.st_size} {stat.st_mtime_ns}".encode())
            if source.kind == "sequences" and _matched_anew(Path(folder), files):
                digest.update(b"boxes by number")
    return digest.hexdigest()


def _matched_anew(folder: Path, files: list[str]) -> bool:
    """Whether boxes meet other frames than they did when names were sorted as text.

    That is a sequence of pictures, or one whose boxes have a blank line between them. Its key is
    another one, so that crops with shifted boxes are cut anew; all others keep theirs.
    """
    truths = [name for name in files if name in TRUTH_FILES]
    if truths and not any(name.lower().endswith(VIDEO_SUFFIXES) for name in files):
        return True
    lines = [(folder / name).read_bytes().rstrip().splitlines() for name in truths]
    return any(not line.strip() for truth in lines for line in truth)


Numbers = npt.NDArray[np.int64]


def members(store: CropStore) -> dict[int, Numbers]:
    """Numbers of the crops of each group, in order of frame."""
    order = np.lexsort((store.records["frame"], store.records["group"]))
    groups = store.records["group"][order]
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    parts = np.split(order, starts[1:])
    return {int(groups[start]): part for start, part in zip(starts, parts, strict=True)}
