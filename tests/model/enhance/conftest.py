"""A second, independent evaluation of the enhancers' formulas: numpy, float64, no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

Array = npt.NDArray[np.float64]
REPOSITORY = Path(__file__).parents[3]


def convolve(x: Array, weight: Array, bias: Array, dilation: int = 1, groups: int = 1) -> Array:
    """Sum of shifted images: x (C, H, W) zero-padded to keep its size, weight (O, C/g, k, k)."""
    out_channels, _, side, _ = weight.shape
    margin = (side // 2) * dilation
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin)))
    rows, cols = x.shape[1:]
    out = np.zeros((out_channels, rows, cols)) + bias[:, None, None]
    per_in, per_out = x.shape[0] // groups, out_channels // groups
    for group in range(groups):
        source = padded[group * per_in : (group + 1) * per_in]
        target = slice(group * per_out, (group + 1) * per_out)
        for r in range(side):
            for c in range(side):
                top, left = r * dilation, c * dilation
                shifted = source[:, top : top + rows, left : left + cols]
                out[target] += np.tensordot(weight[target, :, r, c], shifted, 1)
    return out


class Weights:
    """A state dict by layer name, as float64 arrays."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        self.arrays = {k: v.double().numpy() for k, v in state.items()}

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def conv(self, name: str, x: Array, dilation: int = 1, groups: int = 1) -> Array:
        return convolve(
            x, self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"], dilation, groups
        )

    def norm(self, name: str, x: Array) -> Array:
        mean, var = self.arrays[f"{name}.running_mean"], self.arrays[f"{name}.running_var"]
        scale = self.arrays[f"{name}.weight"] / np.sqrt(var + 1e-5)
        offset = self.arrays[f"{name}.bias"] - mean * scale
        return x * scale[:, None, None] + offset[:, None, None]


@pytest.fixture
def weights_of() -> Callable[[Mapping[str, torch.Tensor]], Weights]:
    return Weights


@pytest.fixture
def released() -> Callable[[str], Path]:
    """Path of a released checkpoint below the shared folder; skips where it is absent."""
    shared = Path(os.environ.get("MLKD_SHARED", REPOSITORY.parent / "shared"))

    def find(name: str) -> Path:
        path = shared / "data" / "weights" / name
        if not path.is_file():
            pytest.skip(f"needs {path} (set MLKD_SHARED to the shared data folder)")
        return path

    return find


@pytest.fixture
def night() -> torch.Tensor:
    """Two dark scenes [2 x 3 x 24 x 32] RGB 0..1 with a lamp each."""
    generator = torch.Generator().manual_seed(4)
    image = torch.rand(2, 3, 24, 32, generator=generator) * 0.12
    image[0, :, 4:7, 5:9] = 0.9
    image[1, 0, 10:20, 20:30] = 0.5
    return image
