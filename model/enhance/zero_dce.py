"""Zero-DCE: pixel-wise light-enhancement curves (Guo et al., CVPR 2020)."""

from __future__ import annotations

import torch
from torch import nn

from model.enhance.enhancer import Enhancer

ROUNDS = 8
_WIDTH = 32


class ZeroDCE(Enhancer):
    """Seven convolutions with mirrored skips give eight curve maps of three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.e_conv1 = nn.Conv2d(3, _WIDTH, 3, padding=1)
        self.e_conv2 = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.e_conv3 = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.e_conv4 = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.e_conv5 = nn.Conv2d(2 * _WIDTH, _WIDTH, 3, padding=1)
        self.e_conv6 = nn.Conv2d(2 * _WIDTH, _WIDTH, 3, padding=1)
        self.e_conv7 = nn.Conv2d(2 * _WIDTH, 3 * ROUNDS, 3, padding=1)

    def curves(self, image: torch.Tensor) -> torch.Tensor:
        """Curve maps [B x 24 x H x W], −1..1: channels 3 i … 3 i + 2 belong to round i."""
        x1 = torch.relu(self.e_conv1(image))
        x2 = torch.relu(self.e_conv2(x1))
        x3 = torch.relu(self.e_conv3(x2))
        x4 = torch.relu(self.e_conv4(x3))
        x5 = torch.relu(self.e_conv5(torch.cat([x3, x4], 1)))
        x6 = torch.relu(self.e_conv6(torch.cat([x2, x5], 1)))
        return torch.tanh(self.e_conv7(torch.cat([x1, x6], 1)))

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """Apply each round's own curve."""
        for curve in self.curves(image).chunk(ROUNDS, dim=1):
            image = apply_curve(image, curve)
        return image


def apply_curve(image: torch.Tensor, curve: torch.Tensor) -> torch.Tensor:
    """One round: x + r · (x² − x); a negative r brightens."""
    return image + curve * (image.square() - image)
