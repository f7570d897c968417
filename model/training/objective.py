"""The whole loss of a student (Eq. 6): its terms, their weights and when they apply."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from model.config import build_config
from model.errors import ConfigError, ShapeError
from model.nets.outputs import PairOutputs
from model.training.distill import (
    CORRELATION_LOSSES,
    TEMPERATURE,
    Form,
    ThresholdGradient,
    crl_threshold_loss,
    kd_cls_loss,
    kd_loc_loss,
)
from model.training.team import team_mean

TRUTH = "truth"
"""Name of a student that learns nothing from the teacher."""

_CHOICES = {
    "kd_form": ("paper", "release"),
    "correlation_form": ("paper", "release"),
    "threshold_gradient": ("straight_through", "sigmoid"),
    "maps": ("both", "cls"),
    "kd_when": ("always", "when_teacher_better"),
}


@dataclass(frozen=True)
class DistillConfig:
    """Weights and forms of the distillation losses; the paper's by default."""

    temperature: float = TEMPERATURE
    """τ of Eq. 2; the paper gives none, the release uses 10."""
    base_weight: float = 1.0
    """λ1, of L_Cls + L_Reg."""
    kd_weight: float = 1000.0
    """λ2, of L_KDC + L_KDR."""
    correlation_weight: float = 0.2
    """λ3, of L_CRL."""
    mutual_weight: float = 20.0
    """λ4, of L_ML; 0 leaves mutual learning out."""
    kd_form: Form = "paper"
    """Soft-max axis of L_KDC and L_KDR: `paper` or `release`."""
    correlation_form: Form = "paper"
    """Form of L_CRL: `paper` or `release`."""
    threshold_gradient: ThresholdGradient = "straight_through"
    """Gradient of the response threshold (Eq. 10): `straight_through` or `sigmoid`."""
    maps: Literal["both", "cls"] = "both"
    """Correlation maps that are compared: of both branches, or `cls` alone as in the release."""
    kd_when: Literal["always", "when_teacher_better"] = "always"
    """`when_teacher_better` leaves a branch's L_KD out of a batch where the student's base loss
    of that branch is already below the teacher's, as the release does."""

    def __post_init__(self) -> None:
        """Check ranges and names."""
        if not self.temperature > 0:
            raise ConfigError(f"distill.temperature is {self.temperature!r}: expected above 0")
        for name in ("base_weight", "kd_weight", "correlation_weight", "mutual_weight"):
            if not getattr(self, name) >= 0:
                value = getattr(self, name)
                raise ConfigError(f"distill.{name} is {value!r}: expected 0 or above")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                value = getattr(self, name)
                raise ConfigError(f"distill.{name} is {value!r}: expected {' or '.join(allowed)}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> DistillConfig:
        """Build from YAML values; `ConfigError` names a key or value that does not fit."""
        return build_config(cls, values)


@dataclass(frozen=True)
class LossTerms:
    """The terms of Eq. 6 for one student, scalars with gradient; absent ones are 0."""

    cls: torch.Tensor
    loc: torch.Tensor
    kd_cls: torch.Tensor
    kd_loc: torch.Tensor
    correlation: torch.Tensor
    mutual: torch.Tensor


def total_loss(terms: LossTerms, config: DistillConfig) -> torch.Tensor:
    """Eq. 6: λ1 (L_Cls + L_Reg) + λ2 (L_KDC + L_KDR) + λ3 L_CRL + λ4 L_ML."""
    return (
        config.base_weight * (terms.cls + terms.loc)
        + config.kd_weight * (terms.kd_cls + terms.kd_loc)
        + config.correlation_weight * terms.correlation
        + config.mutual_weight * terms.mutual
    )


def kd_losses(
    student: PairOutputs,
    teacher: PairOutputs,
    config: DistillConfig,
    student_base: Sequence[torch.Tensor],
    teacher_base: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """L_KDC and L_KDR under the configured form and condition.

    Args:
        student: its maps.
        teacher: its maps, same shapes.
        config: τ, form and when the terms apply.
        student_base: L_Cls and L_Reg of the student on this batch.
        teacher_base: the teacher's. Several processes compare the means of theirs.
    """
    losses = (
        kd_cls_loss(student.cls, teacher.cls, config.temperature, config.kd_form),
        kd_loc_loss(student.loc, teacher.loc, config.temperature, config.kd_form),
    )
    if config.kd_when == "always":
        return losses
    both = team_mean(torch.stack([*student_base, *teacher_base]))
    applies = both[:2] >= both[2:]
    return losses[0] * applies[0], losses[1] * applies[1]


def correlation_loss(
    name: str, student: PairOutputs, teacher: PairOutputs, config: DistillConfig
) -> torch.Tensor:
    """L_CRL (Eq. 4) of a student: the mean over the compared branches.

    Args:
        name: `l2`, `spatial`, `threshold`, or `none` for a student without L_CRL.
        student: its maps.
        teacher: its maps. Where the two have different numbers of channels, as with a compact
            student, the means over the channels are compared.
        config: form and branches.

    Raises:
        ConfigError: no loss of that name.
        ShapeError: maps of different sizes.
    """
    if name == "none":
        return torch.zeros((), device=student.cls.device)
    loss = _correlation_function(name, config)
    pairs = zip(compared_maps(student, config), compared_maps(teacher, config), strict=True)
    losses = [loss(*_comparable(s, t)) for s, t in pairs]
    return torch.stack(losses).mean()


def compared_maps(outputs: PairOutputs, config: DistillConfig) -> tuple[torch.Tensor, ...]:
    """The correlation maps that the losses look at, one [B x C x M x M] a branch."""
    if config.maps == "cls":
        return (outputs.correlation_cls,)
    return outputs.correlation_cls, outputs.correlation_loc


def _comparable(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if student.shape[-2:] != teacher.shape[-2:]:
        raise ShapeError(
            f"correlation maps of {tuple(student.shape[-2:])} and {tuple(teacher.shape[-2:])} "
            "cells cannot be compared: align the teacher's outputs first"
        )
    if student.shape[1] != teacher.shape[1]:
        return student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
    return student, teacher


def _correlation_function(
    name: str, config: DistillConfig
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    if name not in CORRELATION_LOSSES:
        known = ", ".join([*CORRELATION_LOSSES, "none"])
        raise ConfigError(f"no correlation loss {name!r}; known: {known}")
    form = config.correlation_form
    if name == "threshold":
        return functools.partial(crl_threshold_loss, form=form, gradient=config.threshold_gradient)
    return functools.partial(CORRELATION_LOSSES[name], form=form)
