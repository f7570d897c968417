"""Several processes that train one network, started by torchrun: what they share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce

from model.errors import InputError

# The first process cuts the crops while the others wait: hours, for a large data set.
_PATIENCE = timedelta(hours=24)


@dataclass(frozen=True)
class Team:
    """The processes of a run.

    Attributes:
        rank: number of this process; 0 writes logs and checkpoints.
        world: count of processes.
        device: where this process computes.
    """

    rank: int
    world: int
    device: torch.device


@contextmanager
def join_team(device: torch.device) -> Iterator[Team]:
    """Join the other processes when torchrun started this one; be alone otherwise.

    Within a team it gives the same team again: to part and join anew between two runs would let a
    quick process wait for one that has not parted yet, for ever.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Team(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if dist.is_initialized():
        yield Team(dist.get_rank(), world, device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Team(dist.get_rank(), world, device)
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Count of processes that train together; 1 outside a team."""
    return dist.get_world_size() if dist.is_initialized() else 1


def agree(values: tuple[float, ...], team: Team) -> tuple[float, ...]:
    """The greatest of each value over the processes: so all learn at one rate and stop together."""
    if team.world == 1:
        return values
    shared = torch.tensor(values, dtype=torch.float64, device=team.device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return tuple(shared.tolist())


def team_sum(values: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over the processes, without gradient; every one must ask."""
    shared = values.detach().clone()
    if world_size() > 1:
        dist.all_reduce(shared)
    return shared


def team_mean(values: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor of floats over the processes, without gradient; every one must ask."""
    return team_sum(values) / world_size()


def share_gradients(parameters: list[nn.Parameter]) -> None:
    """Average the gradients over the processes, as data parallelism does."""
    if world_size() == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= world_size()


class TeamBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose batch is that of all processes, each with as many samples.

    torch's own `SyncBatchNorm` works on GPUs alone.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise [B x C x H x W] per channel; in evaluation mode by the running statistics."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        world = world_size()
        wide = x.float()
        mean = _sum(wide.mean((0, 2, 3))) / world
        distance = wide - mean[:, None, None]
        variance = _sum(distance.square().mean((0, 2, 3))) / world
        self._follow(mean.detach(), variance.detach(), world * x.numel() // x.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normal = distance * scale[:, None, None] + self.bias[:, None, None]
        return normal.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
        """Move the running statistics, the variance unbiased, as torch's batch norm does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)


def _sum(values: torch.Tensor) -> torch.Tensor:
    """The sum over the processes, through which gradients flow back to each."""
    total: torch.Tensor = all_reduce(values.contiguous())  # type: ignore[no-untyped-call]
    return total


def share_statistics(module: nn.Module) -> None:
    """Let every batch norm in a network look at the batch of the whole team; names stay.

    Args:
        module: changed in place: its norms are replaced by ones with the same tensors.
    """
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            norm = TeamBatchNorm2d(child.num_features, child.eps, child.momentum)
            norm.weight, norm.bias = child.weight, child.bias
            norm.running_mean, norm.running_var = child.running_mean, child.running_var
            norm.num_batches_tracked = child.num_batches_tracked
            norm.train(child.training)
            setattr(module, name, norm)
        else:
            share_statistics(child)


def refuse_team(stage: str) -> None:
    """Name a stage that is not made for several processes.

    Raises:
        InputError: torchrun started more than one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(f"{stage} trains in one process: start it without torchrun")
