"""Light sources as the lens sees them: a bright core and its halo."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from drone.simulator.canvas import Canvas, Light, Region, encode

_SIZE_PX = 64


def glow_picture(colour: tuple[float, float, float], strength: float) -> Light:
    """Draw a light source with its halo: (64, 64, 4) encoded, black at the edge."""
    n = _SIZE_PX
    ys, xs = np.mgrid[0:n, 0:n].astype(np.float32)
    r = np.hypot(xs - (n - 1) / 2, ys - (n - 1) / 2) / (n / 2)
    halo = 0.014 / (r**2 + 0.012) ** 1.15 * np.clip(1 - r, 0, 1) ** 1.2 * strength
    # A bright core is white whatever the colour of its halo.
    white = np.clip(halo - 0.6, 0, None)[..., None] * np.float32(0.4)
    light = halo[..., None] * np.array(colour, np.float32) + white
    return encode(np.dstack([light, np.zeros_like(r)]))


def draw_glow(canvas: Canvas, picture: Light, at: npt.NDArray[np.float64], size_px: float) -> None:
    """Add a glow of radius `size_px` around a place in the picture."""
    x, y = float(at[0]), float(at[1])
    region = canvas.clipped(
        Region(int(x - size_px), int(y - size_px), int(x + size_px) + 2, int(y + size_px) + 2)
    )
    if region.empty:
        return
    scale = 2 * size_px / picture.shape[0]
    half = (picture.shape[0] - 1) / 2 * scale
    place = np.array([[scale, 0, x - half - region.x0], [0, scale, y - half - region.y0]])
    canvas.add_light(region, np.asarray(cv2.warpAffine(picture, place, region.size), np.uint16))
