"""Optimiser, learning-rate schedule and moving average of the weights."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn

from model.training.config import OptimConfig


def make_optimizer(module: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW with two groups of learning rates (backbone, rest); no decay on biases and norms.

    Each group carries `scale`, its rate relative to `OptimConfig.lr`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = config.backbone_lr if name.startswith("backbone.") else 1.0
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((scale, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "scale": scale}
            for (scale, decay), parameters in groups.items()
        ],
        lr=config.lr,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group to `rate` times its scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def set_training_mode(net: nn.Module, statistics: str = "batch") -> None:
    """Training mode for the modules whose weights train; frozen ones keep their statistics.

    Args:
        net: changed in place.
        statistics: `batch` normalises the parts that train by each batch and follows it with the
            running statistics; `frozen` normalises by the running statistics, which stay.
    """
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and (
            statistics == "frozen" or not module.weight.requires_grad
        ):
            module.eval()


class RunningStatistics:
    """The running statistics of a network's batch norms before a step, should the step fail."""

    def __init__(self, net: nn.Module) -> None:
        """Copy those that the step will move."""
        norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
        self._kept = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]

    @torch.no_grad()
    def restore(self) -> None:
        """Put them back."""
        for buffer, before in self._kept:
            buffer.copy_(before)


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then a cosine over steps, or over elapsed time where the time is limited."""

    config: OptimConfig

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return the share of the run that is done, 0..1."""
        if self.config.max_hours > 0:
            return min(elapsed_s / (self.config.max_hours * 3600.0), 1.0)
        return min(step / self.config.steps, 1.0)

    def rate(self, step: int, elapsed_s: float) -> float:
        """Return the learning rate of a step that begins after `elapsed_s` of training."""
        config = self.config
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.progress(step, elapsed_s)))
        rate = config.lr_end + (config.lr - config.lr_end) * cosine
        warm = min((step + 1) / config.warmup_steps, 1.0) if config.warmup_steps else 1.0
        return rate * warm


class WeightAverage:
    """Exponential moving average (EMA) of weights and batch-norm statistics.

    The decay grows with the step, so that the first averages are not the random start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the module's weights; `step` counts from 0."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        source = module.state_dict()
        for name, average in self.module.state_dict().items():
            if average.dtype.is_floating_point:
                average.lerp_(source[name].to(average.dtype), 1.0 - decay)
            else:
                average.copy_(source[name])
