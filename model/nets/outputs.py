"""What a network says about a batch of pairs, with the maps that distillation compares."""

from __future__ import annotations

from typing import NamedTuple

import torch

from model.errors import ShapeError


class PairOutputs(NamedTuple):
    """Outputs of one network on a batch of pairs; C differs between networks."""

    cls: torch.Tensor
    """[B x 2k x M x M] logits; channel c·k + a is class c (0 background, 1 target) of anchor a."""
    loc: torch.Tensor
    """[B x 4k x M x M] deltas; channel c·k + a is delta c of anchor a."""
    correlation_cls: torch.Tensor
    """[B x C x M x M] depth-wise correlation of the classification branch."""
    correlation_loc: torch.Tensor
    """[B x C x M x M] depth-wise correlation of the regression branch."""


def align_outputs(outputs: PairOutputs, size: int) -> PairOutputs:
    """Cut all maps to the `size` x `size` cells around the centre.

    Networks of one stride that look at the same search region have their maps' centres in
    common; one with padding has a larger map.

    Raises:
        ShapeError: the maps are smaller, or their margin is odd so that the centres differ.
    """
    side = outputs.cls.shape[-1]
    margin, odd = divmod(side - size, 2)
    if margin < 0 or odd:
        raise ShapeError(f"a map of {side} cells cannot be cut to the {size} around its centre")
    if margin == 0:
        return outputs
    inner = slice(margin, margin + size)
    return PairOutputs(*(m[..., inner, inner] for m in outputs))
