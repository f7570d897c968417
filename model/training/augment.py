"""Augmentation of pairs: where the crops are taken, and how their light and sharpness change."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model.geometry import Image
from model.training.config import AugmentConfig
from model.training.night import NightScene, darken, motion_kernel
from model.training.store import Crop


@dataclass(frozen=True)
class View:
    """How a crop is seen by the network: a square of `out_px` px.

    Attributes:
        out_px: side of the result.
        scale: result px per crop px, horizontal and vertical.
        shift_x, shift_y: where the target's centre lies relative to the result's, result px.
        rotation_deg: rotation about the target's centre.
        flip: mirrored left to right.
    """

    out_px: int
    scale: tuple[float, float]
    shift_x: float = 0.0
    shift_y: float = 0.0
    rotation_deg: float = 0.0
    flip: bool = False

    def size_of(self, w: float, h: float) -> tuple[float, float]:
        """Width and height, result px, of the target's box; a turn by a quarter swaps them.

        Args:
            w, h: of the box, crop px.
        """
        if round(self.rotation_deg / 90.0) % 2:
            w, h = h, w
        return w * self.scale[0], h * self.scale[1]

    def matrix(self, cx: float, cy: float, side_px: int) -> npt.NDArray[np.float64]:
        """Affine map from crop px indices to those of a result rendered with `side_px` px."""
        angle = math.radians(self.rotation_deg)
        shrink = side_px / self.out_px
        sx, sy = self.scale[0] * shrink, self.scale[1] * shrink
        mirror = -1.0 if self.flip else 1.0
        a = mirror * sx * math.cos(angle)
        b = -mirror * sx * math.sin(angle)
        c, d = sy * math.sin(angle), sy * math.cos(angle)
        tx = side_px / 2 + self.shift_x * shrink - 0.5
        ty = side_px / 2 + self.shift_y * shrink - 0.5
        # Continuous px coordinates are pixel indices plus one half.
        x, y = cx - 0.5, cy - 0.5
        return np.array([[a, b, tx - a * x - b * y], [c, d, ty - c * x - d * y]])


def render(crop: Crop, cx: float, cy: float, view: View, side_px: int) -> Image:
    """Render a view with `side_px` px a side; beyond the crop the mean colour is seen."""
    matrix = view.matrix(cx, cy, side_px)
    size = (side_px, side_px)
    image = cv2.warpAffine(
        crop.image, matrix, size, None, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT, crop.mean
    )
    return np.asarray(image, np.uint8)


def enlarge(image: Image, out_px: int) -> Image:
    """Bring a view that was rendered small to its full side, as the tracker's crop does."""
    if image.shape[0] == out_px:
        return image
    return np.asarray(cv2.resize(image, (out_px, out_px), interpolation=cv2.INTER_LINEAR), np.uint8)


def native_side_px(view: View, shrink: float, coarser: float) -> int:
    """Side that a view has in px of the original image, at most its full side.

    Noise and compression happen in the camera, before the tracker enlarges the crop.

    Args:
        view: what is rendered.
        shrink: original px per crop px.
        coarser: 1, or above to pretend that the target was smaller.
    """
    native = view.out_px / max(view.scale) * shrink / coarser
    return int(min(max(native, 24.0), view.out_px))


@dataclass(frozen=True)
class Light:
    """Photometric change of one image: a curve for each channel, grey, blur."""

    table: npt.NDArray[np.uint8]
    grey: bool
    blur_px: float
    blur_deg: float


def sample_light(rng: np.random.Generator, config: AugmentConfig, grey: bool, blur: bool) -> Light:
    """Draw brightness, contrast, gamma and colour balance, and perhaps motion blur."""
    axis = np.arange(256, dtype=np.float32)[:, None] / 255.0
    if rng.random() < config.colour:
        curve = axis ** float(np.exp(rng.uniform(-0.35, 0.35)))
        balance = np.exp(rng.uniform(-0.1, 0.1, 3)).astype(np.float32)
        curve = curve * balance * np.float32(rng.uniform(0.8, 1.2)) + np.float32(
            rng.uniform(-0.06, 0.06)
        )
    else:
        curve = np.repeat(axis, 3, 1)
    table = np.clip(np.rint(curve * 255.0), 0, 255).astype(np.uint8)
    length = float(rng.uniform(2.0, 9.0)) if blur and rng.random() < config.blur else 0.0
    return Light(table.reshape(1, 256, 3), grey, length, float(rng.uniform(0.0, 180.0)))


def change_light(image: Image, light: Light) -> Image:
    """Apply a photometric change."""
    image = np.asarray(cv2.LUT(image, light.table), np.uint8)
    if light.grey:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        image = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    if light.blur_px > 1.0:
        kernel = motion_kernel(light.blur_px, light.blur_deg)
        image = np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)
    return image


def finish(
    image: Image, light: Light, scene: NightScene | None, out_px: int, rng: np.random.Generator
) -> Image:
    """Light, night and enlargement of a rendered view: (out_px, out_px, 3) BGR uint8."""
    return finish_both(image, light, scene, out_px, rng)[0]


def finish_both(
    image: Image, light: Light, scene: NightScene | None, out_px: int, rng: np.random.Generator
) -> tuple[Image, Image]:
    """As `finish`, and the same crop before night fell; one array twice where it did not."""
    clean = change_light(image, light)
    if scene is None:
        clean = enlarge(clean, out_px)
        return clean, clean
    return enlarge(darken(clean, scene, rng), out_px), enlarge(clean, out_px)
