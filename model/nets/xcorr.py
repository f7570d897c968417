"""Depth-wise cross-correlation of template and search features."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def xcorr_depthwise(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Correlate each channel of the search features with that of the template.

    One grouped convolution with dynamic weights, so that it exports as such.

    Args:
        x: [B x C x H x W] search features.
        kernel: [B x C x h x w] template features; one of batch 1 serves every `x`.

    Returns:
        [B x C x (H - h + 1) x (W - w + 1)].
    """
    batch, channels = x.shape[0], x.shape[1]
    if kernel.shape[0] != batch:
        kernel = kernel.expand(batch, -1, -1, -1)
    groups = batch * channels
    x = x.reshape(1, groups, x.shape[2], x.shape[3])
    kernel = kernel.reshape(groups, 1, kernel.shape[2], kernel.shape[3])
    out = F.conv2d(x, kernel, groups=groups)
    return out.reshape(batch, channels, out.shape[2], out.shape[3])
