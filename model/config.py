"""Tracker configuration: plain frozen dataclasses; an unknown key is an error."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from model.errors import ConfigError

Config = TypeVar("Config")


@dataclass(frozen=True)
class TrackerConfig:
    """Geometry and post-processing of SiamRPN++ (test-time values of the paper's release)."""

    template_px: int = 127
    """Side of the template crop fed to the network."""
    search_px: int = 287
    """Side of the search-region crop fed to the network."""
    score_size: int = 21
    """Side of the score map that `search_px` yields."""
    stride: int = 8
    """Total stride of the backbone, search-region px per score-map cell."""
    context_amount: float = 0.5
    """Context around the target: this times (w + h) is added to each side."""
    anchor_scale: float = 8.0
    """Anchor side over stride, at ratio 1."""
    anchor_ratios: tuple[float, ...] = (0.33, 0.5, 1.0, 2.0, 3.0)
    """Height over width of the anchors of one cell."""
    penalty_k: float = 0.14
    """Strength of the penalty on change of scale and ratio."""
    window_influence: float = 0.428
    """Share of the Hanning window in the final score, 0..1."""
    size_lr: float = 0.30
    """Rate at which the box size follows the prediction, 0..1."""
    min_size_px: float = 10.0
    """Smallest side of an answered box."""
    shape_calibration: float = 0.0
    """How far answers are corrected by what the network makes of the first frame, where the box is
    known: 0 not at all, as published; 1 wholly. The sides, in the logarithm."""
    centre_calibration: float = 0.0
    """The same for the centre, which some targets' answers lie beside: 0 as published, 1 wholly."""
    vote_iou: float = 0.0
    """Boxes that overlap the chosen one by this IoU or more are averaged with it, each with the
    weight of its score: 0 none, as published."""
    template_memory: float = 0.0
    """Share of the template that is what the target looked like lately: 0 as published, the first
    frame alone; below 1, so that a part of the first frame stays for good."""
    memory_rate: float = 0.5
    """Weight of a new look in the moving average of late ones, 0..1."""
    memory_frames: int = 10
    """Frames from one look that is learned to the next."""
    memory_score: float = 0.8
    """Only answers of this score on are learned."""
    scale_dither: float = 0.0
    """How much the search region is larger and smaller than the box asks for by turns, as a
    logarithm: 0 not at all, as published."""
    scale_gain: float = 0.0
    """How fast the size follows the better of the two scores: the change of its logarithm in a
    frame for each unit of the scores' log-odds."""
    flow_looseness: float = 0.0
    """How far the target's points may lie from moving as one, in its sides, before the optical flow
    has but half the say: 0 no flow, as published."""
    flow_centre: float = 0.0
    """Share of the centre that the flow decides where it is trusted wholly: 0 the size alone."""

    def __post_init__(self) -> None:
        """Check every range; the message names the field."""
        for name in ("template_px", "search_px", "score_size", "stride", "memory_frames"):
            _need(name, getattr(self, name), getattr(self, name) > 0, "a whole number above 0")
        shares = ("window_influence", "size_lr", "memory_rate", "memory_score")
        for name in (*shares, "shape_calibration", "centre_calibration", "vote_iou", "flow_centre"):
            _need(name, getattr(self, name), 0.0 <= getattr(self, name) <= 1.0, "0..1")
        fits = 0.0 <= self.scale_dither <= 0.5
        _need("scale_dither", self.scale_dither, fits, "0..0.5")
        fits = 0.0 <= self.template_memory < 1.0
        _need("template_memory", self.template_memory, fits, "0 or above and below 1")
        for name in ("context_amount", "penalty_k", "min_size_px", "scale_gain", "flow_looseness"):
            value = getattr(self, name)
            _need(name, value, math.isfinite(value) and value >= 0, "a number of 0 or above")
        fits = self.flow_centre == 0 or self.flow_looseness > 0
        _need("flow_centre", self.flow_centre, fits, "0 where flow_looseness is 0")
        fits = 0 < self.anchor_scale < math.inf
        _need("anchor_scale", self.anchor_scale, fits, "a number above 0")
        ratios_fit = bool(self.anchor_ratios) and all(0 < r < math.inf for r in self.anchor_ratios)
        _need("anchor_ratios", self.anchor_ratios, ratios_fit, "one or more numbers above 0")

    @property
    def anchors_per_cell(self) -> int:
        """Number of anchors of one score-map cell (k)."""
        return len(self.anchor_ratios)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrackerConfig:
        """Build from JSON or YAML values.

        Raises:
            ConfigError: a key is unknown, or a value is of the wrong type or out of range.
        """
        return build_config(cls, values)


def _need(name: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise ConfigError(f"{name} is {value!r}: expected {expected}")


def build_config(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """Fill a flat frozen dataclass of int, float, bool, str and tuple fields from a mapping.

    Raises:
        ConfigError: a key is unknown (the nearest known one is named) or a type is wrong.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    filled: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            raise ConfigError(f"unknown setting {key!r} for {cls.__name__}{hint}")
        filled[key] = _convert(key, value, fields[key].default)
    return cls(**filled)


def _convert(key: str, value: Any, default: Any) -> Any:
    if isinstance(default, bool) or isinstance(value, bool):
        fits = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, int):
        fits = isinstance(value, int)
    elif isinstance(default, float):
        fits = isinstance(value, (int, float))
        value = float(value) if fits else value
    elif isinstance(default, tuple):
        fits = isinstance(value, (list, tuple)) and all(_is_like(v, default[:1]) for v in value)
        value = tuple(value) if fits else value
    else:
        fits = isinstance(value, type(default))
    _need(key, value, fits, f"a value of type {type(default).__name__}")
    if isinstance(value, float):
        _need(key, value, math.isfinite(value), "a finite number")
    return value


def _is_like(value: Any, first: tuple[Any, ...]) -> bool:
    """Whether a member of a tuple is of the type of the default's first one, where there is one."""
    if not first:
        return True
    kinds = (int, float) if isinstance(first[0], float) else type(first[0])
    return isinstance(value, kinds) and not isinstance(value, bool)
