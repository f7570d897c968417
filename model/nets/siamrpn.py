"""SiamRPN++ with an AlexNet backbone: the tracker's network."""

from __future__ import annotations

import torch
from torch import nn

from model.nets.alexnet import AlexNet
from model.nets.head import DepthwiseRPN


class SiamRPN(nn.Module):
    """Backbone shared by template and search region, and the depth-wise head.

    Stateless: the template's kernels are values that the caller keeps. State-dict names are
    those of PySOT (`backbone.layer1.0.weight`, `rpn_head.cls.conv_kernel.0.weight`, …).
    """

    def __init__(self, anchors_per_cell: int = 5) -> None:
        super().__init__()
        self.backbone = AlexNet()
        self.rpn_head = DepthwiseRPN(anchors_per_cell)

    def template(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode the target.

        Args:
            z: [B x 3 x 127 x 127] BGR, 0..255, float.

        Returns:
            kernel_cls and kernel_loc, each [B x 256 x 4 x 4].
        """
        zf = self.backbone(z)
        return self.rpn_head.cls.kernel(zf), self.rpn_head.loc.kernel(zf)

    def search(
        self, x: torch.Tensor, kernel_cls: torch.Tensor, kernel_loc: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare search regions with the target.

        Args:
            x: [B x 3 x S x S] BGR, 0..255, float; S is 287 in flight, 255 in training.
            kernel_cls: [B x 256 x 4 x 4] from `template`; a batch of 1 serves every `x`.
            kernel_loc: the same of the regression branch.

        Returns:
            cls [B x 2k x M x M] and loc [B x 4k x M x M]; M is 21 at 287 px, 17 at 255 px.
            Channel c·k + a is class (0 background, 1 target) or delta c of anchor a.
        """
        xf = self.backbone(x)
        return self.rpn_head.cls(xf, kernel_cls), self.rpn_head.loc(xf, kernel_loc)

    def forward(self, z: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run both halves on a batch of pairs; shapes as in `template` and `search`."""
        kernel_cls, kernel_loc = self.template(z)
        return self.search(x, kernel_cls, kernel_loc)
