"""Losses that train an enhancer from low-light images alone, one function each.

No image by day is needed: they ask for a good exposure, kept contrasts, grey-world colours and
smooth curves (Guo et al., Zero-DCE, section III-C; DarkLighter adds the noise map).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

WELL_EXPOSED = 0.6
"""Grey level that patches are drawn to, 0..1."""

_REGION_PX = 4
_PATCH_PX = 16


@dataclass(frozen=True)
class Weights:
    """Weights of the five losses."""

    spatial: float = 1.0
    exposure: float = 10.0
    colour: float = 5.0
    curve: float = 200.0
    noise: float = 20.0


def spatial_loss(lit: torch.Tensor, dark: torch.Tensor) -> torch.Tensor:
    """Spatial consistency: the gaps between neighbouring 4 x 4 px regions stay as they were.

    Args:
        lit: [B x 3 x H x W], enhanced.
        dark: [B x 3 x H x W], before.

    Returns:
        Scalar: over the four neighbours the squared change of the gap, summed, then averaged.
    """
    change = F.avg_pool2d((lit - dark).mean(1, keepdim=True), _REGION_PX)
    rows = (change[..., 1:, :] - change[..., :-1, :]).square()
    cols = (change[..., 1:] - change[..., :-1]).square()
    # Each gap counts for both of the regions that it lies between.
    return 2.0 * (rows.sum() + cols.sum()) / change.numel()


def exposure_loss(lit: torch.Tensor, level: float = WELL_EXPOSED) -> torch.Tensor:
    """Squared distance of each 16 x 16 px patch's mean grey from the wanted level."""
    return (F.avg_pool2d(lit.mean(1, keepdim=True), _PATCH_PX) - level).square().mean()


def colour_loss(lit: torch.Tensor) -> torch.Tensor:
    """Grey world: squared differences of the channels' means, summed over the three pairs."""
    red, green, blue = lit.mean((2, 3)).unbind(1)
    pairs = (red - green).square() + (red - blue).square() + (green - blue).square()
    return pairs.mean()


def smoothness_loss(maps: torch.Tensor) -> torch.Tensor:
    """Total variation of curve or noise maps [B x C x H x W]: mean squared gap both ways."""
    rows = (maps[..., 1:, :] - maps[..., :-1, :]).square().mean()
    cols = (maps[..., 1:] - maps[..., :-1]).square().mean()
    return rows + cols


def noise_loss(noise: torch.Tensor) -> torch.Tensor:
    """Mean square of the noise maps: what is called noise stays small."""
    return noise.square().mean()


def zero_reference_loss(
    dark: torch.Tensor,
    lit: torch.Tensor,
    curve: torch.Tensor,
    noise: torch.Tensor,
    weights: Weights,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The weighted sum, and the single losses by name.

    Args:
        dark: [B x 3 x H x W] RGB 0..1.
        lit: the enhanced images before they are clipped.
        curve: curve maps.
        noise: noise maps.
        weights: of the losses.
    """
    terms = {
        "spatial": spatial_loss(lit, dark),
        "exposure": exposure_loss(lit),
        "colour": colour_loss(lit),
        "curve": smoothness_loss(curve),
        "noise": noise_loss(noise),
    }
    total = torch.stack([getattr(weights, name) * loss for name, loss in terms.items()]).sum()
    return total, terms
