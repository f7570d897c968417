"""Small videos, good and bad, for the tests of sources."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from drone.video_writer import VideoWriter


def numbered_image(number: int, size: tuple[int, int] = (160, 96)) -> np.ndarray:
    """A picture whose top-left block tells its number by its grey, 8 levels a number."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 60, (size[1], size[0], 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    image[:48, :48] = number * 8 % 256
    return image


def number_of(image: np.ndarray) -> int:
    return round(float(image[8:40, 8:40].mean()) / 8)


def write_video(path: Path, frames: int = 24, fps: float = 30.0) -> Path:
    writer = VideoWriter(path, fps, crf=10)
    for number in range(frames):
        writer.write(numbered_image(number))
    writer.close()
    return path


def write_audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = np.zeros((2, 1024), np.float32)
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="stereo")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
