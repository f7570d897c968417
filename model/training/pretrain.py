"""Pre-training of the backbone: features of a frozen network, by day and in the dark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset
from tqdm import tqdm

from model.errors import ConfigError, InputError
from model.geometry import Image
from model.nets import alexnet, compact
from model.nets.baselines import build_baseline
from model.training.checkpoint import (
    load_checkpoint,
    load_into,
    load_optimizer,
    require_keys,
    save_checkpoint,
)
from model.training.config import TrainConfig
from model.training.loop import TrainingError
from model.training.night import darken, sample_scene
from model.training.optim import Schedule, make_optimizer, set_learning_rate
from model.training.resume import (
    StopRequest,
    check_same_settings,
    saved_settings,
    stop_between_steps,
)
from model.training.runs import (
    Clock,
    RunLog,
    Stretch,
    autocast,
    make_loader,
    seed_everything,
)
from model.training.sources import DataReport, iter_source
from model.training.teacher import INPUT_PX, MARGIN_PX, FeatureTeacher, student_head
from model.training.team import refuse_team

_LONGEST_PX = 854
_LEAST_SIDE_PX = 110.0
_CALIBRATION_CROPS = 192
_STUDENT_PX = 255
CHANNELS = {"alexnet": alexnet.WIDTHS[-1], "compact": compact.CHANNELS}
"""Baselines whose cell i looks at 8 i + 43 px, and the channels of their features."""


class CropDataset(Dataset[dict[str, Image]]):
    """Random crops of every image there is: the day crop and what the student sees of it."""

    def __init__(self, config: TrainConfig, root: Path, report: DataReport) -> None:
        """Read all images of all sources into memory, the long side at most 854 px."""
        self._config = config
        self._images: list[list[Image]] = []
        for source in tqdm(config.sources, desc="reading images", unit="source"):
            frames = iter_source(source, root, report, config.pairs.min_side_px)
            self._images.append([_shrunk(frame.image) for frame in frames])
        weights = np.array([source.weight for source in config.sources])
        self._shares = weights / weights.sum()

    def __len__(self) -> int:
        """Sample numbers are not bounded; this is the count of images."""
        return sum(len(images) for images in self._images)

    def __getitem__(self, number: int) -> dict[str, Image]:
        """Make sample `number`: day (256, 256, 3) and student (255, 255, 3), BGR uint8."""
        rng = np.random.default_rng((self._config.run.seed, number))
        images = self._images[int(rng.choice(len(self._images), p=self._shares))]
        day = _random_crop(images[int(rng.integers(len(images)))], rng)
        student = day[MARGIN_PX:, MARGIN_PX:]
        night = self._config.night
        if rng.random() < night.probability:
            scene = sample_scene(rng, (night.gain_min, night.gain_max))
            student = darken(np.ascontiguousarray(student), scene, rng)
        return {"day": day[:INPUT_PX, :INPUT_PX].copy(), "student": student.copy()}


def _shrunk(image: Image) -> Image:
    scale = _LONGEST_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _random_crop(image: Image, rng: np.random.Generator) -> Image:
    """Cut a square of random size and place, (259, 259, 3): student's crop and margin."""
    height, width = image.shape[:2]
    largest = float(min(height, width))
    side = round(float(np.exp(rng.uniform(np.log(min(_LEAST_SIDE_PX, largest)), np.log(largest)))))
    x = int(rng.integers(width - side + 1))
    y = int(rng.integers(height - side + 1))
    crop = image[y : y + side, x : x + side]
    target = _STUDENT_PX + MARGIN_PX
    way = cv2.INTER_AREA if side > target else cv2.INTER_LINEAR
    crop = np.asarray(cv2.resize(crop, (target, target), interpolation=way), np.uint8)
    return crop[:, ::-1] if rng.random() < 0.5 else crop


class Student(nn.Module):
    """The tracker's backbone and the projection that is thrown away afterwards."""

    def __init__(self, network: str) -> None:
        """Take the backbone of the named baseline.

        Raises:
            ConfigError: its cells do not look at the same places as AlexNet's.
        """
        super().__init__()
        if network not in CHANNELS:
            raise ConfigError(
                f"network is {network!r}: features are distilled on AlexNet's grid alone, expected "
                f"{' or '.join(CHANNELS)}"
            )
        self.backbone: nn.Module = build_baseline(network).backbone
        self.project = student_head(CHANNELS[network])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict the teacher's features [B x 152 x 22 x 22] of [B x 3 x 255 x 255]."""
        out: torch.Tensor = self.project(self.backbone(x))
        return out


@dataclass
class _State:
    student: Student
    teacher: FeatureTeacher
    optimizer: torch.optim.Optimizer
    step: int = 0
    elapsed_s: float = 0.0


