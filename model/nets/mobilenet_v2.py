"""MobileNetV2 with dilated last stages, so that three levels share stride 8 (PySOT)."""

from __future__ import annotations

import torch
from torch import nn

CHANNELS = (44, 134, 448)
"""Channels of the three levels at width 1.4."""

_LEVELS = (3, 5, 7)
_STAGES = (
    # expansion, channels, blocks, stride, dilation
    (1, 16, 1, 1, 1),
    (6, 24, 2, 2, 1),
    (6, 32, 3, 2, 1),
    (6, 64, 4, 1, 2),
    (6, 96, 3, 1, 2),
    (6, 160, 3, 1, 4),
    (6, 320, 1, 1, 4),
)


class InvertedResidual(nn.Module):
    """Widen by 1x1, convolve each channel by 3x3, narrow by 1x1 without activation."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion: int, dilation: int
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        padding = 0 if stride == 2 else dilation
        self.shortcut = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, padding, dilation, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x in x H x W] to [B x out x H' x W']."""
        y: torch.Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileNetV2(nn.Module):
    """`layer0` is the stem, `layer1` … `layer7` the stages; names as in PySOT."""

    def __init__(self, width: float = 1.4) -> None:
        super().__init__()
        channels = int(32 * width)
        self.layer0 = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU6(inplace=True),
        )
        last_dilation = 1
        for number, (expansion, base, blocks, stride, dilation) in enumerate(_STAGES, start=1):
            out_channels = int(base * width)
            first = dilation if dilation == last_dilation else max(dilation // 2, 1)
            layers = [InvertedResidual(channels, out_channels, stride, expansion, first)]
            layers += [
                InvertedResidual(out_channels, out_channels, 1, expansion, dilation)
                for _ in range(blocks - 1)
            ]
            self.add_module(f"layer{number}", nn.Sequential(*layers))
            channels, last_dilation = out_channels, dilation

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Extract features of three levels.

        Args:
            x: [B x 3 x S x S] BGR, 0..255, float.

        Returns:
            [B x 44 | 134 | 448 x s x s]; s is 15 at 127 px, 31 at 255 px.
        """
        levels = []
        for number in range(len(_STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
            if number in _LEVELS:
                levels.append(x)
        return tuple(levels)
