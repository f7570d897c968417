from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.training.night import NightScene, darken, motion_kernel, sample_scene

CALM = NightScene(
    gain=0.02, cast=(1.0, 1.0, 1.0), saturation=1.0, evenness=0.0, lights=0.0, electrons=1e9,
    read_noise=0.0, grain_px=1.0, black=0.0, curve=2.2, blur_px=0.0, blur_deg=0.0, quality=100,
    layout_seed=1,
)  # fmt: skip


def grey(level: int, side: int = 64) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


def test_exposure_acts_on_linear_light() -> None:
    dark = darken(grey(180), CALM, np.random.default_rng(0))
    wanted = 255 * ((180 / 255) ** 2.2 * 0.02) ** (1 / 2.2)
    assert abs(float(dark.mean()) - wanted) < 1.0


def test_same_seed_same_image_and_the_input_is_left_alone() -> None:
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (80, 120, 3), dtype=np.uint8)
    before = image.copy()
    scene = sample_scene(np.random.default_rng(1))
    first = darken(image, scene, np.random.default_rng(2))
    again = darken(image, scene, np.random.default_rng(2))
    other = darken(image, replace(scene, read_noise=1e-3), np.random.default_rng(3))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(image, before)
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert (first != other).any()


def test_fewer_electrons_and_more_read_noise_are_noisier() -> None:
    def spread(scene: NightScene) -> float:
        return float(darken(grey(150), scene, np.random.default_rng(0)).std())

    calm = spread(CALM)
    assert spread(replace(CALM, electrons=3000.0)) > calm + 1
    assert spread(replace(CALM, read_noise=1e-3)) > calm + 1


def test_shot_noise_grows_with_the_light_in_linear_units() -> None:
    scene = replace(CALM, electrons=2000.0, gain=0.2)

    def linear_spread(level: int) -> float:
        dark = darken(grey(level, 128), scene, np.random.default_rng(0))
        return float(((dark / 255.0) ** 2.2).std())

    ratio = linear_spread(250) / linear_spread(120)
    wanted = ((250 / 120) ** 2.2) ** 0.5
    assert ratio == pytest.approx(wanted, rel=0.25)


def test_lamps_brighten_some_places_only() -> None:
    lit = darken(grey(100, 255), replace(CALM, lights=4.0, layout_seed=3), np.random.default_rng(0))
    assert int(lit.max()) > 200
    assert float(np.median(lit)) < 60


def test_cast_changes_the_balance() -> None:
    warm = darken(grey(200), replace(CALM, cast=(0.5, 0.9, 1.1)), np.random.default_rng(0))
    blue, green, red = warm.reshape(-1, 3).mean(0)
    assert blue < green < red


def test_motion_blur_spreads_along_its_direction() -> None:
    kernel = motion_kernel(7.0, 0.0)
    assert kernel.sum() == pytest.approx(1.0)
    assert (kernel.sum(1) > 0).sum() == 1
    assert (kernel.sum(0) > 0).sum() >= 6


def test_sampled_scenes_span_the_real_range_of_mean_grey() -> None:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.linspace(20, 235, 96).astype(np.uint8)[:, None, None], (1, 96, 3))
    means = [float(darken(ramp, sample_scene(rng), rng).mean()) for _ in range(120)]
    low, high = np.percentile(means, (10, 90))
    assert low < 14
    assert 30 < high < 100
