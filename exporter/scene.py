"""Frames for the benchmark: a drawn night street with a car on it, or a video of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from model.errors import InputError
from model.geometry import Box, Image, check_target

WIDTH_PX, HEIGHT_PX = 1280, 720


@dataclass(frozen=True)
class Clip:
    """Frames in memory and the target's box in each.

    Of a user's video only the first box is known; the others repeat it, so that every frame costs
    the same work.
    """

    name: str
    frames: list[Image]
    boxes: list[Box]


def draw_clip(count: int, seed: int = 0) -> Clip:
    """Draw a dark 720p street: lamps with halos, grain, a car that drives through.

    Args:
        count: frames, 1 or more.
        seed: of lamps and grain.
    """
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.random((18, 32, 3), np.float32), (WIDTH_PX, HEIGHT_PX))
    street = 6 + 10 * ground
    rows, cols = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32)
    for x in range(80, WIDTH_PX, 240):
        distance_px = np.hypot(rows - 200, cols - x)
        street += (140 * np.exp(-distance_px / 28))[..., None] * (0.6, 0.85, 1.0)
    frames, boxes = [], []
    for index in range(count):
        box = Box(200.0 + 6 * index % 800, 400.0 + 20 * np.sin(index / 8), 64.0, 34.0)
        frame = street.copy()
        _draw_car(frame, box)
        frame += rng.normal(0, 3, (HEIGHT_PX, WIDTH_PX, 1))
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
        boxes.append(box)
    return Clip(f"drawn night street, {WIDTH_PX}x{HEIGHT_PX}", frames, boxes)


def _draw_car(frame: np.ndarray[tuple[int, ...], np.dtype[np.floating]], box: Box) -> None:
    x, y, w, h = (round(v) for v in box)
    frame[y : y + h, x : x + w] = (46, 40, 38)
    frame[y + 6 : y + h - 6, x + 14 : x + w - 20] = (24, 22, 22)
    frame[y + 3 : y + 10, x + w - 7 : x + w] = (200, 225, 235)
    frame[y + h - 10 : y + h - 3, x + w - 7 : x + w] = (200, 225, 235)
    frame[y + 3 : y + 9, x : x + 4] = (30, 30, 190)
    frame[y + h - 9 : y + h - 3, x : x + 4] = (30, 30, 190)


def read_clip(path: Path, box: Box | None, count: int) -> Clip:
    """Read the first frames of a video.

    Args:
        path: the video.
        box: the target in the first frame, px; None takes a tenth of the height in the middle.
        count: frames at most.

    Raises:
        InputError: the video cannot be read.
        BoxError: the box cannot be a target in it.
    """
    if not path.is_file():
        raise InputError(f"video {path} does not exist")
    capture = cv2.VideoCapture(str(path))
    frames: list[Image] = []
    try:
        while len(frames) < count:
            found, frame = capture.read()
            if not found:
                break
            frames.append(np.asarray(frame, np.uint8))
    finally:
        capture.release()
    if not frames:
        raise InputError(f"video {path} holds no picture that OpenCV can read")
    height, width = frames[0].shape[:2]
    side = height / 10
    box = Box.from_centre(width / 2, height / 2, side, side) if box is None else box
    box = check_target(box, width, height)
    return Clip(f"{path.name}, {width}x{height}", frames, [box] * len(frames))
