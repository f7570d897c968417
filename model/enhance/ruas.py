"""RUAS: unrolled retinex with a searched architecture (Liu et al., CVPR 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from model.enhance.enhancer import Enhancer

STAGES = 3
_SLOPE = 0.05


class SearchedConv(nn.Module):
    """A convolution that keeps the size, with or without a shortcut around it."""

    def __init__(self, channels: int, kernel: int, dilation: int, shortcut: bool) -> None:
        super().__init__()
        padding = (kernel - 1) // 2 * dilation
        self.op = nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation)
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x C x H x W] to the same."""
        y: torch.Tensor = self.op(x)
        return y + x if self.shortcut else y


class SearchedBlock(nn.Module):
    """Distils features four times and fuses them; which operations, the search decided."""

    def __init__(self, channels: int, operations: dict[str, SearchedConv]) -> None:
        """Build it; an operation that is not given is the identity."""
        super().__init__()
        for place in ("c1_d", "c1_r", "c2_d", "c2_r", "c3_d", "c3_r", "c4"):
            self.add_module(place, operations.get(place, nn.Identity()))
        self.c5 = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x C x H x W] to the same."""
        distilled = []
        for stage in ("c1", "c2", "c3"):
            distilled.append(_leaky(self.get_submodule(f"{stage}_d")(x)))
            x = _leaky(self.get_submodule(f"{stage}_r")(x) + x)
        distilled.append(_leaky(self.get_submodule("c4")(x)))
        fused: torch.Tensor = self.c5(torch.cat(distilled, 1))
        return fused


class IlluminationStage(nn.Module):
    """One unrolled step: a better illumination from the last stage's result."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = SearchedBlock(
            3,
            {
                "c1_r": SearchedConv(3, 1, 1, shortcut=True),
                "c2_d": SearchedConv(3, 3, 2, shortcut=True),
                "c2_r": SearchedConv(3, 3, 1, shortcut=False),
                "c3_d": SearchedConv(3, 3, 1, shortcut=False),
                "c4": SearchedConv(3, 3, 1, shortcut=False),
            },
        )

    def forward(self, image: torch.Tensor, lit: torch.Tensor | None) -> torch.Tensor:
        """The lit image [B x 3 x H x W], 0..1, from the image and the last stage's result."""
        guess = _local_maximum(image if lit is None else lit)
        if lit is not None:
            guess = guess - 0.5 * (lit - image)
        illumination = torch.sigmoid(self.cell(guess)).clamp(0.001, 1.0)
        return (image / illumination).clamp(0.0, 1.0)


class IlluminationNet(nn.Module):
    """The unrolled stages."""

    def __init__(self) -> None:
        super().__init__()
        self.iems = nn.ModuleList([IlluminationStage() for _ in range(STAGES)])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """[B x 3 x H x W] to the same, lit."""
        lit: torch.Tensor | None = None
        for stage in self.iems:
            lit = stage(image, lit)
        assert lit is not None
        return lit


class DenoiseNet(nn.Module):
    """Estimates the noise of the lit image and subtracts it."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.nrms = nn.ModuleList([self._block(channels) for _ in range(STAGES)])
        self.activate = nn.Sequential(nn.Conv2d(channels, 3, 3, padding=1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """[B x 3 x H x W] to the same."""
        features = self.stem(image)
        for block in self.nrms:
            features = block(features)
        clean: torch.Tensor = image - self.activate(features)
        return clean

    @staticmethod
    def _block(channels: int) -> SearchedBlock:
        operations = {
            place: SearchedConv(channels, 1, 1, shortcut=True)
            for place in ("c1_d", "c1_r", "c3_d", "c3_r")
        }
        operations["c2_d"] = SearchedConv(channels, 3, 2, shortcut=True)
        return SearchedBlock(channels, operations)


class RUAS(Enhancer):
    """Illumination in three stages; the denoiser follows when asked for (as with `lol.pt`)."""

    def __init__(self, denoise: bool = False) -> None:
        super().__init__()
        self.denoise = denoise
        self.enhance_net = IlluminationNet()
        self.denoise_net = DenoiseNet()

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """Light up, then denoise if asked for."""
        lit: torch.Tensor = self.enhance_net(image)
        if self.denoise:
            lit = self.denoise_net(lit)
        return lit


def _local_maximum(x: torch.Tensor) -> torch.Tensor:
    """The maximum of each pixel and its neighbours right, below, and right below (else 0)."""
    return F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 2, stride=1)


def _leaky(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, _SLOPE)
