"""Multi-level SiamRPN++: one head a level, their answers averaged with learned weights."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from model.nets.head import DepthwiseBranch, DepthwiseRPN
from model.nets.neck import AdjustLevels

LEVELS = 3
_HIDDEN = 256


class MultiLevelHead(nn.Module):
    """`rpn2`, `rpn3`, `rpn4`; `cls_weight` and `loc_weight` where weighted (names as in PySOT)."""

    cls_weight: torch.Tensor | None
    loc_weight: torch.Tensor | None

    def __init__(self, anchors_per_cell: int, weighted: bool) -> None:
        super().__init__()
        self.rpn2 = DepthwiseRPN(anchors_per_cell, _HIDDEN, _HIDDEN)
        self.rpn3 = DepthwiseRPN(anchors_per_cell, _HIDDEN, _HIDDEN)
        self.rpn4 = DepthwiseRPN(anchors_per_cell, _HIDDEN, _HIDDEN)
        self.cls_weight = nn.Parameter(torch.ones(LEVELS)) if weighted else None
        self.loc_weight = nn.Parameter(torch.ones(LEVELS)) if weighted else None

    def branches(self, name: str) -> list[DepthwiseBranch]:
        """The `cls` or `loc` branch of each level."""
        heads = (self.rpn2, self.rpn3, self.rpn4)
        return [cast(DepthwiseBranch, getattr(head, name)) for head in heads]

    def answer(self, name: str, correlation: torch.Tensor) -> torch.Tensor:
        """The weighted mean of the levels' answers, from their maps [B x 3·256 x M x M]."""
        parts = correlation.chunk(LEVELS, dim=1)
        answers = [b.head(part) for b, part in zip(self.branches(name), parts, strict=True)]
        weight = self.cls_weight if name == "cls" else self.loc_weight
        stacked = torch.stack(answers)
        if weight is None:
            return stacked.mean(0)
        return (stacked * weight.softmax(0).reshape(-1, 1, 1, 1, 1)).sum(0)


class MultiLevelSiamese(nn.Module):
    """A backbone of three levels, the neck and the heads.

    Kernels and correlation maps of the levels are joined along the channels, so that a template
    is the same pair of tensors as with one level.
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: tuple[int, ...],
        anchors_per_cell: int = 5,
        weighted: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = AdjustLevels(channels, _HIDDEN)
        self.rpn_head = MultiLevelHead(anchors_per_cell, weighted)

    def template(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode the target.

        Args:
            z: [B x 3 x 127 x 127] BGR, 0..255, float.

        Returns:
            kernel_cls and kernel_loc, each [B x 768 x 5 x 5].
        """
        levels = self.neck(self.backbone(z))
        return self._kernels("cls", levels), self._kernels("loc", levels)

    def correlate(
        self, x: torch.Tensor, kernel_cls: torch.Tensor, kernel_loc: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Correlation maps of both branches, [B x 768 x M x M]; M is 25 at 255 px."""
        levels = self.neck(self.backbone(x))
        return self._maps("cls", levels, kernel_cls), self._maps("loc", levels, kernel_loc)

    def answer(
        self, correlation_cls: torch.Tensor, correlation_loc: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps to cls [B x 2k x M x M] and loc [B x 4k x M x M]."""
        head = self.rpn_head
        return head.answer("cls", correlation_cls), head.answer("loc", correlation_loc)

    def search(
        self, x: torch.Tensor, kernel_cls: torch.Tensor, kernel_loc: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare search regions with the target; shapes as in `SiamRPN.search`, M 25 at 255."""
        return self.answer(*self.correlate(x, kernel_cls, kernel_loc))

    def forward(self, z: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run both halves on a batch of pairs."""
        return self.search(x, *self.template(z))

    def _kernels(self, name: str, levels: list[torch.Tensor]) -> torch.Tensor:
        branches = self.rpn_head.branches(name)
        return torch.cat([b.kernel(z) for b, z in zip(branches, levels, strict=True)], 1)

    def _maps(self, name: str, levels: list[torch.Tensor], kernel: torch.Tensor) -> torch.Tensor:
        parts = zip(self.rpn_head.branches(name), levels, kernel.chunk(LEVELS, dim=1), strict=True)
        return torch.cat([b.correlate(x, k) for b, x, k in parts], 1)
