from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.evaluation.box_files import Float64, write_boxes
from model.geometry import Image
from tests.fakes import draw_scene

REPOSITORY = Path(__file__).resolve().parents[3]
SIZE = (320, 240)


def square_path(count: int) -> Float64:
    """Truth of a 24 px square that moves by 3 and 2 px a frame, 0-based x, y, w, h."""
    steps = np.arange(count)
    corner = np.stack([60 + 3 * steps, 50 + 2 * steps], axis=1)
    return np.concatenate([corner, np.full((count, 2), 24)], axis=1).astype(np.float64)


def square_frames(truth: Float64) -> list[Image]:
    return [draw_scene(x + w / 2, y + h / 2, SIZE) for x, y, w, h in truth]


def write_video(path: Path, frames: list[Image]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()


@pytest.fixture
def make_video() -> Callable[[Path, int], Float64]:
    """Write video.mp4 and groundtruth.txt of a moving square into a folder; the truth."""

    def make(folder: Path, count: int = 8) -> Float64:
        truth = square_path(count)
        write_video(folder / "video.mp4", square_frames(truth))
        write_boxes(folder / "groundtruth.txt", truth, decimals=0)
        return truth

    return make


@pytest.fixture
def make_pictures() -> Callable[[Path, str, int, int], Float64]:
    """Write numbered pictures of a moving square; the truth of `count` of them."""

    def make(folder: Path, pattern: str = "%05d.jpg", count: int = 5, first: int = 1) -> Float64:
        folder.mkdir(parents=True, exist_ok=True)
        truth = square_path(count)
        for number, frame in enumerate(square_frames(truth), start=first):
            cv2.imwrite(str(folder / (pattern % number)), frame)
        return truth

    return make


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data folder; skips where it is absent."""
    path = Path(os.environ.get("MLKD_SHARED", REPOSITORY.parent / "shared"))
    if not (path / "data" / "ope-oracle" / "golden.json").is_file():
        pytest.skip(f"needs {path}/data (set MLKD_SHARED to the shared data folder)")
    return path
