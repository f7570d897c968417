"""Factors the convolutions of a trained AlexNet tracker, in closed form, from crops alone.

The principal directions of what a convolution answers over crops say which few channels hold it
(Zhang et al., 2016, Accelerating Very Deep Convolutional Networks for Classification and
Detection, arXiv:1505.06798, section 3.1). No training follows; docs/engines.md has what it costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from model.errors import InputError
from model.nets.factored import FEATURES, RANKS, FactoredConv, FactoredSiamRPN
from model.nets.siamrpn import SiamRPN

CROPS = 512
"""Search regions that are looked at."""
LEAST_CROPS = 64
"""With fewer the directions are those of these crops more than of the network: on other crops the
error of the box map was 1.8 % with 64, 3.3 % with 8 and 25 % with one."""
PLACES = 100
"""Cells of each map that are looked at."""
_DARKEST = 0.01
"""Crops count by the inverse of their energy, down to this share of the median."""


@dataclass(frozen=True)
class _Answers:
    """What a convolution answers over crops, batch norm included, before any ReLU.

    Attributes:
        values: [N x C], float32.
        weights: [N], of sum 1, float64.
    """

    values: torch.Tensor
    weights: torch.Tensor

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean [C] and covariance [C x C], float64."""
        values = self.values.double()
        mean = self.weights @ values
        values -= mean
        return mean, (values * self.weights[:, None]).T @ values


def factor_network(net: SiamRPN, crops: Iterable[torch.Tensor], seed: int = 0) -> FactoredSiamRPN:
    """Make the factored form of a trained network.

    Args:
        net: in evaluation mode; not changed.
        crops: batches [B x 3 x S x S] BGR, 0..255, float: search regions as in flight.
        seed: of the places looked at.

    Returns:
        The factored network, in evaluation mode, its batch norms without effect.

    Raises:
        InputError: fewer than `LEAST_CROPS` of the crops show more than one colour.
    """
    anchors = cast(nn.Conv2d, net.rpn_head.cls.head[3]).out_channels // 2
    small = FactoredSiamRPN(anchors).eval()
    found = _collect(net, crops, seed)
    with torch.no_grad():
        for place, rank in enumerate(RANKS):
            target = _layers(small)[place]
            _factor_layer(_layers(net)[place], target, _directions(found[place], rank))
        _factor_last(net, small, found[-1])
        for branch in ("cls", "loc"):
            head = getattr(small.rpn_head, branch).head
            head.load_state_dict(getattr(net.rpn_head, branch).head.state_dict())
    return small


def _layers(net: SiamRPN) -> tuple[nn.Sequential, ...]:
    backbone = net.backbone
    return (
        backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4, backbone.layer5
    )  # fmt: skip


@dataclass(frozen=True)
class _Directions:
    """Where a convolution's answers lie: mean + up (down (answer - mean)) is close to each.

    Attributes:
        mean: [C].
        down: [r x C].
        up: [C x r], back.
    """

    mean: torch.Tensor
    down: torch.Tensor
    up: torch.Tensor


def _directions(answers: _Answers, rank: int, seen: torch.Tensor | None = None) -> _Directions:
    """Find the `rank` channels that hold most of what a convolution answers.

    Args:
        answers: of the convolution.
        rank: channels wanted.
        seen: [C x C] symmetric and regular: how what reads the answers sees an error; the identity
            when None.
    """
    mean, covariance = answers.moments()
    seen = torch.eye(len(covariance), dtype=covariance.dtype) if seen is None else seen
    axes = torch.linalg.eigh(seen @ covariance @ seen)[1][:, -rank:]
    return _Directions(mean, axes.T @ seen, torch.linalg.solve(seen, axes))


def _factor_layer(source: nn.Sequential, target: nn.Sequential, into: _Directions) -> None:
    pair = cast(FactoredConv, target[0])
    _fill(pair.narrow, source, into)
    pair.wide.weight.copy_(into.up[:, :, None, None])
    cast(torch.Tensor, pair.wide.bias).copy_(into.mean)
    _switch_off(target[1])


