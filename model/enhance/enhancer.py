"""What every enhancer is: a module from RGB 0..1 to RGB 0..1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from model.errors import ShapeError
from model.geometry import Image
from model.training.checkpoint import load_checkpoint, load_into


class Enhancer(nn.Module):
    """Lights up images. Subclasses implement `enhance`; the output is clipped to 0..1 here."""

    wants_weights = True
    """Whether a weight file makes it what it is; the classical ones need none."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Enhance a batch.

        Args:
            image: [B x 3 x H x W] RGB, 0..1, float.

        Returns:
            The same shape, RGB, 0..1.

        Raises:
            ShapeError: not three channels.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            shape = tuple(image.shape)
            raise ShapeError(f"an enhancer takes a batch x 3 x height x width, got {shape}")
        return self.enhance(image).clamp(0.0, 1.0)

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """The enhancer's own formula; shapes as in `forward`, values may leave 0..1."""
        raise RuntimeError(f"{type(self).__name__} has no formula")

    def load_weights(self, path: Path) -> None:
        """Read the state dict of a released checkpoint.

        Raises:
            ModelFileError: missing, damaged, or of another architecture.
        """
        content = load_checkpoint(path)
        state = content.get("state_dict", content)
        load_into(self, self.own_state(state), str(path))

    def own_state(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The part of a checkpoint that the enhancer uses; all of it by default."""
        return {name.removeprefix("module."): value for name, value in state.items()}


@torch.no_grad()
def enhance_bgr(enhancer: Enhancer, x: torch.Tensor) -> torch.Tensor:
    """Enhance what a tracker sees: BGR 0..255 in and out.

    Args:
        enhancer: takes and gives RGB 0..1.
        x: [B x 3 x H x W] BGR, 0..255, float.

    Returns:
        The same shape, BGR, 0..255, float; no gradient.
    """
    lit: torch.Tensor = enhancer(x.float().flip(1) / 255.0)
    return lit.flip(1) * 255.0


def enhance_image(enhancer: Enhancer, image: Image) -> Image:
    """Enhance one image, H x W x 3 BGR uint8, on the enhancer's device."""
    device = next((p.device for p in enhancer.parameters()), torch.device("cpu"))
    x = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1).unsqueeze(0)
    y = enhance_bgr(enhancer, x.float())[0].permute(1, 2, 0)
    return np.ascontiguousarray(y.round().to(torch.uint8).cpu().numpy())
