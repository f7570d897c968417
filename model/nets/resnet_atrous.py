"""ResNet-50 whose last stages are dilated, so that three levels share stride 8 (SiamRPN++)."""

from __future__ import annotations

import torch
from torch import nn

CHANNELS = (512, 1024, 2048)
"""Channels of the three levels that `ResNet50` gives."""

_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut; names as in PySOT."""

    def __init__(
        self, in_channels: int, width: int, stride: int, dilation: int, shortcut: nn.Module | None
    ) -> None:
        """Build it; without padding where the stride is 2, with as much as the dilation else."""
        super().__init__()
        out_channels = width * _EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        padding = 0 if stride == 2 else dilation
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x C x H x W] to [B x 4·width x H' x W']."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """Stages of 3, 4, 6 and 3 blocks; the last two dilated by 2 and 4 instead of strided."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(64, 64, 3, stride=1, dilation=1)
        self.layer2 = _stage(256, 128, 4, stride=2, dilation=1)
        self.layer3 = _stage(512, 256, 6, stride=1, dilation=2)
        self.layer4 = _stage(1024, 512, 3, stride=1, dilation=4)
        _initialise(self)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Extract features of three levels.

        Args:
            x: [B x 3 x S x S] BGR, 0..255, float.

        Returns:
            [B x 512 | 1024 | 2048 x s x s]; s is 15 at 127 px, 31 at 255 px.
        """
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        level2 = self.layer2(self.layer1(x))
        level3 = self.layer3(level2)
        return level2, level3, self.layer4(level3)


def _stage(in_channels: int, width: int, blocks: int, stride: int, dilation: int) -> nn.Sequential:
    """The first block has half the dilation, and a shortcut that changes the channels."""
    out_channels = width * _EXPANSION
    first = max(dilation // 2, 1)
    if stride == 1 and dilation == 1:
        conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    else:
        padding = first if dilation > 1 else 0
        conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding, first, bias=False)
    shortcut = nn.Sequential(conv, nn.BatchNorm2d(out_channels))
    layers = [Bottleneck(in_channels, width, stride, first, shortcut)]
    layers += [Bottleneck(out_channels, width, 1, dilation, None) for _ in range(blocks - 1)]
    return nn.Sequential(*layers)


def _initialise(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
