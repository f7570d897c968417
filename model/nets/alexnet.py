"""AlexNet without padding, the backbone of SiamRPN++ for aerial trackers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

WIDTHS = (96, 256, 384, 384, 256)
"""Output channels of the five layers."""

STRIDE = 8
"""Total stride, input px per cell."""

FIRST_CENTRE_PX = 43
"""Centre of the receptive field (87 px) of cell 0, px; cell i looks at 8 i + 43."""

_LEGACY_LAYERS = {0: "layer1.0", 1: "layer1.1", 4: "layer2.0", 5: "layer2.1", 8: "layer3.0"}
_LEGACY_LAYERS |= {9: "layer3.1", 11: "layer4.0", 12: "layer4.1", 14: "layer5.0", 15: "layer5.1"}


class AlexNet(nn.Module):
    """Five convolutions with batch norm, no padding, total stride 8 (PySOT's AlexNet).

    The last layer has no ReLU: the head's own 3x3 convolution follows.
    """

    def __init__(self) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = WIDTHS
        self.layer1 = nn.Sequential(
            nn.Conv2d(3, c1, 11, stride=2), nn.BatchNorm2d(c1), nn.MaxPool2d(3, 2), _relu()
        )
        self.layer2 = nn.Sequential(
            nn.Conv2d(c1, c2, 5), nn.BatchNorm2d(c2), nn.MaxPool2d(3, 2), _relu()
        )
        self.layer3 = nn.Sequential(nn.Conv2d(c2, c3, 3), nn.BatchNorm2d(c3), _relu())
        self.layer4 = nn.Sequential(nn.Conv2d(c3, c4, 3), nn.BatchNorm2d(c4), _relu())
        self.layer5 = nn.Sequential(nn.Conv2d(c4, c5, 3), nn.BatchNorm2d(c5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Extract features.

        Args:
            x: [B x 3 x H x W] BGR, 0..255, float.

        Returns:
            [B x 256 x h x w]; h is 6 at 127 px, 22 at 255 px, 26 at 287 px.
        """
        return self.upper(self.lower(x))

    def lower(self, x: torch.Tensor) -> torch.Tensor:
        """The first two layers, most of the work: [B x 256 x l x l]; l is 12, 28 or 32."""
        features: torch.Tensor = self.layer2(self.layer1(x))
        return features

    def upper(self, x: torch.Tensor) -> torch.Tensor:
        """The last three layers, on what `lower` answered."""
        features: torch.Tensor = self.layer5(self.layer4(self.layer3(x)))
        return features


class AlexNetLegacy(nn.Module):
    """The same network under the names of PySOT's older zoo, `features.N.*`.

    Kept to read its checkpoints and to prove the renaming; the tracker uses `AlexNet`.
    """

    def __init__(self) -> None:
        super().__init__()
        net = AlexNet()
        layers = (net.layer1, net.layer2, net.layer3, net.layer4, net.layer5)
        self.features = nn.Sequential(*(module for layer in layers for module in layer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Extract features; shapes as in `AlexNet.forward`."""
        features: torch.Tensor = self.features(x)
        return features


def rename_legacy(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename `features.N.*` to `layerM.*`, at any depth of the name; other names stay."""
    return {_rename(name): value for name, value in state.items()}


def _rename(name: str) -> str:
    head, found, tail = name.rpartition("features.")
    index, _, rest = tail.partition(".")
    if not found or not index.isdecimal() or int(index) not in _LEGACY_LAYERS:
        return name
    return f"{head}{_LEGACY_LAYERS[int(index)]}.{rest}"


def _relu() -> nn.ReLU:
    return nn.ReLU(inplace=True)
