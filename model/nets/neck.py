"""The neck of multi-level SiamRPN++: every level to 256 channels, the template to its centre."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

CENTRE_CELLS = 7
_TEMPLATE_BELOW = 20
"""Features with fewer cells a side are a template's."""


class AdjustLevel(nn.Module):
    """A 1x1 convolution with batch norm; of a template only the 7 x 7 centre stays."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x in x s x s] to [B x out x s x s], or x 7 x 7 where s is below 20."""
        x = self.downsample(x)
        side = x.shape[-1]
        if side < _TEMPLATE_BELOW:
            first = (side - CENTRE_CELLS) // 2
            x = x[..., first : first + CENTRE_CELLS, first : first + CENTRE_CELLS]
        return x


class AdjustLevels(nn.Module):
    """One `AdjustLevel` a level, named `downsample2`, `downsample3`, … as in PySOT."""

    def __init__(self, in_channels: Sequence[int], out_channels: int = 256) -> None:
        super().__init__()
        self.names = tuple(f"downsample{i}" for i in range(2, 2 + len(in_channels)))
        for name, channels in zip(self.names, in_channels, strict=True):
            self.add_module(name, AdjustLevel(channels, out_channels))

    def forward(self, levels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """One tensor a level to one tensor a level."""
        pairs = zip(self.names, levels, strict=True)
        return [self.get_submodule(name)(level) for name, level in pairs]
