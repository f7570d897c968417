"""A student: a network, what of it trains, its average and its optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from model.errors import ConfigError
from model.nets.baselines import Network, run_pairs, run_upper_pairs
from model.nets.outputs import PairOutputs
from model.nets.siamrpn import SiamRPN
from model.training.config import OptimConfig
from model.training.optim import WeightAverage, make_optimizer

Parts = Literal["backbone", "release", "upper", "all"]
PARTS: tuple[Parts, ...] = ("backbone", "release", "upper", "all")

_LOWER = ("backbone.layer1.", "backbone.layer2.")
_ADAPTERS = (".conv_kernel.", ".conv_search.")


@dataclass
class Student:
    """One of the room.

    Attributes:
        name: of its correlation loss: `l2`, `spatial`, `threshold` or `none`, or `truth` for a
            student without a teacher; with a number behind a dot where two have the same.
        net: its network.
        optimizer: over the parts that train.
        average: moving average of the weights; None without.
    """

    name: str
    net: Network
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None

    @property
    def loss(self) -> str:
        """Name of its L_CRL."""
        return self.name.partition(".")[0]


def make_student(name: str, net: Network, parts: Parts, optim: OptimConfig) -> Student:
    """Make a student of a network that already has the baseline's weights."""
    select_parts(net, parts)
    average = WeightAverage(net, optim.ema) if optim.ema > 0 else None
    return Student(name, net, make_optimizer(net, optim), average)


def select_parts(net: Network, parts: Parts) -> None:
    """Freeze all but the parts that train.

    Args:
        net: changed in place.
        parts: `backbone` as in the paper; `release` also trains the head's `conv_kernel` and
            `conv_search`; `upper` trains the head and the last three layers of AlexNet, whose
            first two are then computed once for all students; `all` trains everything.

    Raises:
        ConfigError: no such choice, or `upper` with another network than AlexNet.
    """
    if parts not in PARTS:
        raise ConfigError(f"students.parts is {parts!r}: expected {', '.join(PARTS)}")
    if parts == "upper" and not isinstance(net, SiamRPN):
        raise ConfigError("students.parts is 'upper': only AlexNet has such layers; choose all")
    for name, parameter in net.named_parameters():
        adapter = any(part in name for part in _ADAPTERS)
        trains = name.startswith("backbone.") or (parts == "release" and adapter)
        if parts in ("upper", "all"):
            trains = parts == "all" or not name.startswith(_LOWER)
        parameter.requires_grad_(trains)


def answer_pairs(
    students: Sequence[Student], z: torch.Tensor, x: torch.Tensor
) -> tuple[PairOutputs, ...]:
    """Every student's maps of a batch of pairs; layers that none of them trains run once.

    Args:
        students: all from one baseline, so that what is frozen is the same in each.
        z: [B x 3 x 127 x 127] BGR, 0..255, float.
        x: [B x 3 x S x S] BGR, 0..255, float.
    """
    nets = [student.net for student in students]
    whole = [net for net in nets if isinstance(net, SiamRPN) and _lower_is_frozen(net)]
    if len(whole) < len(nets):
        return tuple(run_pairs(net, z, x) for net in nets)
    with torch.no_grad():
        lower = whole[0].backbone.lower
        z, x = lower(z), lower(x)
    return tuple(run_upper_pairs(net, z, x) for net in whole)


def _lower_is_frozen(net: SiamRPN) -> bool:
    layers = (net.backbone.layer1, net.backbone.layer2)
    return not any(p.requires_grad for layer in layers for p in layer.parameters())
