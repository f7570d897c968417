"""SiamRPN++ of one level with any backbone on AlexNet's grid."""

from __future__ import annotations

import torch
from torch import nn

from model.nets.head import DepthwiseRPN


class Siamese(nn.Module):
    """A backbone with the map sizes of `AlexNet` and the depth-wise head."""

    def __init__(
        self, backbone: nn.Module, channels: int, hidden: int, anchors_per_cell: int = 5
    ) -> None:
        """Join them.

        Args:
            backbone: [B x 3 x S x S] to [B x channels x s x s]; s is 6, 22, 26 at 127, 255, 287 px.
            channels: of the backbone's features.
            hidden: of the correlation maps.
            anchors_per_cell: k.
        """
        super().__init__()
        self.backbone = backbone
        self.rpn_head = DepthwiseRPN(anchors_per_cell, channels, hidden)

    def template(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode the target; kernel_cls and kernel_loc, each [B x hidden x 4 x 4]."""
        zf = self.backbone(z)
        return self.rpn_head.cls.kernel(zf), self.rpn_head.loc.kernel(zf)

    def correlate(
        self, x: torch.Tensor, kernel_cls: torch.Tensor, kernel_loc: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Correlation maps of both branches, [B x hidden x M x M]."""
        xf = self.backbone(x)
        head = self.rpn_head
        return head.cls.correlate(xf, kernel_cls), head.loc.correlate(xf, kernel_loc)

    def answer(
        self, correlation_cls: torch.Tensor, correlation_loc: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps to cls [B x 2k x M x M] and loc [B x 4k x M x M]."""
        cls: torch.Tensor = self.rpn_head.cls.head(correlation_cls)
        loc: torch.Tensor = self.rpn_head.loc.head(correlation_loc)
        return cls, loc

    def search(
        self, x: torch.Tensor, kernel_cls: torch.Tensor, kernel_loc: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare search regions with the target; shapes as in `SiamRPN.search`."""
        return self.answer(*self.correlate(x, kernel_cls, kernel_loc))

    def forward(self, z: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run both halves on a batch of pairs."""
        return self.search(x, *self.template(z))
