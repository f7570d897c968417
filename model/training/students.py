"""A student: a network, what of it trains, its average and its optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from model.errors import ConfigError
from model.nets.baselines import Network
from model.training.config import OptimConfig
from model.training.optim import WeightAverage, make_optimizer

Parts = Literal["backbone", "release", "all"]
PARTS: tuple[Parts, ...] = ("backbone", "release", "all")

_ADAPTERS = (".conv_kernel.", ".conv_search.")


@dataclass
class Student:
    """One of the room.

    Attributes:
        name: of its correlation loss: `l2`, `spatial`, `threshold` or `none`; with a number
            behind a dot where two have the same.
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
            `conv_search`; `all` trains everything.

    Raises:
        ConfigError: no such choice.
    """
    if parts not in PARTS:
        raise ConfigError(f"students.parts is {parts!r}: expected {', '.join(PARTS)}")
    for name, parameter in net.named_parameters():
        adapter = any(part in name for part in _ADAPTERS)
        trains = name.startswith("backbone.") or (parts == "release" and adapter)
        parameter.requires_grad_(trains or parts == "all")


def set_training_mode(net: Network) -> None:
    """Training mode for the modules whose weights train; frozen ones keep their statistics."""
    net.train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()
