"""Depth-wise region proposal head of SiamRPN++."""

from __future__ import annotations

import torch
from torch import nn

from model.nets.xcorr import xcorr_depthwise


class DepthwiseBranch(nn.Module):
    """One branch: both features adapted by a 3x3 convolution, correlated, then two 1x1."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.conv_kernel = _conv3x3(in_channels, hidden)
        self.conv_search = _conv3x3(in_channels, hidden)
        self.head = nn.Sequential(
            nn.Conv2d(hidden, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, out_channels, 1),
        )

    def kernel(self, zf: torch.Tensor) -> torch.Tensor:
        """Turn template features [B x C x 6 x 6] into the kernel [B x C x 4 x 4]."""
        kernel: torch.Tensor = self.conv_kernel(zf)
        return kernel

    def correlate(self, xf: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """Correlation map of search features [B x C x 26 x 26] and kernel: [B x C x 21 x 21]."""
        return xcorr_depthwise(self.conv_search(xf), kernel)

    def forward(self, xf: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """Predict [B x out x M x M] from search features and a kernel."""
        out: torch.Tensor = self.head(self.correlate(xf, kernel))
        return out


class DepthwiseRPN(nn.Module):
    """The two branches: 2 k classification and 4 k regression channels for k anchors."""

    def __init__(
        self, anchors_per_cell: int = 5, in_channels: int = 256, hidden: int = 256
    ) -> None:
        super().__init__()
        self.cls = DepthwiseBranch(in_channels, hidden, 2 * anchors_per_cell)
        self.loc = DepthwiseBranch(in_channels, hidden, 4 * anchors_per_cell)


def _conv3x3(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
