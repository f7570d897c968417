"""Day sequences turned into night ones, the same way for every tracker."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from model.evaluation.sequences import DARKENED, DAY, Frames, Sequence
from model.geometry import Image
from model.training.night import NightScene, darken, sample_scene

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
            yield darken(image, self.scene, np.random.default_rng([self.seed, index]))


def scene_of(sequence: Sequence, seed: int) -> NightScene:
    """Draw the scene of a sequence; it depends on the seed and the names alone."""
    key = zlib.crc32(f"{sequence.dataset}/{sequence.name}".encode())
    return sample_scene(np.random.default_rng([seed, key]), GAIN_RANGE)


def darken_sequence(sequence: Sequence, seed: int) -> Sequence:
    """Return the night version of a day sequence; one recorded at night stays as it is."""
    if sequence.condition != DAY:
        return sequence
    frames = DarkenedFrames(sequence.frames, scene_of(sequence, seed), seed)
    return replace(sequence, frames=frames, condition=DARKENED)
