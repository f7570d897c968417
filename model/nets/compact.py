"""A compact backbone of dense 3x3 convolutions for slow laptops.

Depth-wise convolutions gain nothing from a CPU's matrix units, so this is a plain stack in
RepVGG's manner: in training each block also has a 1x1 and an identity branch; `fuse` adds them
into the one 3x3 convolution that runs in flight. No padding, and AlexNet's receptive field of
87 px: the same grid of features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS = 128
HIDDEN = 128
"""Channels of the head's correlation maps."""


class RepBlock(nn.Module):
    """An unpadded 3x3 convolution with batch norm, a 1x1 and (where it fits) an identity branch."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, activation: bool) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(in_channels, out_channels, 3, stride, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        same = stride == 1 and in_channels == out_channels
        self.bn0 = nn.BatchNorm2d(out_channels) if same else None
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x in x H x W] to [B x out x (H - 2) / stride x …]."""
        centre = x[..., 1:-1, 1:-1]
        y: torch.Tensor = self.bn3(self.conv3(x)) + self.bn1(self.conv1(centre))
        if self.bn0 is not None:
            y = y + self.bn0(centre)
        return torch.relu(y) if self.activation else y

    @torch.no_grad()
    def fused(self) -> nn.Module:
        """The one convolution that does the same in evaluation mode."""
        weight, bias = _fold(self.conv3.weight, self.bn3)
        small, offset = _fold(self.conv1.weight, self.bn1)
        weight, bias = weight + F.pad(small, (1, 1, 1, 1)), bias + offset
        if self.bn0 is not None:
            eye = torch.eye(weight.shape[0], device=weight.device).reshape(*weight.shape[:2], 1, 1)
            unit, offset = _fold(eye, self.bn0)
            weight, bias = weight + F.pad(unit, (1, 1, 1, 1)), bias + offset
        stride = self.conv3.stride[0]
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride)
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)  # type: ignore[union-attr]
        conv = conv.to(weight.device)
        return nn.Sequential(conv, nn.ReLU(inplace=True)) if self.activation else conv


class CompactBackbone(nn.Module):
    """A 7x7 stem of stride 4, six blocks; 0.8 GMAC at 287 px where AlexNet's backbone has 5.7."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=4, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        )
        widths = ((64, 64, 1), (64, CHANNELS, 2), *((CHANNELS, CHANNELS, 1),) * 4)
        last = len(widths) - 1
        self.blocks = nn.Sequential(
            *(
                RepBlock(i, o, stride, activation=n < last)
                for n, (i, o, stride) in enumerate(widths)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Extract features.

        Args:
            x: [B x 3 x S x S] BGR, 0..255, float.

        Returns:
            [B x 128 x s x s]; s is 6 at 127 px, 22 at 255 px, 26 at 287 px.
        """
        features: torch.Tensor = self.blocks(self.stem(x))
        return features

    def fuse(self) -> None:
        """Replace each block by its one convolution: for export, after training, in place."""
        for name, block in self.blocks.named_children():
            if isinstance(block, RepBlock):
                self.blocks.add_module(name, block.fused())


def _fold(weight: torch.Tensor, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a bias-free convolution with the batch norm's running statistics in."""
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    scale = norm.weight / (var + norm.eps).sqrt()
    return weight * scale.reshape(-1, 1, 1, 1), norm.bias - mean * scale
