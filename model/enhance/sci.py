"""SCI: self-calibrated illumination (Ma et al., CVPR 2022); the part that runs after training."""

from __future__ import annotations

import torch
from torch import nn

from model.enhance.enhancer import Enhancer


class IlluminationNet(nn.Module):
    """Three 3x3 convolutions of three channels that estimate the illumination."""

    def __init__(self) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
        self.conv = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        # The release registers the one shared block twice; its checkpoints hold both names.
        self.blocks = nn.ModuleList([self.conv])
        self.out_conv = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Sigmoid())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Illumination [B x 3 x H x W], 0.0001..1, never darker than the image itself."""
        features = self.in_conv(image)
        for block in self.blocks:
            features = features + block(features)
        illumination: torch.Tensor = self.out_conv(features) + image
        return illumination.clamp(1e-4, 1.0)


class SCI(Enhancer):
    """Divides the image by its illumination; the calibration part only serves training."""

    def __init__(self) -> None:
        super().__init__()
        self.enhance_net = IlluminationNet()

    def own_state(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Rename `enhance.*` (a method here) and leave `calibrate.*` out."""
        own = super().own_state(state)
        prefix = "enhance."
        return {
            f"enhance_net.{name.removeprefix(prefix)}": value
            for name, value in own.items()
            if not name.startswith("calibrate.")
        }

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """Reflectance: image over illumination."""
        illumination: torch.Tensor = self.enhance_net(image)
        return image / illumination
