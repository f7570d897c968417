"""The teacher: a low-light enhancer and a daytime tracker, frozen (section III-A)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from model.enhance.enhancer import Enhancer, enhance_bgr, enhance_image
from model.enhance.registry import ENHANCERS, build_enhancer
from model.errors import ConfigError, ModelFileError
from model.geometry import Image
from model.nets.baselines import Network, build_baseline, run_pairs
from model.nets.outputs import PairOutputs
from model.training.checkpoint import load_checkpoint, load_into, save_checkpoint

Place = Literal["crops", "frames"]
KIND = "teacher"
ALWAYS_GREY = 255.0


class NightTeacher(nn.Module):
    """Any enhancer before any baseline; in evaluation mode for good and without gradient.

    Attributes:
        enhance_place: `crops` enhances what the network sees (this is what is distilled);
            `frames` leaves it to `prepare` to enhance the whole frame beforehand.
        enhance_below_grey: a pair whose search crop's mean grey (0..255) is above this is left
            as it is, since an enhancer bleaches day images; 255 enhances all, as the paper does.
    """

    def __init__(
        self,
        enhancer: Enhancer,
        net: Network,
        enhance_place: Place = "crops",
        enhance_below_grey: float = ALWAYS_GREY,
    ) -> None:
        super().__init__()
        if enhance_place not in ("crops", "frames"):
            raise ConfigError(f"the teacher enhances {enhance_place!r}: expected crops or frames")
        self.enhancer = enhancer
        self.net = net
        self.enhance_place = enhance_place
        self.enhance_below_grey = enhance_below_grey
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> NightTeacher:
        """Stay in evaluation mode: running statistics are frozen like the weights."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, z: torch.Tensor, x: torch.Tensor) -> PairOutputs:
        """Answer a batch of pairs.

        Args:
            z: [B x 3 x 127 x 127] BGR, 0..255, float; night crops.
            x: [B x 3 x S x S] BGR, 0..255, float.
        """
        return self.answer(*self.see(z, x))

    @torch.no_grad()
    def answer(self, z: torch.Tensor, x: torch.Tensor) -> PairOutputs:
        """Answer a batch of pairs that need no enhancement; shapes as in `forward`."""
        return run_pairs(self.net, z, x)

    @torch.no_grad()
    def see(self, z: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The crops as the teacher's network gets them, BGR, 0..255."""
        if self.enhance_place == "frames":
            return z, x
        lit = enhance_bgr(self.enhancer, z), enhance_bgr(self.enhancer, x)
        if self.enhance_below_grey >= ALWAYS_GREY:
            return lit
        dark = (x.float().mean((1, 2, 3)) < self.enhance_below_grey).reshape(-1, 1, 1, 1)
        return torch.where(dark, lit[0], z.float()), torch.where(dark, lit[1], x.float())

    def prepare(self, frame: Image) -> Image:
        """Enhance a whole frame (BGR uint8) where the teacher is set to `frames`, else nothing."""
        return frame if self.enhance_place == "crops" else enhance_image(self.enhancer, frame)


def build_teacher(
    enhancer: str,
    enhancer_weights: Path | None,
    baseline: str,
    checkpoint: Path,
    enhance_place: Place = "crops",
    enhance_below_grey: float = ALWAYS_GREY,
) -> NightTeacher:
    """Make a teacher of named parts and their weight files.

    Raises:
        ConfigError: an unknown name, or weights are missing or not wanted.
        ModelFileError: a weight file is missing, damaged or of another architecture.
    """
    net = build_baseline(baseline)
    content = load_checkpoint(checkpoint)
    load_into(net, content.get("state_dict", content), str(checkpoint))
    lit = build_enhancer(enhancer, enhancer_weights)
    return NightTeacher(lit, net, enhance_place, enhance_below_grey)


def save_teacher(path: Path, teacher: NightTeacher, enhancer: str, baseline: str) -> None:
    """Write the teacher as one file."""
    content = {
        "kind": KIND,
        "enhancer": enhancer,
        "baseline": baseline,
        "enhance_below_grey": teacher.enhance_below_grey,
        "enhancer_state": teacher.enhancer.state_dict(),
        "state_dict": teacher.net.state_dict(),
    }
    save_checkpoint(path, content)


def teacher_parts(path: Path) -> dict[str, str | float]:
    """What a teacher file was made of, by the names of `TeacherConfig`.

    Raises:
        ModelFileError: missing, damaged, or no teacher.
    """
    content = load_checkpoint(path)
    if content.get("kind") != KIND:
        raise ModelFileError(f"{path} is no teacher: make one with mlkd train teacher")
    names = ("enhancer", "baseline", "enhance_below_grey")
    return {name: content[name] for name in names if name in content}


def load_teacher(path: Path, enhance_place: Place = "crops") -> NightTeacher:
    """Read a teacher that `save_teacher` wrote.

    Raises:
        ModelFileError: missing, damaged, or no teacher.
    """
    content = load_checkpoint(path)
    needed = {"baseline", "enhance_below_grey", "enhancer_state", "state_dict"}
    fits = content.get("kind") == KIND and needed <= content.keys()
    if not fits or content.get("enhancer") not in ENHANCERS:
        raise ModelFileError(f"{path} is no teacher: make one with mlkd train teacher")
    enhancer = ENHANCERS[content["enhancer"]]()
    load_into(enhancer, content["enhancer_state"], str(path))
    net = build_baseline(content["baseline"])
    load_into(net, content["state_dict"], str(path))
    return NightTeacher(enhancer, net, enhance_place, float(content["enhance_below_grey"]))
