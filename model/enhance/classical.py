"""Enhancers without learning: gamma, CLAHE and multi-scale retinex, by OpenCV."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch

from model.enhance.enhancer import Enhancer
from model.geometry import Float

RETINEX_SIGMAS_PX = (15.0, 80.0, 250.0)
"""Scales of the surround, px of a 512 px image (Jobson et al., 1997)."""


class Gamma(Enhancer):
    """x to the power of 1/γ."""

    wants_weights = False

    def __init__(self, gamma: float = 2.2) -> None:
        super().__init__()
        self.exponent = 1.0 / gamma

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """Raise every channel."""
        return image.clamp_min(0.0).pow(self.exponent)


class Clahe(Enhancer):
    """Contrast-limited adaptive histogram equalisation of the lightness (8-bit)."""

    wants_weights = False

    def __init__(self, clip_limit: float = 4.0, tiles: int = 8) -> None:
        super().__init__()
        self.clip_limit = clip_limit
        self.tiles = tiles

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """Equalise image by image; no gradient."""
        equaliser = cv2.createCLAHE(self.clip_limit, (self.tiles, self.tiles))

        def equalise(rgb: Float) -> Float:
            eight_bit = np.rint(rgb * 255.0).astype(np.uint8)
            lab = cv2.cvtColor(eight_bit, cv2.COLOR_RGB2LAB)
            lab[..., 0] = equaliser.apply(np.ascontiguousarray(lab[..., 0]))
            lit = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
            return np.asarray(lit / 255.0, np.float32)

        return _each(image, equalise)


class MultiScaleRetinex(Enhancer):
    """Mean over three scales of log image minus log surround, stretched to 0..1."""

    wants_weights = False

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """Enhance image by image; no gradient."""
        return _each(image, _retinex)


def _retinex(rgb: Float) -> Float:
    light = rgb + np.float32(1.0 / 255.0)
    scale = max(rgb.shape[:2]) / 512.0
    reflectance = np.zeros_like(light)
    for sigma_px in RETINEX_SIGMAS_PX:
        surround = cv2.GaussianBlur(light, (0, 0), max(sigma_px * scale, 0.5))
        reflectance += np.log(light) - np.log(surround)
    reflectance /= len(RETINEX_SIGMAS_PX)
    # The tails are cut: one lamp would otherwise take the whole range.
    low, high = np.percentile(reflectance, (1.0, 99.0))
    stretched = (reflectance - low) / max(float(high - low), 1e-6)
    return np.asarray(stretched, np.float32)


def _each(image: torch.Tensor, function: Callable[[Float], Float]) -> torch.Tensor:
    """Apply a function of H x W x 3 float32 RGB 0..1 to each image of the batch."""
    batch = image.detach().float().clamp(0.0, 1.0).permute(0, 2, 3, 1).cpu().numpy()
    lit = np.stack([function(np.ascontiguousarray(one)) for one in batch])
    return torch.from_numpy(lit).permute(0, 3, 1, 2).to(image.device)
