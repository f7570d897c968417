"""Trains a DarkLighter from low-light images, without references."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from model.enhance.darklighter import DarkLighter
from model.enhance.media import IMAGE_SUFFIXES, read_image
from model.enhance.zero_reference import Weights, zero_reference_loss
from model.errors import ConfigError, InputError
from model.geometry import Image
from model.training.checkpoint import (
    load_checkpoint,
    load_into,
    load_optimizer,
    require_keys,
    save_checkpoint,
)
from model.training.config import RunConfig
from model.training.loop import TrainingError
from model.training.resume import check_same_settings, stop_between_steps
from model.training.runs import Clock, RunLog, Stretch, make_loader, seed_everything
from model.training.sources import DataReport
from model.training.team import refuse_team

_CLIP = 0.1
_CHECKPOINT_S = 300.0
_KIND = "darklighter"
_KEPT = ("size_px", "batch", "lr", "seed")
"""Settings that a resumed run shares with its checkpoint."""


@dataclass(frozen=True)
class EnhancerConfig:
    """How the enhancer is trained."""

    steps: int = 2000
    """Steps of the whole run."""
    batch: int = 8
    """Images a step."""
    size_px: int = 128
    """Side of the crops, a multiple of 16."""
    lr: float = 1e-4
    """Learning rate (Adam)."""
    seed: int = 1
    """Of weights and crops."""
    workers: int = 0
    """Worker processes that read images."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("steps", "batch"):
            _need(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        fits = self.size_px % 16 == 0 and self.size_px >= 32
        _need("size (size_px)", self.size_px, fits, "a multiple of 16, at least 32")
        fits = math.isfinite(self.lr) and self.lr > 0
        _need("lr", self.lr, fits, "a finite number above 0, as 1e-4")
        _need("seed", self.seed, 0 <= self.seed < 2**32, "a whole number from 0 to 4294967295")
        _need("workers", self.workers, self.workers >= 0, "0 or more")


def _need(name: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise ConfigError(f"{name} is {value!r}: expected {expected}")


class DarkCrops(Dataset[dict[str, torch.Tensor]]):
    """Random crops by number from the images of a folder and the folders in it.

    A sample whose image cannot be read takes the next one in order of name that can.
    """

    def __init__(self, folder: Path, size_px: int, seed: int) -> None:
        """List the images.

        Raises:
            InputError: the folder holds none, or none that can be read.
        """
        if not folder.is_dir():
            raise InputError(f"folder of low-light images {folder} does not exist")
        found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        self._paths = sorted(found)
        if not self._paths:
            raise InputError(f"folder {folder} holds no image ({' '.join(IMAGE_SUFFIXES)})")
        if all(_read(path) is None for path in self._paths):
            raise InputError(f"none of the {len(self._paths)} images in {folder} can be read")
        self._size_px = size_px
        self._seed = seed

    def __len__(self) -> int:
        """Number of images; sample numbers go beyond it."""
        return len(self._paths)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Sample `number`.

        Returns:
            `image` [3 x size x size] RGB 0..1, float32; `asked` and `passed`, whole numbers: the
            image that was drawn, and how many from it on could not be read.

        Raises:
            InputError: no image can be read any more.
        """
        rng = np.random.default_rng((self._seed, number))
        asked = int(rng.integers(len(self._paths)))
        for passed in range(len(self._paths)):
            image = _read(self._path(asked + passed))
            if image is not None:
                break
        else:
            raise InputError(f"none of the {len(self._paths)} images can be read any more")
        crop = random_crop(image, self._size_px, rng)
        chw = np.ascontiguousarray(crop[..., ::-1].transpose(2, 0, 1))
        return {
            "image": torch.from_numpy(chw).float() / 255.0,
            "asked": torch.tensor(asked),
            "passed": torch.tensor(passed),
        }

    def damaged(self, batch: Mapping[str, torch.Tensor]) -> set[Path]:
        """The images that the samples of a batch passed over."""
        spans = zip(batch["asked"].tolist(), batch["passed"].tolist(), strict=True)
        return {self._path(asked + n) for asked, passed in spans for n in range(passed)}

    def _path(self, place: int) -> Path:
        return self._paths[place % len(self._paths)]


def _read(path: Path) -> Image | None:
    try:
        return read_image(path)
    except (InputError, OSError):
        return None


def random_crop(image: Image, size_px: int, rng: np.random.Generator) -> Image:
    """A square of the image, resized to `size_px`, mirrored half of the time."""
    rows, cols = image.shape[:2]
    side = int(rng.integers(min(size_px, rows, cols), min(rows, cols) + 1))
    top, left = int(rng.integers(rows - side + 1)), int(rng.integers(cols - side + 1))
    square = image[top : top + side, left : left + side]
    crop = cv2.resize(square, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(crop[:, ::-1] if rng.random() < 0.5 else crop, np.uint8)


def train_enhancer(
    config: EnhancerConfig,
    images: Path,
    out: Path,
    device: torch.device,
    resume: bool = False,
    weights: Weights | None = None,
) -> Path:
    """Train; return `out/latest.pt`, which `mlkd enhance --weights` reads.

    An interrupted run leaves the steps that it has done; one whose loss is not finite leaves the
    checkpoint before. Images that cannot be read are passed over and named at the end.

    Raises:
        InputError: there are no images, `out` holds a run and `resume` is not set, or the run's
            checkpoint is damaged or of other settings.
        TrainingError: the loss or its gradient is not finite.
    """
    refuse_team("mlkd train enhancer")
    latest = out / "latest.pt"
    if latest.exists() and not resume:
        raise InputError(f"{latest} exists: continue with --resume or choose another --out")
    dataset = DarkCrops(images, config.size_px, config.seed)
    seed_everything(config.seed)
    net = DarkLighter().to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.lr, weight_decay=1e-4)
    state = _State(config, net, optimizer)
    if latest.exists():
        _restore(state, latest)
    _train(state, dataset, latest, device, weights or Weights())
    return latest


@dataclass
class _State:
    """What a run has learned, and by which settings."""

    config: EnhancerConfig
    net: DarkLighter
    optimizer: torch.optim.Optimizer
    step: int = 0


def _train(
    state: _State, dataset: DarkCrops, latest: Path, device: torch.device, weights: Weights
) -> None:
    config, first, clock = state.config, state.step, Clock()
    run = RunConfig(batch=config.batch, workers=config.workers)
    loader = make_loader(dataset, Stretch(first, config.steps, config.batch), run)
    log = RunLog(latest.parent, first)
    saved_s, finite = 0.0, True
    damaged: set[Path] = set()
    try:
        with stop_between_steps() as stop:
            for batch in tqdm(loader, initial=first, total=config.steps, unit="step"):
                if stop.asked:
                    raise KeyboardInterrupt
                damaged |= dataset.damaged(batch)
                dark = batch["image"].to(device)
                values = enhancer_step(state.net, state.optimizer, dark, weights)
                state.step += 1
                log.write(state.step, values)
                if clock.elapsed_s() - saved_s > _CHECKPOINT_S:
                    _save(state, latest)
                    saved_s = clock.elapsed_s()
    except TrainingError:
        finite = False
        raise
    finally:
        log.close()
        if finite and state.step > first:
            _save(state, latest)
        _name_damaged(damaged)


def _name_damaged(paths: set[Path]) -> None:
    report = DataReport()
    for path in sorted(paths):
        report.skip("missing or damaged image", str(path))
    for line in report.lines():
        tqdm.write(f"skipped: {line}")


def enhancer_step(
    net: DarkLighter, optimizer: torch.optim.Optimizer, dark: torch.Tensor, weights: Weights
) -> dict[str, float]:
    """Learn from a batch [B x 3 x H x W] RGB 0..1; the losses by name.

    Raises:
        TrainingError: the loss or its gradient is not finite; the weights are as they were.
    """
    curve, noise = net.curves(dark)
    lit = net.apply_curves(dark, curve, noise)
    total, terms = zero_reference_loss(dark, lit, curve, noise, weights)
    optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(net.parameters(), _CLIP)
    if not bool(torch.isfinite(total.detach()) and torch.isfinite(norm)):
        found = f"loss is {float(total.detach())}, its gradient {float(norm)}"
        raise TrainingError(f"the enhancer's {found}: lower the lr")
    optimizer.step()
    values = {name: float(term.detach()) for name, term in terms.items()}
    return {"loss": float(total.detach()), **values}


def _save(state: _State, path: Path) -> None:
    content = {
        "kind": _KIND,
        "state_dict": state.net.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "config": asdict(state.config),
    }
    save_checkpoint(path, content)


def _restore(state: _State, path: Path) -> None:
    """Continue from a checkpoint of `_save`.

    Raises:
        InputError: the file is no such checkpoint, or of a run with other settings. Checkpoints
            without settings (older ones) are taken as they are.
    """
    content = load_checkpoint(path)
    problem = f"{path} is no checkpoint of an enhancer's run"
    if content.get("kind") != _KIND:
        raise InputError(f"{problem}: choose another --out")
    require_keys(content, ("state_dict", "optimizer", "step"), problem)
    saved, now = content.get("config"), asdict(state.config)
    if isinstance(saved, dict):
        kept = [name for name in _KEPT if name in saved]
        check_same_settings({n: saved[n] for n in kept}, {n: now[n] for n in kept}, path, None)
    load_into(state.net, content["state_dict"], str(path))
    load_optimizer(state.optimizer, content["optimizer"], str(path))
    state.step = int(content["step"])
