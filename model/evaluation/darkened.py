"""Day sequences turned into night ones, the same way for every tracker."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from model.evaluation.sequences import DARKENED, DAY, Frames, Sequence
from model.geometry import Image
from model.training.night import NightScene, darken

GAIN_RANGE = (0.008, 0.04)
"""Exposure that brings day video to the mean grey of real night video, 10 to 25."""


@dataclass(frozen=True)
class DarkenedFrames:
    """Frames seen by the camera of one night scene; noise depends on seed and frame number."""

    day: Frames
    scene: NightScene
    seed: int

    @property
    def source(self) -> Path:
        """The day frames' file or folder."""
        return self.day.source

    def __iter__(self) -> Iterator[Image]:
        """Yield darkened frames."""
        for index, image in enumerate(self.day):
            yield self.darken_frame(index, image)

    def darken_frame(self, index: int, day: Image) -> Image:
        """Darken the frame of this number, counted from 0; any order gives the same."""
        return darken(day, self.scene, np.random.default_rng([self.seed, index]))


def scene_of(sequence: Sequence, seed: int) -> NightScene:
    """Draw the scene of a sequence; it depends on the seed and the names alone.

    The ranges are the evaluation's own: a training that samples other nights is still measured on
    these.
    """
    rng = np.random.default_rng([seed, zlib.crc32(f"{sequence.dataset}/{sequence.name}".encode())])
    warmth = rng.uniform(0.0, 0.4)
    return NightScene(
        gain=_log_uniform(rng, *GAIN_RANGE),
        cast=(1.0 - warmth, 1.0 - 0.25 * warmth, 1.0 + 0.2 * warmth),
        saturation=float(rng.uniform(0.4, 1.0)),
        evenness=float(rng.uniform(0.0, 0.5)),
        lights=float(rng.uniform(0.0, 1.0)),
        electrons=_log_uniform(rng, 3000.0, 30000.0),
        read_noise=_log_uniform(rng, 1e-4, 8e-4),
        grain_px=float(rng.uniform(1.0, 2.0)),
        black=float(rng.uniform(0.0, 2e-4)),
        curve=2.2,
        blur_px=float(rng.choice([0.0, 0.0, 0.0, 3.0, 5.0])),
        blur_deg=float(rng.uniform(0.0, 180.0)),
        quality=int(rng.integers(50, 91)),
        layout_seed=int(rng.integers(2**31)),
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def darken_sequence(sequence: Sequence, seed: int) -> Sequence:
    """Return the night version of a day sequence; one recorded at night stays as it is."""
    if sequence.condition != DAY:
        return sequence
    frames = DarkenedFrames(sequence.frames, scene_of(sequence, seed), seed)
    return replace(sequence, frames=frames, condition=DARKENED)
