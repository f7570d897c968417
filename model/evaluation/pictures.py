"""Pictures of single frames with the truth and the answers drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listing

import cv2
import numpy as np

from model.evaluation.box_files import Float64
from model.evaluation.darkened import DarkenedFrames
from model.evaluation.sequences import Sequence
from model.geometry import Image

WIDTH_PX = 640
_FONT, _TEXT, _ROW_PX = cv2.FONT_HERSHEY_SIMPLEX, 0.55, 20
_TRUTH = (0, 220, 0)
_COLOURS = ((60, 60, 255), (255, 160, 40), (0, 220, 255), (255, 80, 220), (230, 230, 230))


def draw_boxes(image: Image, truth: Float64, answers: Mapping[str, Float64]) -> Image:
    """Draw the truth (green) and one box a tracker, with a legend; a dark frame is brightened.

    The truth and the first tracker have the thicker lines.

    Args:
        image: (H, W, 3) BGR uint8; left unchanged.
        truth: (4,) px.
        answers: (4,) px of each tracker.

    Returns:
        a picture `WIDTH_PX` wide at most.
    """
    scale = min(1.0, WIDTH_PX / image.shape[1])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    picture = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    gain = min(max(60.0 / max(float(picture.mean()), 1.0), 1.0), 4.0)
    picture = np.asarray(cv2.convertScaleAbs(picture, alpha=gain), np.uint8)
    legend = [("truth", truth, _TRUTH)]
    for index, (name, box) in enumerate(answers.items()):
        legend.append((name, box, _COLOURS[index % len(_COLOURS)]))
    height = 8 + _ROW_PX * len(legend)
    width = 14 + max(cv2.getTextSize(name, _FONT, _TEXT, 1)[0][0] for name, _, _ in legend)
    picture[:height, :width] = picture[:height, :width] // 4
    for row, (name, box, colour) in enumerate(legend):
        if np.isfinite(box).all() and (box[2:] > 0).all():
            x, y, right, bottom = (
                round(float(v) * scale) for v in (box[0], box[1], box[0] + box[2], box[1] + box[3])
            )
            cv2.rectangle(picture, (x, y), (right, bottom), colour, 2 if row < 2 else 1)
        place = (6, _ROW_PX * (row + 1))
        cv2.putText(picture, name, place, _FONT, _TEXT, colour, 1, cv2.LINE_AA)
    return picture


def frame_pictures(
    sequence: Sequence, frames: Listing[int], answers: Mapping[str, Float64]
) -> dict[int, bytes]:
    """Read through a sequence once and draw some of its frames.

    Args:
        sequence: whose frames.
        frames: indexes, from 0.
        answers: (N, 4) boxes of each tracker.

    Returns:
        JPEG data of each frame.
    """
    wanted, last = set(frames), max(frames, default=-1)
    pictures: dict[int, bytes] = {}
    dark = sequence.frames if isinstance(sequence.frames, DarkenedFrames) else None
    # Darkening costs more than decoding: only the wanted frames are darkened.
    for index, shown in enumerate(sequence.frames if dark is None else dark.day):
        if index > last:
            break
        if index in wanted:
            image = shown if dark is None else dark.darken_frame(index, shown)
            boxes = {name: all_boxes[index] for name, all_boxes in answers.items()}
            drawn = draw_boxes(image, sequence.truth[index], boxes)
            _, data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 80])
            pictures[index] = data.tobytes()
    return pictures
