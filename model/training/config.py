"""Training configuration: frozen dataclasses from one YAML file; an unknown key is an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from model.config import TrackerConfig, build_config
from model.errors import ConfigError
from model.nets.baselines import BASELINES

SOURCE_KINDS = ("sequences", "crop511", "boxes", "images")


@dataclass(frozen=True)
class SourceConfig:
    """One folder of training data."""

    kind: str = "sequences"
    """`sequences` (folders with groundtruth.txt and a video or frames), `crop511` (PySOT's
    crops: crop511/ and one JSON), `boxes` (images and annotations.json) or `images` (no boxes:
    self-supervised pairs)."""
    path: str = ""
    """Folder, relative to the data root."""
    weight: float = 1.0
    """Share of the samples, relative to the other sources."""
    skip: tuple[str, ...] = ()
    """Sequences or image files (name without suffix) to leave out."""
    frame_step: int = 1
    """Use every n-th frame of a sequence."""

    def __post_init__(self) -> None:
        """Check kind and ranges."""
        _need("sources.kind", self.kind, self.kind in SOURCE_KINDS, f"one of {SOURCE_KINDS}")
        _need("sources.path", self.path, bool(self.path), "a folder")
        _need("sources.weight", self.weight, self.weight > 0, "a number above 0")
        _need("sources.frame_step", self.frame_step, self.frame_step >= 1, "1 or more")

    @property
    def follows(self) -> bool:
        """Whether its images show one target over time."""
        return self.kind in ("sequences", "crop511")


@dataclass(frozen=True)
class NightConfig:
    """How often and how far images are darkened."""

    probability: float = 0.6
    """Share of the pairs that are darkened."""
    independent: float = 0.15
    """Share of the darkened pairs whose two images get scenes of their own."""
    gain_min: float = 0.004
    """Least exposure on linear light."""
    gain_max: float = 0.1
    """Greatest exposure on linear light."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _share("night.probability", self.probability)
        _share("night.independent", self.independent)
        fits = 0 < self.gain_min <= self.gain_max <= 1
        _need(
            "night.gain_min, gain_max", (self.gain_min, self.gain_max), fits, "0 < min <= max <= 1"
        )


