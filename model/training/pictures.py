"""The log of a distillation run: numbers, wins, score maps and enhanced crops."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from model.nets.outputs import PairOutputs
from model.training.mutual import score_margins
from model.training.night_teacher import NightTeacher
from model.training.runs import RunLog, cut_log

_SHOWN = 4
"""Pairs of a batch that are drawn."""


class PictureLog(RunLog):
    """Adds wins (`wins.jsonl` and scalars) and pictures to the numbers of a run."""

    def __init__(self, folder: Path, last_step: int) -> None:
        """Open the log; arguments as in `RunLog`."""
        super().__init__(folder, last_step)
        self._wins = folder / "wins.jsonl"
        cut_log(self._wins, last_step)

    def wins(self, step: int, wins: Mapping[str, int]) -> None:
        """Log the samples that each student won in the epoch that ends at `step`."""
        with self._wins.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **wins}) + "\n")
        samples = max(sum(wins.values()), 1)
        for name, count in wins.items():
            self._events.add_scalar(f"wins/{name}", count / samples, step)

    def draw(
        self,
        step: int,
        teacher: NightTeacher,
        batch: Mapping[str, torch.Tensor],
        outputs: Mapping[str, PairOutputs],
    ) -> None:
        """Draw search crops, as they are and as the teacher sees them, and the score maps."""
        z, x = batch["z"][:_SHOWN], batch["x"][:_SHOWN]
        self._events.add_images("search", to_rgb(x), step)
        self._events.add_images("search_enhanced", to_rgb(teacher.see(z, x)[1]), step)
        for name, output in outputs.items():
            self._events.add_images(f"score/{name}", score_pictures(output.cls[:_SHOWN]), step)


def to_rgb(x: torch.Tensor) -> torch.Tensor:
    """[B x 3 x H x W] BGR 0..255 to RGB 0..1, float32 on the CPU."""
    return (x.detach().float().flip(1) / 255.0).clamp(0.0, 1.0).cpu()


def score_pictures(cls: torch.Tensor) -> torch.Tensor:
    """Logits [B x 2k x M x M] to score maps [B x 1 x M x M], 0..1."""
    return torch.sigmoid(score_margins(cls)).unsqueeze(1).cpu()


def read_wins(out: Path) -> list[dict[str, int]]:
    """The wins of each epoch, `{"step": …, <student>: …}`, from a run's folder."""
    lines = (out / "wins.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def mean_shares(epochs: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """Each student's share of all samples, over the given epochs."""
    names = [name for name in epochs[0] if name != "step"]
    sums = {name: sum(epoch[name] for epoch in epochs) for name in names}
    return {name: count / max(sum(sums.values()), 1) for name, count in sums.items()}
