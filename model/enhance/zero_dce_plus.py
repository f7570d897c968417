"""Zero-DCE++: one curve map from separable convolutions on a reduced image (Li et al., 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from model.enhance.enhancer import Enhancer
from model.enhance.zero_dce import ROUNDS, apply_curve

_WIDTH = 32


class SeparableConv(nn.Module):
    """A 3x3 convolution of each channel, then a 1x1 across them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depth_conv = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels)
        self.point_conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x in x H x W] to [B x out x H x W]."""
        y: torch.Tensor = self.point_conv(self.depth_conv(x))
        return y


class ZeroDCEPlus(Enhancer):
    """The curve is estimated at 1/`scale` of the size and used in all eight rounds."""

    def __init__(self, scale: int = 12) -> None:
        """Build it; `scale` is 12 as in the release, 1 estimates at full size."""
        super().__init__()
        self.scale = scale
        self.e_conv1 = SeparableConv(3, _WIDTH)
        self.e_conv2 = SeparableConv(_WIDTH, _WIDTH)
        self.e_conv3 = SeparableConv(_WIDTH, _WIDTH)
        self.e_conv4 = SeparableConv(_WIDTH, _WIDTH)
        self.e_conv5 = SeparableConv(2 * _WIDTH, _WIDTH)
        self.e_conv6 = SeparableConv(2 * _WIDTH, _WIDTH)
        self.e_conv7 = SeparableConv(2 * _WIDTH, 3)

    def curve(self, image: torch.Tensor) -> torch.Tensor:
        """The curve map [B x 3 x H x W], −1..1."""
        size = image.shape[-2:]
        if self.scale > 1:
            small = [max(1, side // self.scale) for side in size]
            image = F.interpolate(image, small, mode="bilinear", align_corners=False)
        x1 = torch.relu(self.e_conv1(image))
        x2 = torch.relu(self.e_conv2(x1))
        x3 = torch.relu(self.e_conv3(x2))
        x4 = torch.relu(self.e_conv4(x3))
        x5 = torch.relu(self.e_conv5(torch.cat([x3, x4], 1)))
        x6 = torch.relu(self.e_conv6(torch.cat([x2, x5], 1)))
        curve = torch.tanh(self.e_conv7(torch.cat([x1, x6], 1)))
        if self.scale > 1:
            curve = F.interpolate(curve, size, mode="bilinear", align_corners=True)
        return curve

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """Apply the one curve eight times."""
        curve = self.curve(image)
        for _ in range(ROUNDS):
            image = apply_curve(image, curve)
        return image
