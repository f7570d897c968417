"""SiamRPN++ with AlexNet, its convolutions factored: nearly the same maps for a third of the work.

What a convolution of AlexNet answers over real crops lies close to a space of far fewer dimensions
than it has channels. A k x k convolution to so many channels and a 1x1 from them to all take a
fraction of the work (Zhang et al., 2016, Accelerating Very Deep Convolutional Networks for
Classification and Detection, arXiv:1505.06798, section 3.1). The last layer has no ReLU, so that
its 1x1 is one with the head's convolutions: it merely has fewer channels.
`exporter.factor` finds the weights.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from model.nets.head import DepthwiseRPN
from model.nets.siamrpn import SiamRPN

RANKS = (32, 64, 128, 128)
"""Channels between the two convolutions of layers 1 to 4."""
FEATURES = 96
"""Channels of layer 5, which the head reads; AlexNet has 256."""


class FactoredConv(nn.Module):
    """A k x k convolution to few channels and a 1x1 convolution to all, with nothing between."""

    def __init__(self, conv: nn.Conv2d, rank: int) -> None:
        """Make the two, with fresh weights.

        Args:
            conv: whose place they take; unpadded, without groups.
            rank: channels between.
        """
        super().__init__()
        side = cast(tuple[int, int], conv.kernel_size)
        stride = cast(tuple[int, int], conv.stride)
        self.narrow = nn.Conv2d(conv.in_channels, rank, side, stride)
        self.wide = nn.Conv2d(rank, conv.out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x in x H x W] to [B x out x h x w], as the convolution that it stands for."""
        y: torch.Tensor = self.wide(self.narrow(x))
        return y


class FactoredSiamRPN(SiamRPN):
    """`SiamRPN` with factored convolutions: 2.2 GMAC at 287 px where it has 6.4.

    Kernels and maps have the shapes of `SiamRPN`; `backbone` answers with `FEATURES` channels.
    """

    def __init__(self, anchors_per_cell: int = 5) -> None:
        super().__init__(anchors_per_cell)
        net = self.backbone
        for layer, rank in zip(
            (net.layer1, net.layer2, net.layer3, net.layer4), RANKS, strict=True
        ):
            layer[0] = FactoredConv(cast(nn.Conv2d, layer[0]), rank)
        last = cast(nn.Conv2d, net.layer5[0])
        net.layer5[0] = nn.Conv2d(
            last.in_channels, FEATURES, cast(tuple[int, int], last.kernel_size)
        )
        net.layer5[1] = nn.BatchNorm2d(FEATURES)
        self.rpn_head = DepthwiseRPN(anchors_per_cell, FEATURES, last.out_channels)