@dataclass(frozen=True)
class AugmentConfig:
    """Geometric and photometric changes; the published values by default."""

    template_shift_px: float = 4.0
    """Greatest shift of the target in the template, template px."""
    template_scale: float = 0.05
    """Greatest change of scale of the template."""
    search_shift_px: float = 64.0
    """Greatest shift of the target in the search region, search px."""
    search_scale: float = 0.18
    """Greatest change of scale of the search region."""
    stretch: float = 0.08
    """Greatest change of the search region's proportions, as a logarithm: without it a network may
    learn that the target always has the template's shape."""
    stretch_sequences: bool = False
    """Stretch the two frames of a sequence too, not only a pair from one image."""
    blur: float = 0.2
    """Probability of blur in the search region."""
    colour: float = 0.8
    """Probability of a change of brightness, contrast and colour."""
    grey: float = 0.1
    """Probability that both images lose their colour."""
    flip: float = 0.5
    """Probability that both images are mirrored left to right."""
    low_resolution: float = 0.3
    """Probability that both images are rendered with fewer px, as small targets are."""
    rotation_deg: float = 8.0
    """Greatest rotation of the search region where a pair comes from one image."""
    turn: float = 0.0
    """Probability that a positive pair's search region is turned by one, two or three quarters:
    seen from above, a target turns. Its box is turned with it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("blur", "colour", "grey", "flip", "low_resolution", "turn"):
            _share(f"augment.{name}", getattr(self, name))
        for name in ("template_shift_px", "search_shift_px", "rotation_deg", "stretch"):
            value = getattr(self, name)
            _need(f"augment.{name}", value, value >= 0, "0 or above")
        _need("augment.rotation_deg", self.rotation_deg, self.rotation_deg < 45, "below 45")
        for name in ("template_scale", "search_scale"):
            value = getattr(self, name)
            _need(f"augment.{name}", value, 0 <= value < 1, "0 or above, below 1")


@dataclass(frozen=True)
class PairConfig:
    """How pairs are drawn and labelled."""

    negative: float = 0.1
    """Share of the pairs whose search region does not hold the template's target."""
    distractor: float = 0.5
    """Share of the negatives that show another object of the same image or data set folder."""
    max_gap_frames: int = 60
    """Greatest distance of the two frames of a pair."""
    search_px: int = 255
    """Side of the search region in training; flight uses a larger one."""
    positives: int = 16
    """Most positive anchors a pair."""
    negatives: int = 48
    """Most negative anchors a pair (fewer positives do not raise it)."""
    hard_negatives: float = 0.5
    """Share of the negatives that are the ones with the highest score, the rest by chance."""
    positive_iou: float = 0.6
    """Anchors above this IoU are positive."""
    negative_iou: float = 0.3
    """Anchors below this IoU are negative."""
    min_side_px: float = 4.0
    """Boxes with a shorter side are left out."""
    clean: bool = False
    """Give the crops as they were before night fell, too."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _share("pairs.negative", self.negative)
        _share("pairs.distractor", self.distractor)
        _share("pairs.hard_negatives", self.hard_negatives)
        for name in ("max_gap_frames", "positives", "negatives"):
            _need(f"pairs.{name}", getattr(self, name), getattr(self, name) >= 1, "1 or more")
        _need("pairs.min_side_px", self.min_side_px, self.min_side_px >= 0, "0 or above")
        fits = self.search_px % 8 == 7 and self.search_px >= 191
        _need("pairs.search_px", self.search_px, fits, "8 n + 7, at least 191 (as 255 or 287)")
        fits = 0 < self.negative_iou <= self.positive_iou < 1
        _need("pairs.negative_iou, positive_iou", (self.negative_iou, self.positive_iou), fits,
              "0 < negative <= positive < 1")  # fmt: skip


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule."""

    lr: float = 1e-3
    """Greatest learning rate."""
    lr_end: float = 1e-5
    """Learning rate at the end of the cosine."""
    backbone_lr: float = 1.0
    """Learning rate of the backbone, relative to `lr`."""
    weight_decay: float = 1e-4
    """Decoupled weight decay (AdamW)."""
    warmup_steps: int = 200
    """Steps of linear warm-up."""
    steps: int = 100_000
    """Steps of the whole run."""
    max_hours: float = 0.0
    """When above 0, the schedule follows the time instead and ends after so many hours."""
    clip: float = 10.0
    """Greatest norm of the gradient."""
    ema: float = 0.999
    """Decay of the weights' moving average; 0 switches it off."""
    cls_weight: float = 1.0
    """Weight of the classification loss."""
    loc_weight: float = 1.2
    """Weight of the regression loss."""
    statistics: str = "batch"
    """Batch norm of the parts that train: with the statistics of each `batch`, or with those that
    the network came with, `frozen`, as it runs in flight. A trained network that goes on in small
    batches needs `frozen`: else it learns to lean on the other pairs of its batch."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("lr", "lr_end", "clip"):
            _need(f"optim.{name}", getattr(self, name), getattr(self, name) > 0, "above 0")
        for name in ("weight_decay", "warmup_steps", "max_hours", "backbone_lr"):
            _need(f"optim.{name}", getattr(self, name), getattr(self, name) >= 0, "0 or above")
        for name in ("cls_weight", "loc_weight"):
            _need(f"optim.{name}", getattr(self, name), getattr(self, name) >= 0, "0 or above")
        fits = self.lr_end <= self.lr
        _need("optim.lr_end", self.lr_end, fits, f"optim.lr, {self.lr:g}, or below: it is the end")
        _need("optim.steps", self.steps, self.steps >= 1, "1 or more")
        _need("optim.ema", self.ema, 0 <= self.ema < 1, "0 or above, below 1")
        fits = self.statistics in ("batch", "frozen")
        _need("optim.statistics", self.statistics, fits, "batch or frozen")


@dataclass(frozen=True)
class RunConfig:
    """How the run is carried out."""

    seed: int = 1
    """Seed of weights, samples and augmentation."""
    batch: int = 32
    """Pairs a step and process."""
    workers: int = 1
    """Worker processes that make samples; 0 makes them in the training process."""
    precision: str = "bf16"
    """`bf16` (autocast) or `fp32`."""
    checkpoint_minutes: float = 5.0
    """Minutes between checkpoints."""
    log_steps: int = 20
    """Steps between entries of the log."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _need("run.seed", self.seed, self.seed >= 0, "0 or more")
        _need("run.batch", self.batch, self.batch >= 1, "1 or more")
        _need("run.workers", self.workers, self.workers >= 0, "0 or more")
        _need("run.precision", self.precision, self.precision in ("bf16", "fp32"), "bf16 or fp32")
        _need("run.checkpoint_minutes", self.checkpoint_minutes, self.checkpoint_minutes > 0, "> 0")
        _need("run.log_steps", self.log_steps, self.log_steps >= 1, "1 or more")


