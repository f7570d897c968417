"""Training of an enhancer on generated night images."""

from __future__ import annotations

import json
import os
import signal

import cv2
import numpy as np
import pytest
import torch

from gcs.cli import main
from model.enhance.darklighter import DarkLighter
from model.enhance.registry import build_enhancer
from model.enhance.zero_reference import Weights, zero_reference_loss
from model.errors import ConfigError, InputError
from model.training import enhancer_loop
from model.training.checkpoint import load_checkpoint, save_checkpoint
from model.training.enhancer_loop import (
    DarkCrops,
    EnhancerConfig,
    enhancer_step,
    random_crop,
    train_enhancer,
)
from model.training.loop import TrainingError

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


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"size_px": 100}, r"size \(size_px\) is 100"),
        ({"steps": 0}, "steps is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"lr": 0.0}, r"lr is 0\.0"),
        ({"lr": float("nan")}, "lr is nan: expected a finite number above 0"),
        ({"lr": float("inf")}, "lr is inf: expected"),
        ({"seed": -1}, "seed is -1: expected a whole number from 0"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"workers": -1}, "workers is -1"),
    ],
)
def test_settings_out_of_range_are_refused(setting, named):
    with pytest.raises(ConfigError, match=named):
        EnhancerConfig(**setting)


def test_a_sample_of_a_damaged_image_takes_the_next(images):
    crops, paths = DarkCrops(images, 32, seed=1), sorted(images.rglob("*.png"))
    whole = [crops[n] for n in range(12)]
    third = paths[2].read_bytes()
    paths[1].write_bytes(b"no image")
    samples = [crops[n] for n in range(12)]
    passed = [int(sample["passed"]) for sample in samples]
    assert passed == [int(sample["asked"]) == 1 for sample in whole]
    assert 0 < sum(passed) < 12
    paths[1].write_bytes(third)
    expected = [crops[n]["image"] for n in range(12)]
    for number, sample in enumerate(samples):
        assert torch.equal(sample["image"], expected[number])
        assert torch.equal(sample["image"], whole[number]["image"]) != passed[number]
    paths[1].unlink()
    assert torch.equal(crops[passed.index(1)]["image"], expected[passed.index(1)])
    for path in (paths[0], paths[2]):
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match="can be read any more"):
        crops[0]


def test_damaged_images_are_named_once_at_the_end(images, tmp_path, capsys):
    first, second, _ = sorted(images.rglob("*.png"))
    first.write_bytes(b"no image")
    second.write_bytes(b"")
    train_enhancer(small(6), images, tmp_path / "run", CPU)
    skipped = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    assert skipped == [f"skipped: 2 x missing or damaged image, first: {first}"]


