"""Similarity heat maps (Fig. 3): where each network sees the target in one search region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from model.backend import Backend
from model.crop import crop_region, mean_colour, region_of
from model.errors import InputError
from model.evaluation.sequences import Sequence as Video
from model.geometry import Box, Float, Image

_BRIGHTNESS = 90.0
"""Mean grey to which dark crops are lifted for the eye; the networks see them as they are."""


@dataclass(frozen=True)
class Moment:
    """A frame of a sequence, with the template's frame.

    Attributes:
        first: first frame, BGR uint8.
        first_box: target in it, px.
        frame: the frame to look at.
        box: target in it: the search region is placed around it.
    """

    first: Image
    first_box: Box
    frame: Image
    box: Box


def read_moment(video: Video, number: int) -> Moment:
    """Decode frame `number` (0-based) and the first frame of a sequence.

    Raises:
        InputError: no such frame, or the target is absent from it.
    """
    if not 0 <= number < len(video):
        raise InputError(f"{video.name} has no frame {number}: expected 0..{len(video) - 1}")
    box = Box(*(float(v) for v in video.truth[number]))
    if not box.is_finite():
        raise InputError(f"{video.name} frame {number}: the target is absent")
    first: Image | None = None
    for index, image in enumerate(video.frames):
        first = image if first is None else first
        if index == number:
            return Moment(first, video.first_box, image, box)
    raise InputError(f"{video.name} ends before frame {number}")


def score_map(backend: Backend, moment: Moment) -> tuple[Image, Float]:
    """The search crop (S, S, 3) BGR uint8 and the score map (M, M), 0..1.

    The score is the soft-max score of the best anchor of each cell, without window and penalty.
    """
    config = backend.config
    region = region_of(moment.first_box, config, search=False)
    padding = mean_colour(moment.first)
    template = backend.encode_template(
        crop_region(moment.first, region, config.template_px, padding)
    )
    region = region_of(moment.box, config, search=True)
    x = crop_region(moment.frame, region, config.search_px, padding)
    cls, _ = backend.predict(template, x)
    background, target = np.split(cls.astype(np.float64), 2)
    margin = (target - background).max(0)
    return x, (1.0 / (1.0 + np.exp(-margin))).astype(np.float32)


def overlay(crop: Image, score: Float, stride: int) -> Image:
    """Lay the score map over the crop, brightened for the eye.

    Args:
        crop: (S, S, 3) BGR uint8.
        score: (M, M) 0..1; its cells are `stride` px apart around the crop's centre.
        stride: px per cell.
    """
    side, extent = crop.shape[0], score.shape[0] * stride
    heat = np.zeros((side, side), np.float32)
    resized = cv2.resize(score, (extent, extent), interpolation=cv2.INTER_CUBIC)
    first = (side - extent) // 2
    heat[first : first + extent, first : first + extent] = resized
    coloured = cv2.applyColorMap(np.clip(heat * 255, 0, 255).astype(np.uint8), cv2.COLORMAP_JET)
    gain = max(1.0, _BRIGHTNESS / max(float(crop.mean()), 1.0))
    lit = cv2.convertScaleAbs(crop, alpha=gain)
    return np.asarray(cv2.addWeighted(lit, 0.5, coloured, 0.5, 0), np.uint8)


def draw_row(backends: Mapping[str, Backend], moment: Moment) -> Image:
    """The crop and each network's heat map side by side, with their names above."""
    tiles: list[Image] = []
    for name, backend in backends.items():
        crop, score = score_map(backend, moment)
        side = next(iter(backends.values())).config.search_px
        if not tiles:
            tiles.append(
                _named(overlay(crop, np.zeros_like(score), backend.config.stride), "search")
            )
        tile = overlay(crop, score, backend.config.stride)
        tiles.append(_named(np.asarray(cv2.resize(tile, (side, side)), np.uint8), name))
    return np.hstack(tiles)


def _named(tile: Image, name: str) -> Image:
    out = cv2.copyMakeBorder(tile, 22, 0, 0, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(out, name, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(out, np.uint8)
