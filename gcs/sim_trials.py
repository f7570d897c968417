"""The scripted trials of the closed loop, and the oracle that can stand in for the tracker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from drone.frame import Frame
from gcs.target import Answer
from model.confidence import Confidence, ConfidenceConfig, judge
from model.errors import InputError
from model.geometry import Box

TARGET = "target"
"""Name of the followed actor in the simulator's truth."""

ORACLE_SCORE = 0.9


@dataclass(frozen=True)
class Trial:
    """One flight of the closed loop.

    Attributes:
        name: as on the command line.
        scenario: of the night simulator.
        latency_ms: from the capture of a frame to its arrival at the tracker.
        loss: share of the frames that never arrive.
        sway_deg_s: peak yaw rate that disturbs the vehicle, besides what it is told.
        hard: one of the two hardest: reported, not held to the figures.
    """

    name: str
    scenario: str = "default"
    latency_ms: float = 50.0
    loss: float = 0.0
    sway_deg_s: float = 0.0
    hard: bool = False


TRIALS = {
    trial.name: trial
    for trial in (
        Trial("crossing", scenario="crossing"),
        Trial("stop_and_go", scenario="stop_and_go"),
        Trial("occlusion", scenario="occlusion", hard=True),
        Trial("alike", scenario="alike"),
        Trial("glare", scenario="glare"),
        Trial("pan", scenario="default", sway_deg_s=25.0),
        Trial("wind", scenario="wind"),
        Trial("latency_50"),
        Trial("latency_150", latency_ms=150.0),
        Trial("latency_300", latency_ms=300.0, hard=True),
        Trial("frame_loss", loss=0.1),
    )
}
"""Every trial by name."""


def choose_trials(name: str) -> list[Trial]:
    """Look up one trial, or all.

    Raises:
        InputError: unknown; the message lists those there are.
    """
    if name == "all":
        return list(TRIALS.values())
    if name not in TRIALS:
        known = ", ".join(TRIALS)
        raise InputError(f"trial {name!r} is unknown: expected all or one of {known}")
    return [TRIALS[name]]


class Follower(Protocol):
    """What carries the target from frame to frame; see `gcs.target.Target`."""

    def update(self, frame: Frame) -> Answer:
        """Find the target in the next frame."""
        ...


Begin = Callable[[Frame, Box], Follower]
"""Learns a target, as `Target` does."""


class Oracle:
    """Knows the truth and adds noise: shows the servo's errors without the tracker's."""

    def __init__(self, box: Box, noise: float = 0.04, seed: int = 3) -> None:
        """Start on a box.

        Args:
            box: first box, full-frame px.
            noise: standard deviation of centre and size, fraction of the box's side.
            seed: of the noise.
        """
        self._box = box
        self._noise = noise
        self._rng = np.random.default_rng(seed)
        self._config = ConfidenceConfig()
        self._confidence = Confidence()

    def update(self, frame: Frame) -> Answer:
        """Answer the truth with noise; a hidden target is a miss."""
        truth = frame.truth.get(TARGET)
        score = 0.0
        if truth is not None:
            score = ORACLE_SCORE
            x, y, w, h = truth
            side = (w * h) ** 0.5
            dx, dy, grow_w, grow_h = self._rng.normal(0.0, self._noise, 4)
            self._box = Box.from_centre(
                x + w / 2 + dx * side,
                y + h / 2 + dy * side,
                w * float(np.exp(grow_w)),
                h * float(np.exp(grow_h)),
            )
        self._confidence = judge(self._confidence, score, self._config)
        return Answer(self._box, score, self._confidence.level)
