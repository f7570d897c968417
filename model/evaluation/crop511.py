"""PySOT's training crops: pictures of 511 px around a target, and one JSON of boxes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.evaluation.errors import DataFileError
from model.geometry import Box

CROP_PX = 511
TEMPLATE_PX = 127
CONTEXT = 0.5


@dataclass(frozen=True)
class Crop:
    """One picture of one track.

    Attributes:
        picture: 511 x 511 px, the target in its centre.
        frame: number of the frame in its video.
        box: the target in the crop, px.
        source: the target in the video's frame, px.
    """

    picture: Path
    frame: int
    box: Box
    source: Box


def box_in_crop(w: float, h: float) -> Box:
    """Place a target of this size in its crop, whose scale makes the template 127 px wide."""
    context = CONTEXT * (w + h)
    scale = TEMPLATE_PX / math.sqrt((w + context) * (h + context))
    return Box.from_centre(CROP_PX / 2, CROP_PX / 2, w * scale, h * scale)


def read_crop511(root: Path, listing: Path) -> dict[str, list[Crop]]:
    """Read `{video: {track: {frame: [x1, y1, x2, y2]}}}` and find the pictures.

    Args:
        root: the folder `crop511`, with `<video>/<frame>.<track>.x.jpg` in it.
        listing: the JSON file.

    Returns:
        crops of each `video/track`, in the order of frames; a size alone, [w, h], is accepted.

    Raises:
        DataFileError: the JSON is malformed, a box is empty or a picture is missing.
    """
    try:
        content = json.loads(listing.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataFileError(listing, "a JSON file", "nothing") from None
    except ValueError as error:
        raise DataFileError(listing, "JSON", str(error)) from None
    tracks: dict[str, list[Crop]] = {}
    for video, by_track in _mapping(content, listing, "videos").items():
        for track, by_frame in _mapping(by_track, listing, f"tracks of {video}").items():
            boxes = _mapping(by_frame, listing, f"frames of {video}/{track}")
            crops = [
                _crop(root, listing, (video, track, frame), boxes[frame])
                for frame in sorted((f for f in boxes if f.isdigit()), key=int)
            ]
            if crops:
                tracks[f"{video}/{track}"] = crops
    return tracks


def _mapping(value: Any, path: Path, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataFileError(path, f"an object of {what}", type(value).__name__)
    return value


def _crop(root: Path, listing: Path, key: tuple[str, str, str], values: Any) -> Crop:
    video, track, frame = key
    numbers = values if isinstance(values, list) else []
    if len(numbers) == 2:
        numbers = [0, 0, *numbers]
    if len(numbers) != 4 or not all(isinstance(v, (int, float)) for v in numbers):
        where = f"4 numbers x1, y1, x2, y2 at {video}/{track}/{frame}"
        raise DataFileError(listing, where, repr(values)[:60])
    x1, y1, x2, y2 = (float(v) for v in numbers)
    if not (0 < x2 - x1 < math.inf and 0 < y2 - y1 < math.inf):
        raise DataFileError(listing, f"a box with area at {video}/{track}/{frame}", repr(values))
    picture = root / video / f"{int(frame):06d}.{track}.x.jpg"
    if not picture.is_file():
        raise DataFileError(picture, f"the crop that {listing} names", "nothing")
    source = Box(x1, y1, x2 - x1, y2 - y1)
    return Crop(picture, int(frame), box_in_crop(source.w, source.h), source)