def _factor_last(net: SiamRPN, small: FactoredSiamRPN, answers: _Answers) -> None:
    """Layer 5 and the convolutions behind it: those directions stay that the head looks at."""
    readers = [
        (
            getattr(getattr(net.rpn_head, branch), name),
            getattr(getattr(small.rpn_head, branch), name),
        )
        for branch in ("cls", "loc")
        for name in ("conv_search", "conv_kernel")
    ]
    kernels = [_folded(whole)[0] for whole, _ in readers]
    seen = sum(torch.einsum("oikl,ojkl->ij", k, k) / k.square().sum() for k in kernels)
    into = _directions(answers, FEATURES, _root(cast(torch.Tensor, seen)))
    _fill(cast(nn.Conv2d, small.backbone.layer5[0]), net.backbone.layer5, into)
    _switch_off(small.backbone.layer5[1])
    for whole, factored in readers:
        kernel, shift = _folded(whole)
        factored[0].weight.copy_(torch.einsum("oikl,ir->orkl", kernel, into.up))
        _switch_off(factored[1])
        factored[1].bias.copy_(shift + torch.einsum("oikl,i->o", kernel, into.mean))


def _root(matrix: torch.Tensor) -> torch.Tensor:
    """The symmetric square root of a positive matrix, its least directions raised to be regular.

    Its largest value is brought to 1.
    """
    values, axes = torch.linalg.eigh(matrix)
    raised = (values / values.max()).clamp_min(1e-6)
    root: torch.Tensor = (axes * raised.sqrt()) @ axes.T
    return root


def _fill(conv: nn.Conv2d, source: nn.Sequential, into: _Directions) -> None:
    """Let a convolution answer in the directions of a layer's, less the mean."""
    weight, bias = _folded(source)
    conv.weight.copy_(torch.einsum("ro,oikl->rikl", into.down, weight))
    cast(torch.Tensor, conv.bias).copy_(into.down @ (bias - into.mean))


def _folded(layer: nn.Sequential) -> tuple[torch.Tensor, torch.Tensor]:
    """Kernel and bias, float64, of a layer's convolution with its batch norm in it."""
    conv, norm = cast(nn.Conv2d, layer[0]), cast(nn.BatchNorm2d, layer[1])
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    before = 0.0 if conv.bias is None else conv.bias.double()
    bias = norm.bias.double() + (before - norm.running_mean.double()) * scale
    return conv.weight.double() * scale[:, None, None, None], bias


def _switch_off(norm: nn.Module) -> None:
    """Let a batch norm in evaluation mode answer what it is given."""
    norm = cast(nn.BatchNorm2d, norm)
    nn.init.constant_(cast(torch.Tensor, norm.running_var), 1.0 - norm.eps)


@torch.no_grad()
def _collect(net: SiamRPN, crops: Iterable[torch.Tensor], seed: int) -> list[_Answers]:
    """Look at `PLACES` cells of what each layer answers to each crop, behind its batch norm."""
    generator = torch.Generator().manual_seed(seed)
    norms = [layer[1] for layer in _layers(net)]
    shown: dict[nn.Module, torch.Tensor] = {}

    def show(norm: nn.Module, _: object, answers: torch.Tensor) -> None:
        shown[norm] = answers.clone()  # the ReLU behind it works in place

    hooks = [norm.register_forward_hook(show) for norm in norms]
    values: list[list[torch.Tensor]] = [[] for _ in norms]
    energies: list[list[float]] = [[] for _ in norms]
    try:
        for batch in crops:
            net.backbone(batch)
            for place, norm in enumerate(norms):
                for crop in shown[norm].flatten(2):
                    cells = torch.randint(crop.shape[1], (PLACES,), generator=generator)
                    answers = crop[:, cells].T
                    # The last layer has no ReLU: what is below zero counts there too.
                    kept = answers if norm is norms[-1] else answers.relu()
                    values[place].append(answers)
                    energies[place].append(float(kept.var(0).sum()))
    finally:
        for hook in hooks:
            hook.remove()
    return [_weighted(*pair) for pair in zip(values, energies, strict=True)]


def _weighted(values: list[torch.Tensor], energies: list[float]) -> _Answers:
    """Let crops count alike, however dark: by the inverse of their energy.

    Args:
        values: [PLACES x C] of each crop.
        energies: of each crop; those of next to none, as of one colour, are left out.

    Raises:
        InputError: fewer than `LEAST_CROPS` crops have any.
    """
    power = torch.tensor(energies, dtype=torch.float64)
    kept = power > 1e-6 * power.max() if len(power) else power.bool()
    if (count := int(kept.sum())) < LEAST_CROPS:
        raise InputError(
            f"{count} of {len(power)} crops show more than one colour: expected {LEAST_CROPS} or "
            "more to factor by; give more frames, like those of your flights, with --calibration"
        )
    power = power[kept]
    weights = (1.0 / power.clamp_min(_DARKEST * float(power.median()))).repeat_interleave(PLACES)
    chosen = [crop for crop, keep in zip(values, kept.tolist(), strict=True) if keep]
    return _Answers(torch.cat(chosen), weights / weights.sum())
