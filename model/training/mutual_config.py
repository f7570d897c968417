"""Configuration of the distillation stages: a training file with three sections more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from model.config import TrackerConfig, build_config
from model.enhance.registry import ENHANCERS
from model.errors import ConfigError
from model.nets.baselines import BASELINES
from model.training.config import TrainConfig
from model.training.distill import CORRELATION_LOSSES
from model.training.night_teacher import ALWAYS_GREY
from model.training.objective import DistillConfig
from model.training.students import PARTS, Parts


@dataclass(frozen=True)
class TeacherConfig:
    """What the teacher is made of."""

    enhancer: str = "darklighter"
    """Name of the enhancer."""
    baseline: str = "alexnet"
    """Name of the tracking network."""
    enhance_below_grey: float = ALWAYS_GREY
    """Pairs whose search crop is lighter (mean grey, 0..255) are not enhanced; 255 is never."""
    sees: Literal["enhanced", "clean"] = "enhanced"
    """`enhanced`: the night crops through the enhancer, as in the paper. `clean`: the crops as they
    were before the synthesis darkened them, as from an enhancer that loses nothing."""

    def __post_init__(self) -> None:
        """Check names and range."""
        _need("teacher.enhancer", self.enhancer, self.enhancer in ENHANCERS, " ".join(ENHANCERS))
        _need("teacher.baseline", self.baseline, self.baseline in BASELINES, " ".join(BASELINES))
        grey = self.enhance_below_grey
        _need("teacher.enhance_below_grey", grey, 0 <= grey <= ALWAYS_GREY, "0..255")
        fits = self.sees in ("enhanced", "clean")
        _need("teacher.sees", self.sees, fits, "enhanced or clean")


@dataclass(frozen=True)
class StudentsConfig:
    """Who learns."""

    losses: tuple[str, ...] = ("l2", "spatial", "threshold")
    """L_CRL of each student: `l2`, `spatial`, `threshold` or `none`; `truth` learns nothing from
    the teacher at all."""
    baseline: str = "alexnet"
    """Name of the students' network."""
    parts: Parts = "backbone"
    """What trains: `backbone` (paper), `release`, `upper` or `all`."""
    epoch_steps: int = 500
    """Steps after which wins are counted, and maps and crops drawn."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        known = (*CORRELATION_LOSSES, "none", "truth")
        fits = bool(self.losses) and all(name in known for name in self.losses)
        _need("students.losses", self.losses, fits, f"one or more of {' '.join(known)}")
        # Targets are laid out for AlexNet's grid: the larger maps of padded networks do not fit.
        score_size = TrackerConfig().score_size
        fitting = [n for n, b in BASELINES.items() if b.tracker.score_size == score_size]
        _need("students.baseline", self.baseline, self.baseline in fitting, " ".join(fitting))
        _need("students.parts", self.parts, self.parts in PARTS, " ".join(PARTS))
        _need("students.epoch_steps", self.epoch_steps, self.epoch_steps >= 1, "1 or more")

    def names(self) -> tuple[str, ...]:
        """One name a student: its loss, with a number where two have the same."""
        names: list[str] = []
        for index, loss in enumerate(self.losses):
            before = self.losses[:index].count(loss)
            names.append(f"{loss}.{before + 1}" if before else loss)
        return tuple(names)


@dataclass(frozen=True)
class MutualConfig:
    """Everything a distillation run needs; one YAML file."""

    train: TrainConfig
    distill: DistillConfig = field(default_factory=DistillConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    students: StudentsConfig = field(default_factory=StudentsConfig)

    def __post_init__(self) -> None:
        """Ask for the crops that the teacher sees."""
        asked = self.train.pairs.clean and self.teacher.sees != "clean"
        _need("pairs.clean", True, not asked, "nothing: teacher.sees: clean asks for those crops")
        others = (TrainConfig.network, self.students.baseline)
        _need(
            "network",
            self.train.network,
            self.train.network in others,
            "nothing: it is of the stage baseline; students.baseline names the students' network",
        )
        pairs = replace(self.train.pairs, clean=self.teacher.sees == "clean")
        object.__setattr__(self, "train", replace(self.train, pairs=pairs))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> MutualConfig:
        """Build from YAML values.

        Raises:
            ConfigError: a key is unknown, a value is of the wrong type or out of range.
        """
        own: dict[str, type[Any]] = {
            "distill": DistillConfig, "teacher": TeacherConfig, "students": StudentsConfig,
        }  # fmt: skip
        sections = {}
        for name, kind in own.items():
            section = values.get(name, {})
            _need(name, section, isinstance(section, Mapping), "a mapping of settings")
            sections[name] = build_config(kind, section)
        rest = {key: value for key, value in values.items() if key not in own}
        return cls(TrainConfig.from_mapping(rest), **sections)


def load_mutual_config(path: Path) -> MutualConfig:
    """Read a YAML file of a distillation stage.

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
        return MutualConfig.from_mapping(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _need(name: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise ConfigError(f"{name} is {value!r}: expected {expected}")
