"""Training of an enhancer on generated night images."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from gcs.cli import main
from model.enhance.registry import build_enhancer
from model.errors import ConfigError, InputError
from model.training.enhancer_loop import DarkCrops, EnhancerConfig, random_crop, train_enhancer

CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "night" / "deeper"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for i in range(3):
        image = generator.integers(0, 30, (60, 80, 3), np.uint8)
        image[..., 2] += 20  # red is the last channel in the file's order
        cv2.imwrite(str(folder / f"{i}.png"), image)
    return folder.parent


def small(steps: int) -> EnhancerConfig:
    return EnhancerConfig(steps=steps, batch=2, size_px=32, lr=2e-3)


def losses(out) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls_and_the_images_get_lighter(images, tmp_path):
    path = train_enhancer(small(40), images, tmp_path / "run", CPU)
    curve = losses(tmp_path / "run")
    assert np.mean(curve[-5:]) < 0.8 * np.mean(curve[:5])
    enhancer = build_enhancer("darklighter", path)
    dark = torch.stack([DarkCrops(images, 32, 9)[i]["image"] for i in range(4)])
    assert enhancer(dark).mean() > 1.5 * dark.mean()


def test_resuming_gives_the_same_weights(images, tmp_path):
    whole = train_enhancer(small(4), images, tmp_path / "whole", CPU)
    parts = train_enhancer(small(2), images, tmp_path / "parts", CPU)
    with pytest.raises(InputError, match="--resume"):
        train_enhancer(small(4), images, tmp_path / "parts", CPU)
    train_enhancer(small(4), images, tmp_path / "parts", CPU, resume=True)
    assert losses(tmp_path / "whole") == pytest.approx(losses(tmp_path / "parts"), rel=1e-4)
    a, b = build_enhancer("darklighter", whole), build_enhancer("darklighter", parts)
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-5)


def test_samples_are_rgb_and_repeatable(images):
    crops = DarkCrops(images, 32, seed=3)
    sample = crops[11]["image"]
    assert sample.shape == (3, 32, 32)
    assert sample[0].mean() > sample[2].mean()
    assert torch.equal(sample, crops[11]["image"])
    assert not torch.equal(sample, crops[12]["image"])


def test_a_small_image_is_enlarged():
    image = np.zeros((20, 24, 3), np.uint8)
    assert random_crop(image, 64, np.random.default_rng(0)).shape == (64, 64, 3)


@pytest.mark.parametrize("setting", [{"size_px": 100}, {"steps": 0}, {"lr": 0.0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ConfigError):
        EnhancerConfig(**setting)


def test_the_command(images, tmp_path, capsys):
    run = ["--out", str(tmp_path / "run"), "--steps", "1", "--size", "32", "--device", "cpu"]
    assert main(["train", "enhancer", "--images", str(images), *run]) == 0
    assert "latest.pt" in capsys.readouterr().out
    assert main(["train", "enhancer", "--images", str(tmp_path / "absent"), *run, "--resume"]) == 2
    assert "does not exist" in capsys.readouterr().err
