from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from model.errors import InputError
from model.training.night_stats import draw, lines, measure


def test_statistics_by_hand() -> None:
    flat = np.full((20, 20, 3), 100, np.uint8)
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 2] = 200
    stats = measure([flat, red])
    assert stats.mean.tolist() == pytest.approx([100, 200 * 0.299], abs=0.6)
    assert stats.bright.tolist() == [0, 0]
    assert stats.noise.tolist() == [0, 0]
    assert stats.saturation.tolist() == [0, 1]


def test_noise_is_seen() -> None:
    rng = np.random.default_rng(0)
    noisy = np.repeat(rng.integers(90, 110, (40, 40, 1), dtype=np.uint8), 3, 2)
    assert float(measure([noisy]).noise[0]) > 5


def test_the_figure_and_the_lines_hold_both(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 90 + n, (30, 30, 3), dtype=np.uint8) for n in range(4)]
    stats = measure(images)
    draw(stats, stats, tmp_path / "new" / "a.png")
    drawn = cv2.imread(str(tmp_path / "new" / "a.png"))
    assert drawn.shape == (400, 640, 3)
    assert [line.split()[1] for line in lines("real", stats)] == [
        "mean", "bright", "noise", "saturation"
    ]  # fmt: skip


def test_no_image_is_named() -> None:
    with pytest.raises(InputError, match="no image"):
        measure([])
