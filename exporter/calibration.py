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
from model.evaluation.sequences import Sequence, find_video_sequences
from model.geometry import Box, Image, clip_box

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
PairOfCrops = tuple[Image, Image]


def annotated_videos(folder: Path) -> list[Sequence]:
    """Read the folders below that hold a video and `groundtruth.txt`; there may be none.

    Raises:
        DataFileError: one of them cannot be read.
    """
    if not any(folder.rglob("groundtruth.txt")):
        return []
    return find_video_sequences(folder)


def calibration_pairs(
    folder: Path, config: TrackerConfig, count: int = 128, seed: int = 0
) -> list[PairOfCrops]:
    """Cut template and search crops.

    A video with `groundtruth.txt` beside it (x,y,w,h a line) gives real targets; images give boxes
    at seeded random places. Every second pair is darkened, because night frames use the lowest
    grey levels alone.

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
    videos = annotated_videos(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    images = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES]
    if not videos and not images:
        raise InputError(
            f"calibration folder {folder} holds no image and no video with groundtruth.txt: "
            "give a folder of frames like those of your flights"
        )
    rng = np.random.default_rng(seed)
    each = max(1, -(-count // (len(videos) + min(len(images), count))))
    sources = [_from_video(video, each, config, rng) for video in videos]
    sources.append(_from_images(images[:: max(1, len(images) // count)], config, rng))
    pairs: list[PairOfCrops] = []
    for row in zip_longest(*sources):
        pairs += [pair for pair in row if pair is not None]
        if len(pairs) >= count:
            break
    if not pairs:
        raise InputError(f"calibration folder {folder}: no frame of it can be used")
    return [_darkened(p, rng) if i % 2 else p for i, p in enumerate(pairs[:count])]


def _from_video(
    video: Sequence, wanted: int, config: TrackerConfig, rng: np.random.Generator
) -> Iterator[PairOfCrops]:
    shown = np.flatnonzero(np.all(video.truth[:, 2:] > 0, axis=1))
    if not len(shown):
        return
    picks = {int(shown[i]) for i in np.linspace(0, len(shown) - 1, wanted).astype(int)}
    template: Image | None = None
    for index, image in enumerate(video.frames):
        if index in picks:
            box = clip_box(Box(*video.truth[index]), image.shape[1], image.shape[0])
            if min(box.w, box.h) < 1:
                continue
            if template is None:
                template = _template(image, box, config)
            yield template, _search(image, box, config, rng)
        if index >= max(picks):
            return


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


def _darkened(pair: PairOfCrops, rng: np.random.Generator) -> PairOfCrops:
    gain = float(rng.uniform(0.06, 0.4))

    def dark(image: Image) -> Image:
        noisy = image * gain + rng.normal(0, 2.0, image.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8)

    return dark(pair[0]), dark(pair[1])