def test_images_none_of_which_can_be_read_are_refused(images, tmp_path):
    for path in images.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"none of the 3 images in .* can be read"):
        train_enhancer(small(2), images, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def stop_at(monkeypatch, number: int, error: BaseException) -> None:
    """Let the step of that number in this process end with an error."""
    done = []

    def step(*arguments):
        done.append(1)
        if len(done) == number:
            raise error
        return enhancer_step(*arguments)

    monkeypatch.setattr(enhancer_loop, "enhancer_step", step)


def test_an_interrupted_run_goes_on_where_it_was(images, tmp_path, monkeypatch):
    whole = train_enhancer(small(4), images, tmp_path / "whole", CPU)
    stop_at(monkeypatch, 3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train_enhancer(small(4), images, tmp_path / "run", CPU)
    latest = tmp_path / "run" / "latest.pt"
    assert load_checkpoint(latest)["step"] == 2
    train_enhancer(small(4), images, tmp_path / "run", CPU, resume=True)
    a, b = load_checkpoint(whole)["state_dict"], load_checkpoint(latest)["state_dict"]
    for name, weight in a.items():
        torch.testing.assert_close(weight, b[name], rtol=1e-3, atol=1e-5)


def test_ctrl_c_ends_a_run_after_its_step(images, tmp_path, monkeypatch):
    def step(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return enhancer_step(*arguments)

    monkeypatch.setattr(enhancer_loop, "enhancer_step", step)
    with pytest.raises(KeyboardInterrupt):
        train_enhancer(small(4), images, tmp_path / "run", CPU)
    assert load_checkpoint(tmp_path / "run" / "latest.pt")["step"] == 1


def test_a_run_that_is_stopped_before_its_first_step_leaves_no_checkpoint(
    images, tmp_path, monkeypatch
):
    stop_at(monkeypatch, 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train_enhancer(small(4), images, tmp_path / "run", CPU)
    assert not (tmp_path / "run" / "latest.pt").exists()


def test_a_bad_loss_leaves_the_last_checkpoint(images, tmp_path, monkeypatch):
    latest = train_enhancer(small(2), images, tmp_path / "run", CPU)
    before = latest.read_bytes()
    stop_at(monkeypatch, 2, TrainingError("the loss is nan"))
    with pytest.raises(TrainingError):
        train_enhancer(small(6), images, tmp_path / "run", CPU, resume=True)
    assert latest.read_bytes() == before


def test_a_gradient_that_is_not_finite_changes_no_weight(monkeypatch):
    def loss(dark, lit, curve, noise, weights):
        total, terms = zero_reference_loss(dark, lit, curve, noise, weights)
        return total + torch.sqrt(curve.sum() * 0.0), terms  # the value is finite, its slope is not

    monkeypatch.setattr(enhancer_loop, "zero_reference_loss", loss)
    net = DarkLighter()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(TrainingError, match="its gradient nan"):
        enhancer_step(net, torch.optim.Adam(net.parameters()), torch.rand(1, 3, 32, 32), Weights())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optimizer": None}, r"optimizer is missing"),
        ({"step": None}, r"step is missing"),
        ({"state_dict": None}, r"state_dict is missing"),
        ({"optimizer": {"state": {}, "param_groups": []}}, "optimiser's state does not fit"),
        ({"optimizer": {}}, "optimiser's state does not fit"),
        ({"kind": "backbone"}, "is no checkpoint of an enhancer's run:"),
    ],
)
def test_a_checkpoint_that_cannot_be_resumed_is_named(images, tmp_path, change, named):
    latest = train_enhancer(small(2), images, tmp_path / "run", CPU)
    content = {**load_checkpoint(latest), **change}
    save_checkpoint(latest, {name: value for name, value in content.items() if value is not None})
    with pytest.raises(InputError, match=named) as caught:
        train_enhancer(small(4), images, tmp_path / "run", CPU, resume=True)
    assert str(latest) in str(caught.value)


def test_resuming_with_other_settings_is_refused(images, tmp_path):
    latest = train_enhancer(small(2), images, tmp_path / "run", CPU)
    other = EnhancerConfig(steps=4, batch=2, size_px=48, lr=1e-4)
    named = r"other settings: lr was 0\.002 and is 0\.0001; size_px was 32 and is 48: go on"
    with pytest.raises(InputError, match=named):
        train_enhancer(other, images, tmp_path / "run", CPU, resume=True)
    content = load_checkpoint(latest)
    del content["config"]
    save_checkpoint(latest, content)
    train_enhancer(other, images, tmp_path / "run", CPU, resume=True)
    assert load_checkpoint(latest)["step"] == 4


def test_a_resumed_log_holds_no_step_twice(images, tmp_path):
    train_enhancer(small(2), images, tmp_path / "run", CPU)
    log = tmp_path / "run" / "log.jsonl"
    with log.open("a") as stream:  # a killed run logs steps that its checkpoint does not hold
        stream.write('{"step": 3, "loss": 1.0}\n{"step": 4, "lo')
    train_enhancer(small(4), images, tmp_path / "run", CPU, resume=True)
    assert [json.loads(s)["step"] for s in log.read_text().splitlines()] == [1, 2, 3, 4]


def test_the_command(images, tmp_path, capsys):
    run = ["--out", str(tmp_path / "run"), "--steps", "1", "--size", "32", "--device", "cpu"]
    assert main(["train", "enhancer", "--images", str(images), *run]) == 0
    assert "latest.pt" in capsys.readouterr().out
    assert main(["train", "enhancer", "--images", str(tmp_path / "absent"), *run, "--resume"]) == 2
    assert "does not exist" in capsys.readouterr().err
