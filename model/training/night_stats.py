"""Statistics of the low-light synthesis beside those of real night frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from model.errors import InputError
from model.geometry import Float, Image
from model.training.config import TrainConfig
from model.training.night import darken, sample_scene
from model.training.sources import DataReport, iter_source

_CROP_PX = 255


@dataclass(frozen=True)
class NightStats:
    """What is compared, one value an image.

    Attributes:
        mean: mean grey, 0..255.
        bright: share of px above grey 128.
        noise: mean absolute second difference along the rows over 1.6, grey levels; fine texture
            counts too.
        saturation: mean of (max - min) / max over px whose max is at least 16.
    """

    mean: Float
    bright: Float
    noise: Float
    saturation: Float


def measure(images: Sequence[Image]) -> NightStats:
    """Measure the statistics of images.

    Raises:
        InputError: there is no image.
    """
    if not images:
        raise InputError("no image to measure: give a folder with night frames")
    rows = np.array([_measure_one(image) for image in images], np.float32)
    return NightStats(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3])


def _measure_one(image: Image) -> tuple[float, float, float, float]:
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.float32)
    second = np.abs(grey[:, 2:] - 2 * grey[:, 1:-1] + grey[:, :-2])
    highest = image.max(2).astype(np.float32)
    colourful = highest >= 16
    spread = (highest - image.min(2))[colourful] / highest[colourful]
    saturation = float(spread.mean()) if spread.size else 0.0
    return float(grey.mean()), float((grey > 128).mean()), float(second.mean()) / 1.6, saturation


def synthesise(config: TrainConfig, root: Path, count: int, seed: int) -> list[Image]:
    """Darken `count` training crops of 255 px, chosen evenly over the day sources."""
    rng = np.random.default_rng(seed)
    chosen: list[Image] = []
    day = [s for s in config.sources if "night" not in s.path and "darktrack" not in s.path]
    share = max(count // len(day), 1)
    for source in day:
        taken = 0
        for frame in iter_source(source, root, DataReport()):
            if taken == share:
                break
            if frame.index % 7:
                continue
            taken += 1
            scene = sample_scene(rng, (config.night.gain_min, config.night.gain_max))
            chosen.append(darken(_central_crop(frame.image), scene, rng))
    return chosen


def read_real(source_path: Path, most: int) -> list[Image]:
    """Read real night frames of a folder, shrunk to 255 px."""
    paths = sorted(p for p in source_path.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
    images = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in paths[:most]]
    return [_central_crop(np.asarray(image, np.uint8)) for image in images if image is not None]


def _central_crop(image: Image) -> Image:
    """Cut the middle at the image's own resolution, so that noise is not averaged away."""
    height, width = image.shape[:2]
    side = min(height, width, 2 * _CROP_PX)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def lines(name: str, stats: NightStats) -> list[str]:
    """Percentiles 10, 50 and 90 of each statistic as text."""
    rows = []
    for label in ("mean", "bright", "noise", "saturation"):
        low, middle, high = np.percentile(getattr(stats, label), (10, 50, 90))
        rows.append(f"{name:10s} {label:10s} p10 {low:7.3f}  p50 {middle:7.3f}  p90 {high:7.3f}")
    return rows


def draw(real: NightStats, made: NightStats, out: Path) -> None:
    """Write the cumulative distributions of both as a PNG."""
    panels = [
        _panel(label, getattr(real, label), getattr(made, label))
        for label in ("mean", "bright", "noise", "saturation")
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    picture = np.vstack([np.hstack(panels[:2]), np.hstack(panels[2:])])
    if not cv2.imwrite(str(out), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise InputError(f"{out} cannot be written")


def _panel(label: str, real: Float, made: Float) -> Image:
    """One cumulative distribution, 320 x 200 px: real in orange, synthesised in blue."""
    width, height, edge = 320, 200, 26
    panel = np.full((height, width, 3), 255, np.uint8)
    top = max(float(np.percentile(real, 98)), float(np.percentile(made, 98)), 1e-6)
    cv2.rectangle(panel, (edge, edge), (width - 8, height - edge), (200, 200, 200), 1)
    for values, colour in ((made, (200, 110, 30)), (real, (30, 120, 240))):
        ordered = np.sort(np.clip(values / top, 0, 1))
        shares = (np.arange(len(ordered)) + 1) / len(ordered)
        xs = edge + ordered * (width - 8 - edge)
        ys = height - edge - shares * (height - 2 * edge)
        points = np.stack([xs, ys], 1).round().astype(np.int32)
        cv2.polylines(panel, [points], False, colour, 2, cv2.LINE_AA)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(panel, label, (edge, 18), font, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    cv2.putText(panel, "real", (width - 130, 18), font, 0.4, (30, 120, 240), 1, cv2.LINE_AA)
    cv2.putText(panel, "synthesised", (width - 92, 18), font, 0.4, (200, 110, 30), 1, cv2.LINE_AA)
    cv2.putText(
        panel, f"{top:.3g}", (width - 50, height - 8), font, 0.4, (40, 40, 40), 1, cv2.LINE_AA
    )
    cv2.putText(panel, "0", (edge, height - 8), font, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    return panel
