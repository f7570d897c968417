"""Trains a DarkLighter from low-light images, without references."""

from __future__ import annotations

from dataclasses import dataclass
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
from model.training.checkpoint import load_checkpoint, load_into, save_checkpoint
from model.training.config import RunConfig
from model.training.loop import TrainingError
from model.training.runs import Clock, RunLog, Stretch, make_loader, seed_everything

_CLIP = 0.1
_CHECKPOINT_S = 300.0


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
        fits = self.size_px % 16 == 0 and self.size_px >= 32
        if not fits:
            raise ConfigError(f"size_px is {self.size_px}: expected a multiple of 16, at least 32")
        if min(self.steps, self.batch) < 1 or self.lr <= 0 or self.workers < 0:
            raise ConfigError("steps and batch must be 1 or more, lr above 0, workers 0 or more")


class DarkCrops(Dataset[dict[str, torch.Tensor]]):
    """Random crops by number from the images of a folder and the folders in it."""

    def __init__(self, folder: Path, size_px: int, seed: int) -> None:
        """List the images.

        Raises:
            InputError: the folder holds none.
        """
        if not folder.is_dir():
            raise InputError(f"folder of low-light images {folder} does not exist")
        found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        self._paths = sorted(found)
        if not self._paths:
            raise InputError(f"folder {folder} holds no image ({' '.join(IMAGE_SUFFIXES)})")
        self._size_px = size_px
        self._seed = seed

    def __len__(self) -> int:
        """Number of images; sample numbers go beyond it."""
        return len(self._paths)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Sample `number`: `image` [3 x size x size] RGB 0..1, float32."""
        rng = np.random.default_rng((self._seed, number))
        image = read_image(self._paths[int(rng.integers(len(self._paths)))])
        crop = random_crop(image, self._size_px, rng)
        chw = np.ascontiguousarray(crop[..., ::-1].transpose(2, 0, 1))
        return {"image": torch.from_numpy(chw).float() / 255.0}


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

    Raises:
        InputError: there are no images, or `out` holds a run and `resume` is not set.
        TrainingError: the loss is not finite.
    """
    latest = out / "latest.pt"
    if latest.exists() and not resume:
        raise InputError(f"{latest} exists: continue with --resume or choose another --out")
    dataset = DarkCrops(images, config.size_px, config.seed)
    seed_everything(config.seed)
    net = DarkLighter().to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.lr, weight_decay=1e-4)
    step, clock = 0, Clock()
    if latest.exists():
        content = load_checkpoint(latest)
        load_into(net, content.get("state_dict", {}), str(latest))
        optimizer.load_state_dict(content["optimizer"])
        step = int(content["step"])
    run = RunConfig(batch=config.batch, workers=config.workers)
    loader = make_loader(dataset, Stretch(step, config.steps, config.batch), run)
    log = RunLog(out)
    saved_s = 0.0
    try:
        for batch in tqdm(loader, initial=step, total=config.steps, unit="step"):
            values = enhancer_step(net, optimizer, batch["image"].to(device), weights or Weights())
            step += 1
            log.write(step, values)
            if clock.elapsed_s() - saved_s > _CHECKPOINT_S:
                _save(latest, net, optimizer, step)
                saved_s = clock.elapsed_s()
    finally:
        log.close()
    _save(latest, net, optimizer, step)
    return latest


def enhancer_step(
    net: DarkLighter, optimizer: torch.optim.Optimizer, dark: torch.Tensor, weights: Weights
) -> dict[str, float]:
    """Learn from a batch [B x 3 x H x W] RGB 0..1; the losses by name.

    Raises:
        TrainingError: the loss is not finite.
    """
    curve, noise = net.curves(dark)
    lit = net.apply_curves(dark, curve, noise)
    total, terms = zero_reference_loss(dark, lit, curve, noise, weights)
    if not bool(torch.isfinite(total)):
        raise TrainingError(f"the enhancer's loss is {float(total.detach())}: lower the lr")
    optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), _CLIP)
    optimizer.step()
    values = {name: float(term.detach()) for name, term in terms.items()}
    return {"loss": float(total.detach()), **values}


def _save(path: Path, net: DarkLighter, optimizer: torch.optim.Optimizer, step: int) -> None:
    content = {"state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    save_checkpoint(path, {"kind": "darklighter", **content})
