"""The target's size from the scores of search regions that are too large and too small by turns.

A network of this kind answers the size that its search region suggests, and little of what has
changed; but its score falls with the distance from the right scale. So the size climbs towards the
better of two neighbouring scales (extremum seeking), at one pass a frame where a pyramid of scales,
as in SiamFC, takes three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from model.config import TrackerConfig

LEAST_LOGIT = 0.0
"""Below it (a score of 0.5) the scores tell nothing of the size: it may not be the target."""

TREND_RATE = 0.3
"""Weight of the newest difference of the scores in the trend that the size follows."""

_MOST_LOGITS = 1.0
"""A greater difference of the scores counts as this much."""

_EDGE = 1e-6


@dataclass(frozen=True)
class Glance:
    """What one frame saw at its scale; a value.

    Attributes:
        grown: whether the search region was the larger one.
        w, h: the answered sides, full-frame px.
        logit: ln(score / (1 - score)).
        trend: moving average of what the scores of two scales ask for, -1..1; above 0 to grow.
    """

    grown: bool
    w: float
    h: float
    logit: float
    trend: float = 0.0


def next_factor(last: Glance | None, config: TrackerConfig) -> float:
    """What the box's sides are multiplied with to place this frame's search region."""
    return math.exp(config.scale_dither if _turn(last) else -config.scale_dither)


def glance(last: Glance | None, w: float, h: float, score: float) -> Glance:
    """Note what this frame answered.

    Args:
        last: the frame before, at the other scale; None at the first.
        w, h: the answered sides, full-frame px.
        score: 0..1.
    """
    inside = min(max(score, _EDGE), 1.0 - _EDGE)
    return Glance(_turn(last), w, h, math.log(inside / (1.0 - inside)))


def _turn(last: Glance | None) -> bool:
    """Tell whether it is the larger region's turn; it is the first."""
    return last is None or not last.grown


def settle(last: Glance, now: Glance, config: TrackerConfig) -> tuple[Glance, float]:
    """Weigh two neighbouring frames.

    Args:
        last, now: at the two scales.
        config: for `scale_gain`.

    Returns:
        `now` with the trend so far, and the factor by which it asks the size to change.
    """
    rise = now.logit - last.logit if now.grown else last.logit - now.logit
    step = min(max(rise, -_MOST_LOGITS), _MOST_LOGITS) if now.logit > LEAST_LOGIT else 0.0
    trend = last.trend + TREND_RATE * (step - last.trend)
    return replace(now, trend=trend), math.exp(config.scale_gain * trend)


def even(last: Glance, now: Glance) -> tuple[float, float]:
    """Width and height of two neighbouring answers without the two scales' own shares, px."""
    return math.sqrt(now.w * last.w), math.sqrt(now.h * last.h)
