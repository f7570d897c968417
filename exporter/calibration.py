"""Crops to calibrate int8 on, cut as in flight from the user's own sequences or images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from model.config import TrackerConfig
from model.crop import crop_region, mean_colour, place_region, region_of
from model.errors import InputError
from model.geometry import Box, Image, clip_box

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
BOXES_FILE = "groundtruth.txt"
PairOfCrops = tuple[Image, Image]


def calibration_pairs(
    folder: Path, config: TrackerConfig, count: int = 128, seed: int = 0
) -> list[PairOfCrops]:
    """Cut template and search crops.

    A video with `groundtruth.txt` beside it (x,y,w,h a line) gives real targets; other images give
    boxes at seeded random places. Every second pair is darkened, because night frames use the
    lowest grey levels alone.

    Args:
        folder: searched with all folders in it.
        config: the crops' sizes.
        count: pairs wanted; taken evenly from all files.
        seed: of places and jitter.

    Returns:
        Template (127, 127, 3) and search (S, S, 3) crops, BGR uint8.

    Raises:
        InputError: nothing usable in the folder.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    videos = [p for p in files if _has_suffix(p, VIDEO_SUFFIXES)]
    videos = [p for p in videos if (p.parent / BOXES_FILE).is_file()]
    images = [p for p in files if _has_suffix(p, IMAGE_SUFFIXES)]
    if not videos and not images:
        raise InputError(
            f"calibration folder {folder} holds no image and no video with {BOXES_FILE}: "
            "give a folder of frames like those of your flights"
        )
    rng = np.random.default_rng(seed)
    each = max(1, count // (len(videos) + min(len(images), count)))
    step = max(1, len(images) // count)
    sources = [_from_video(p, each, config, rng) for p in videos]
    sources.append(_from_images(images[::step], config, rng))
    pairs: list[PairOfCrops] = []
    for row in zip_longest(*sources):
        pairs += [pair for pair in row if pair is not None]
        if len(pairs) >= count:
            break
    if not pairs:
        raise InputError(f"calibration folder {folder}: no frame of it can be read")
    return [_darkened(p, rng) if i % 2 else p for i, p in enumerate(pairs[:count])]


def _has_suffix(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes


def _from_video(
    path: Path, wanted: int, config: TrackerConfig, rng: np.random.Generator
) -> Iterator[PairOfCrops]:
    boxes = read_boxes(path.parent / BOXES_FILE)
    picks = set(np.linspace(0, len(boxes) - 1, wanted + 1).astype(int)[1:].tolist())
    capture = cv2.VideoCapture(str(path))
    template: Image | None = None
    try:
        for index, box in enumerate(boxes):
            usable = box is not None and (template is None or index in picks)
            if not usable:
                if not capture.grab():
                    return
                continue
            found, frame = capture.read()
            if not found:
                return
            image = np.asarray(frame, np.uint8)
            if box is None or _outside(box, image):
                continue
            if template is None:
                template = _template(image, box, config)
            yield template, _search(image, box, config, rng)
    finally:
        capture.release()


def _from_images(
    paths: list[Path], config: TrackerConfig, rng: np.random.Generator
) -> Iterator[PairOfCrops]:
    for path in paths:
        frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if frame is None:
            continue
        image = np.asarray(frame, np.uint8)
        height, width = image.shape[:2]
        side = min(height, width) * float(rng.uniform(0.06, 0.25))
        cx, cy = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
        box = Box.from_centre(cx, cy, side * float(rng.uniform(0.6, 1.7)), side)
        yield _template(image, box, config), _search(image, box, config, rng)


def _template(image: Image, box: Box, config: TrackerConfig) -> Image:
    region = region_of(box, config, search=False)
    return crop_region(image, region, config.template_px, mean_colour(image))


def _search(image: Image, box: Box, config: TrackerConfig, rng: np.random.Generator) -> Image:
    region = region_of(box, config, search=True)
    dx, dy = rng.uniform(-0.2, 0.2, 2) * region.side
    moved = place_region(region.cx + dx, region.cy + dy, region.side)
    return crop_region(image, moved, config.search_px, mean_colour(image))


def _outside(box: Box, image: Image) -> bool:
    cut = clip_box(box, image.shape[1], image.shape[0])
    return min(cut.w, cut.h) < 1


def _darkened(pair: PairOfCrops, rng: np.random.Generator) -> PairOfCrops:
    gain = float(rng.uniform(0.06, 0.4))

    def dark(image: Image) -> Image:
        noisy = image * gain + rng.normal(0, 2.0, image.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8)

    return dark(pair[0]), dark(pair[1])


def read_boxes(path: Path) -> list[Box | None]:
    """Read x,y,w,h lines (comma, tab or space); None where the target is absent.

    Raises:
        InputError: a line does not hold four numbers.
    """
    boxes: list[Box | None] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            x, y, w, h = (float(v) for v in line.replace(",", " ").split())
        except ValueError:
            raise InputError(f"{path} line {number} is {line!r}: expected x,y,w,h") from None
        box = Box(x, y, w, h)
        boxes.append(box if box.is_finite() and w > 0 and h > 0 else None)
    return boxes
