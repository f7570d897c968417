"""Lost or found: a decision with hysteresis over the scores of one target."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

from model.errors import ConfigError


class Level(enum.Enum):
    """How far the answer of the newest frame can be trusted."""

    SURE = "SURE"
    LOW = "LOW"
    LOST = "LOST"


@dataclass(frozen=True)
class ConfidenceConfig:
    """Thresholds on the tracker's score; a score ranks frames, it is no probability."""

    low_score: float = 0.6
    """Below it an answer counts as LOW: shown, but not trusted to steer."""
    lost_score: float = 0.2
    """Below it a frame counts as a miss."""
    lost_frames: int = 8
    """Misses in a row that make the target LOST (about 0.25 s at 30 fps)."""
    found_score: float = 0.7
    """A lost target is found again only from this score on."""
    found_frames: int = 3
    """Convincing frames in a row that make a lost target found."""

    def __post_init__(self) -> None:
        """Check the ranges and their order; the message names the field."""
        for name in ("low_score", "lost_score", "found_score"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0.0 <= value <= 1.0):
                raise ConfigError(f"{name} is {value!r}: expected a score in 0..1")
        for name in ("lost_frames", "found_frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: expected 1 or more frames")
        if not self.lost_score <= self.low_score:
            raise ConfigError(
                f"lost_score {self.lost_score:g} is above low_score {self.low_score:g}: "
                "expected lost_score <= low_score"
            )
        if not self.lost_score < self.found_score:
            raise ConfigError(
                f"found_score {self.found_score:g} is not above lost_score {self.lost_score:g}: "
                "expected a gap between them, or the state flickers"
            )


@dataclass(frozen=True)
class Confidence:
    """What the last frames said; a value.

    Attributes:
        level: the verdict.
        streak: frames in a row that argue for the other verdict: misses until LOST, convincing
            frames until found.
    """

    level: Level = Level.SURE
    streak: int = 0

    @property
    def lost(self) -> bool:
        """True while the target is lost."""
        return self.level is Level.LOST


def judge(last: Confidence, score: float | None, config: ConfidenceConfig) -> Confidence:
    """Weigh the score of one more frame.

    Args:
        last: the verdict so far.
        score: 0..1; None or NaN where the frame gave no answer, which counts as a miss.
        config: thresholds.

    Returns:
        the new verdict.
    """
    value = 0.0 if score is None or math.isnan(score) else score
    if last.lost:
        return _judge_lost(last, value, config)
    if value >= config.lost_score:
        return Confidence(Level.SURE if value >= config.low_score else Level.LOW)
    misses = last.streak + 1
    return Confidence(Level.LOST) if misses >= config.lost_frames else Confidence(Level.LOW, misses)


def _judge_lost(last: Confidence, score: float, config: ConfidenceConfig) -> Confidence:
    if score < config.found_score:
        return Confidence(Level.LOST)
    hits = last.streak + 1
    return Confidence(Level.SURE) if hits >= config.found_frames else replace(last, streak=hits)
