"""Low-light synthesis: a day image becomes what a small camera records at night.

The chain follows the light: scene light (linear, uneven, coloured), lamps with halos, exposure,
motion blur, shot and read noise, the tone curve, quantisation and compression. A `NightScene` is
what frames of one flight share; the noise differs from frame to frame. NumPy and OpenCV only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from model.geometry import Float, Image

_GAMMA = 2.2
_TO_LINEAR: Float = ((np.arange(256) / 255.0) ** _GAMMA).astype(np.float32)
_CURVE_STEPS = 8192
_LUMA_BGR = np.array([0.114, 0.587, 0.299], np.float32)


@dataclass(frozen=True)
class NightScene:
    """What frames of one night scene have in common; linear light, 1 is white.

    Attributes:
        gain: exposure; linear light is multiplied by it.
        cast: gain of blue, green and red (sodium lamps lack blue).
        saturation: 0 grey, 1 unchanged; noise washes colour out, cameras boost it.
        evenness: spread of the uneven illumination, in natural-log units; 0 is even.
        lights: lamps per 255 x 255 px of image (expected number).
        electrons: electrons that white would free; fewer are noisier (shot noise).
        read_noise: standard deviation of the read noise, linear light.
        grain_px: size of a noise grain; above 1 where the camera smoothed its noise.
        black: level that the camera cuts as black, linear light.
        curve: exponent of the tone curve, 2.2 undoes the linearisation.
        blur_px: length of the motion blur, px.
        blur_deg: its direction, degrees.
        quality: JPEG quality 1..100 that stands for the video's compression.
        layout_seed: places of lamps and bright patches.
    """

    gain: float
    cast: tuple[float, float, float]
    saturation: float
    evenness: float
    lights: float
    electrons: float
    read_noise: float
    grain_px: float
    black: float
    curve: float
    blur_px: float
    blur_deg: float
    quality: int
    layout_seed: int


def sample_scene(
    rng: np.random.Generator, gain_range: tuple[float, float] = (0.004, 0.15)
) -> NightScene:
    """Draw a night scene.

    Args:
        rng: the only source of chance.
        gain_range: least and greatest exposure; log-uniform between.
    """
    warm = rng.uniform(0.0, 0.45)
    cast = (1.0 - warm, 1.0 - 0.25 * warm, 1.0 + 0.2 * warm)
    if rng.random() < 0.25:
        cast = (1.0 + 0.25 * warm, 1.0, 1.0 - 0.3 * warm)
    return NightScene(
        gain=_log_uniform(rng, *gain_range),
        cast=cast,
        saturation=float(rng.uniform(0.4, 1.3)),
        evenness=float(rng.uniform(0.0, 1.2)),
        lights=_log_uniform(rng, 0.3, 5.0) if rng.random() < 0.6 else 0.0,
        electrons=_log_uniform(rng, 1200.0, 40000.0),
        read_noise=_log_uniform(rng, 5e-5, 1.2e-3),
        grain_px=float(rng.uniform(1.0, 2.5)),
        black=float(rng.uniform(0.0, 3e-4)),
        curve=float(rng.uniform(2.0, 2.4)),
        blur_px=float(rng.uniform(2.0, 9.0)) if rng.random() < 0.25 else 0.0,
        blur_deg=float(rng.uniform(0.0, 180.0)),
        quality=int(rng.integers(50, 97)),
        layout_seed=int(rng.integers(2**31)),
    )


def darken(image: Image, scene: NightScene, rng: np.random.Generator) -> Image:
    """Render a day image as the scene's night camera would record it.

    Args:
        image: (H, W, 3) BGR uint8; left unchanged.
        scene: parameters shared by the frames of a sequence.
        rng: source of this frame's noise.

    Returns:
        (H, W, 3) BGR uint8.
    """
    light = _TO_LINEAR[image]
    if scene.saturation != 1.0:
        grey = (light @ _LUMA_BGR)[..., None]
        light = np.maximum(grey + (light - grey) * np.float32(scene.saturation), 0.0)
    light *= np.asarray(scene.cast, np.float32) * np.float32(scene.gain)
    layout = np.random.default_rng(scene.layout_seed)
    if scene.evenness > 0:
        light *= _illumination(light.shape[:2], scene.evenness, layout)[..., None]
    _add_lights(light, scene, layout)
    if scene.blur_px > 1.0:
        kernel = motion_kernel(scene.blur_px, scene.blur_deg)
        light = np.asarray(cv2.filter2D(light, -1, kernel), np.float32)
    light = _add_noise(light, scene, rng)
    recorded = _tone_curve(light, scene)
    return _compress(recorded, scene.quality)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _illumination(shape: tuple[int, int], spread: float, layout: np.random.Generator) -> Float:
    """Smooth (H, W) factor around 1: lit and unlit places."""
    coarse = np.exp(spread * layout.standard_normal((5, 5))).astype(np.float32)
    smooth = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth, np.float32)


def _add_lights(light: Float, scene: NightScene, layout: np.random.Generator) -> None:
    """Add lamps in place: a white core and a halo that falls off exponentially."""
    height, width = light.shape[:2]
    expected = scene.lights * height * width / 255.0**2
    for _ in range(min(int(layout.poisson(expected)), 60)):
        cx, cy = layout.uniform(0, width), layout.uniform(0, height)
        core_px, halo_px = layout.uniform(0.8, 5.0), layout.uniform(4.0, 20.0)
        power, glow = layout.uniform(0.3, 3.0), layout.uniform(0.01, 0.3)
        colour = np.array([layout.uniform(0.3, 1.0), layout.uniform(0.6, 1.0), 1.0], np.float32)
        reach = int(halo_px * 4) + 1
        x0, x1 = max(int(cx) - reach, 0), min(int(cx) + reach + 1, width)
        y0, y1 = max(int(cy) - reach, 0), min(int(cy) + reach + 1, height)
        xs = np.arange(x0, x1, dtype=np.float32) - np.float32(cx)
        ys = np.arange(y0, y1, dtype=np.float32) - np.float32(cy)
        distance = np.sqrt(xs[None, :] ** 2 + ys[:, None] ** 2)
        fade = np.maximum(1.0 - distance / reach, 0.0)  # the halo ends without an edge
        halo = glow * np.exp(-distance / halo_px) * fade
        shape = power * np.exp(-((distance / core_px) ** 2)) + halo
        light[y0:y1, x0:x1] += shape[..., None].astype(np.float32) * colour


def motion_kernel(length_px: float, angle_deg: float) -> Float:
    """Kernel of a straight motion, sums to 1."""
    side = math.ceil(length_px) | 1
    kernel = np.zeros((side, side), np.float32)
    half = length_px / 2
    for step in np.linspace(-half, half, 2 * side + 1):
        column = side // 2 + step * math.cos(math.radians(angle_deg))
        row = side // 2 + step * math.sin(math.radians(angle_deg))
        kernel[min(max(round(row), 0), side - 1), min(max(round(column), 0), side - 1)] += 1.0
    return np.asarray(kernel / kernel.sum(), np.float32)


def _add_noise(light: Float, scene: NightScene, rng: np.random.Generator) -> Float:
    """Shot noise (variance proportional to the light) and read noise (constant)."""
    height, width = light.shape[:2]
    rows = max(int(height / scene.grain_px), 1)
    columns = max(int(width / scene.grain_px), 1)
    noise = rng.standard_normal((rows, columns, 3), dtype=np.float32)
    if (rows, columns) != (height, width):
        noise = np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR))
    deviation = np.sqrt(light / np.float32(scene.electrons) + np.float32(scene.read_noise**2))
    return np.asarray(light + noise * deviation, np.float32)


def _tone_curve(light: Float, scene: NightScene) -> Image:
    """Cut black, clip, bend and quantise to 8 bits; the curve is a table for speed.

    The table is indexed by the square root of the light, so that its steps are fine in the dark.
    """
    axis = (np.arange(_CURVE_STEPS, dtype=np.float32) / (_CURVE_STEPS - 1)) ** 2
    table = np.rint(255.0 * axis ** (1.0 / scene.curve)).astype(np.uint8)
    clipped = np.clip(light - np.float32(scene.black), 0.0, 1.0)
    index = (np.sqrt(clipped) * np.float32(_CURVE_STEPS - 1)).astype(np.uint16)
    return np.asarray(table[index], np.uint8)


def _compress(image: Image, quality: int) -> Image:
    """Encode and decode as JPEG, whose block transform resembles that of video codecs."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
