"""DarkLighter: noise and illumination curves, the enhancer of the paper's teacher."""

from __future__ import annotations

import torch
from torch import nn

from model.enhance.enhancer import Enhancer

ROUNDS = 8
_WIDTH = 32


class DarkLighter(Enhancer):
    """Estimates a noise map and a curve map per round, x ← (x − n_i) · (r_i + 1), eight times.

    Names of the state dict are those of the authors' release.
    """

    def __init__(self) -> None:
        super().__init__()
        self.e_conv1 = _conv(3, _WIDTH)
        self.e_conv2 = _conv(_WIDTH, _WIDTH)
        self.e_conv3 = _conv(2 * _WIDTH, _WIDTH)
        self.e_conv4 = _conv(2 * _WIDTH, _WIDTH)
        self.e_conv5 = _conv(2 * _WIDTH, _WIDTH)
        self.e_conv7 = _conv(2 * _WIDTH, ROUNDS)
        self.e_conv8 = _conv(2 * _WIDTH, ROUNDS)

    def curves(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Curve maps r and noise maps n, each [B x 8 x H x W], −1..1, shared by the channels."""
        x1 = torch.relu(self.e_conv1(image))
        x2 = torch.relu(self.e_conv2(x1))
        x3 = torch.relu(self.e_conv3(torch.cat([x1, x2], 1)))
        x4 = torch.relu(self.e_conv4(torch.cat([x2, x3], 1)))
        x5 = torch.relu(self.e_conv5(torch.cat([x3, x4], 1)))
        last = torch.cat([x4, x5], 1)
        return torch.tanh(self.e_conv7(last)), torch.tanh(self.e_conv8(last))

    @staticmethod
    def apply_curves(image: torch.Tensor, curve: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The eight rounds over an image [B x 3 x H x W]; values may leave 0..1."""
        for i in range(ROUNDS):
            image = (image - noise[:, i : i + 1]) * (curve[:, i : i + 1] + 1.0)
        return image

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """Estimate the maps and apply the eight rounds."""
        return self.apply_curves(image, *self.curves(image))


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)