def run_pretraining(
    config: TrainConfig, root: Path, out: Path, resume: bool, device: torch.device, strict: bool
) -> Path:
    """Pre-train and return the checkpoint `latest.pt`, whose `state_dict` is `backbone.*`.

    Raises:
        InputError: data or checkpoint cannot be used, or the run is there and not resumed.
    """
    refuse_team("mlkd train pretrain")
    latest = out / "latest.pt"
    if latest.exists() and not resume:
        raise InputError(f"{latest} exists: continue with --resume or choose another --out")
    seed_everything(config.run.seed)
    report = DataReport(strict)
    dataset = CropDataset(config, root, report)
    for line in report.lines():
        tqdm.write(f"skipped: {line}")
    student = Student(config.network).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    teacher = FeatureTeacher().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = _State(student, teacher, make_optimizer(student, config.optim))
    if resume and latest.exists():
        _restore(state, latest, config)
    else:
        crops = np.stack([dataset[n]["day"] for n in range(_CALIBRATION_CROPS)])
        teacher.calibrate(_to_input(torch.from_numpy(crops), device))
    log = RunLog(out, state.step)
    try:
        with stop_between_steps() as stop:
            _train(state, dataset, config, latest, log, device, stop)
    finally:
        log.close()
    return latest


def _train(
    state: _State,
    dataset: CropDataset,
    config: TrainConfig,
    latest: Path,
    log: RunLog,
    device: torch.device,
    stop: StopRequest,
) -> None:
    schedule, clock = Schedule(config.optim), Clock(state.elapsed_s)
    stretch = Stretch(state.step, config.optim.steps, config.run.batch)
    total = config.optim.steps if config.optim.max_hours == 0 else None
    bar = tqdm(make_loader(dataset, stretch, config.run), initial=state.step, total=total)
    saved_s, recent = clock.elapsed_s(), []
    for batch in bar:
        elapsed_s = clock.elapsed_s()
        if stop.asked:
            _save(state, latest, config)
            raise KeyboardInterrupt
        if schedule.progress(state.step, elapsed_s) >= 1.0:
            break
        set_learning_rate(state.optimizer, schedule.rate(state.step, elapsed_s))
        recent.append(_step(state, batch, config, device))
        state.step += 1
        state.elapsed_s = clock.elapsed_s()
        if state.step % config.run.log_steps == 0:
            rate = state.step * config.run.batch / state.elapsed_s
            values = {"loss": float(np.mean(recent)), "samples_s": rate}
            log.write(state.step, {**values, "elapsed_s": state.elapsed_s})
            done = schedule.progress(state.step, state.elapsed_s)
            bar.set_postfix(loss=f"{values['loss']:.3f}", rate=f"{rate:.1f}/s", done=f"{done:.0%}")
            recent.clear()
        if state.elapsed_s - saved_s > config.run.checkpoint_minutes * 60:
            _save(state, latest, config)
            saved_s = state.elapsed_s
    _save(state, latest, config)


def _step(
    state: _State, batch: dict[str, torch.Tensor], config: TrainConfig, device: torch.device
) -> float:
    with autocast(config.run, device):
        wanted = state.teacher(_to_input(batch["day"], device))
        seen = state.student(_to_input(batch["student"], device))
    loss = F.mse_loss(seen.float(), wanted)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(state.student.parameters(), config.optim.clip)
    if not (torch.isfinite(loss.detach()) and torch.isfinite(norm)):
        raise TrainingError(
            f"the loss is {float(loss.detach())}, its gradient {float(norm)}: lower optim.lr and "
            "start from the last checkpoint, which is kept"
        )
    state.optimizer.step()
    return float(loss.detach())


def _to_input(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """[B x H x W x 3] uint8 to [B x 3 x H x W] float, channels last in memory."""
    return images.to(device).permute(0, 3, 1, 2).float()


def _save(state: _State, latest: Path, config: TrainConfig) -> None:
    backbone = state.student.backbone.state_dict()
    content: dict[str, Any] = {
        "kind": "backbone",
        "state_dict": {f"backbone.{name}": value for name, value in backbone.items()},
        "student": state.student.state_dict(),
        "teacher": {"mean": state.teacher.mean, "deviation": state.teacher.deviation},
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "elapsed_s": state.elapsed_s,
        "config": config.as_mapping(),
    }
    save_checkpoint(latest, content)


def _restore(state: _State, latest: Path, config: TrainConfig) -> None:
    content = load_checkpoint(latest)
    problem = f"{latest} is no checkpoint of a pre-training"
    if content.get("kind") != "backbone":
        raise InputError(f"{problem}: it cannot be resumed")
    needed = ("student", "teacher", "optimizer", "step", "elapsed_s", "config")
    require_keys(content, needed, problem)
    saved = saved_settings(TrainConfig, content, latest).as_mapping()
    check_same_settings(saved, config.as_mapping(), latest, None)
    load_into(state.student, content["student"], str(latest))
    require_keys(content["teacher"], ("mean", "deviation"), problem)
    state.teacher.mean.copy_(content["teacher"]["mean"])
    state.teacher.deviation.copy_(content["teacher"]["deviation"])
    load_optimizer(state.optimizer, content["optimizer"], str(latest))
    state.step, state.elapsed_s = int(content["step"]), float(content["elapsed_s"])