_SECTIONS: dict[str, type[Any]] = {
    "night": NightConfig,
    "augment": AugmentConfig,
    "pairs": PairConfig,
    "optim": OptimConfig,
    "run": RunConfig,
    "tracker": TrackerConfig,
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run needs; one YAML file."""

    sources: tuple[SourceConfig, ...]
    night: NightConfig = field(default_factory=NightConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    pairs: PairConfig = field(default_factory=PairConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    network: str = "alexnet"
    """Baseline that the stage `baseline` trains; its map must have AlexNet's grid."""

    def __post_init__(self) -> None:
        """Check that the labels fit the network's map."""
        for name in ("template_px", "stride"):
            value, wanted = getattr(self.tracker, name), getattr(TrackerConfig(), name)
            _need(f"tracker.{name}", value, value == wanted, f"{wanted}, the networks' own")
        fitting = [
            n for n, b in BASELINES.items() if b.tracker.score_size == TrackerConfig().score_size
        ]
        _need("network", self.network, self.network in fitting, " or ".join(fitting))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Build from YAML values.

        Raises:
            ConfigError: a key is unknown, a value is of the wrong type or out of range.
        """
        filled: dict[str, Any] = {}
        for key, value in values.items():
            if key == "sources":
                filled[key] = _sources(value)
            elif key == "network":
                filled[key] = value
            elif key in _SECTIONS:
                _need(key, value, isinstance(value, Mapping), "a mapping of settings")
                filled[key] = build_config(_SECTIONS[key], value)
            else:
                known = ", ".join(["sources", "network", *_SECTIONS])
                raise ConfigError(f"unknown section {key!r} in the training file; known: {known}")
        _need("sources", None, "sources" in filled, "a list of data folders")
        return cls(**filled)

    def as_mapping(self) -> dict[str, Any]:
        """Plain values that `from_mapping` accepts again (for checkpoints)."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain


def load_config(path: Path) -> TrainConfig:
    """Read a YAML training file.

    Raises:
        ConfigError: the file is missing, not YAML, or holds a setting that does not fit.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"training file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = str(error).splitlines()[0]
        raise ConfigError(f"training file {path} is not valid YAML: {where}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"training file {path} holds no settings: expected sections as `sources:`"
        )
    try:
        return TrainConfig.from_mapping(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _sources(value: Any) -> tuple[SourceConfig, ...]:
    fits = isinstance(value, (list, tuple)) and value and all(isinstance(v, Mapping) for v in value)
    _need("sources", value, bool(fits), "a list of data folders, each with kind and path")
    return tuple(build_config(SourceConfig, item) for item in value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _share(name: str, value: float) -> None:
    _need(name, value, 0.0 <= value <= 1.0, "0..1")


def _need(name: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise ConfigError(f"{name} is {value!r}: expected {expected}")
