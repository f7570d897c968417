"""The mutual-learning room: the students elect the best of them, sample by sample (Eq. 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from model.errors import ShapeError


def score_margins(cls: torch.Tensor) -> torch.Tensor:
    """The classification map as one 2-D map of log-odds: the maximum over the anchors.

    Log-odds grow with the score and do not saturate, so neighbouring cells that are all but
    certain keep their order.

    Args:
        cls: [B x 2k x M x M] logits; channel c·k + a is class c (1 is the target) of anchor a.

    Returns:
        [B x M x M] float32; the sigmoid of it is the score.
    """
    background, target = cls.detach().float().chunk(2, dim=1)
    return (target - background).amax(1)


def local_maxima(maps: torch.Tensor) -> torch.Tensor:
    """Mark the peaks of 2-D maps: cells that equal the maximum of their 3 x 3 neighbourhood.

    Equal cells that touch are one peak, marked at its last cell in raster order.

    Args:
        maps: [B x M x M].

    Returns:
        [B x M x M] bool.
    """
    maps = maps.unsqueeze(1)
    top = maps == F.max_pool2d(maps, 3, stride=1, padding=1)
    rows, cols = maps.shape[-2:]
    number = torch.arange(1, rows * cols + 1, device=maps.device, dtype=torch.float32)
    number = number.reshape(1, 1, rows, cols)
    label = number * top
    for _ in range(max(rows, cols)):
        label = F.max_pool2d(label, 3, stride=1, padding=1) * top
    return (top & (label == number)).squeeze(1)


def persuasive_values(cls: torch.Tensor) -> torch.Tensor:
    """Ratio of the highest to the second highest local maximum of each score map.

    Args:
        cls: [B x 2k x M x M] logits.

    Returns:
        [B] float32, at least 1; +inf where the map has one peak only, 1 where it is flat.
    """
    margins = score_margins(cls)
    flat = margins.flatten(1).amax(1) == margins.flatten(1).amin(1)
    peaks = local_maxima(margins)
    # Logarithms of the scores: the ratio of two tiny scores would be 0 / 0 otherwise.
    log_scores = F.logsigmoid(margins).masked_fill(~peaks, -torch.inf)
    best = log_scores.flatten(1).topk(2, dim=1).values
    ratio = (best[:, 0] - best[:, 1]).exp()
    return ratio.masked_fill(flat, 1.0)


def elect(students: Sequence[torch.Tensor]) -> torch.Tensor:
    """Choose the most persuasive student for each sample.

    Args:
        students: the classification logits [B x 2k x M x M] of n >= 2 students.

    Returns:
        [B] int64 index of the winner. Of equally persuasive students, as several with one peak
        each, the one with the highest score wins; of those still equal, the first.

    Raises:
        ShapeError: fewer than two students, or maps of different batches.
    """
    _need_students(students)
    values = torch.stack([persuasive_values(cls) for cls in students])
    heights = torch.stack([score_margins(cls).flatten(1).amax(1) for cls in students])
    equal = values == values.amax(0, keepdim=True)
    return heights.masked_fill(~equal, -torch.inf).argmax(0)


def count_wins(winners: torch.Tensor, students: int) -> torch.Tensor:
    """How many samples each student won: [students] int64, in the order of the list."""
    return torch.bincount(winners, minlength=students)


def mutual_losses(maps: Sequence[torch.Tensor], winners: torch.Tensor) -> torch.Tensor:
    """L_ML (Eq. 5) by student: mean square error of the others' maps to the winner's.

    The winner's maps are detached: it teaches and is not pulled towards the others.

    Args:
        maps: the correlation maps [B x C x M x M] of u >= 2 students, all of one shape.
        winners: [B] from `elect`.

    Returns:
        [u] float32; student i's share (1 / u) · MSE(winner, i), averaged over the batch, 0 for a
        sample that it won itself. The sum is L_ML.

    Raises:
        ShapeError: fewer than two students, or maps of different shapes.
    """
    _need_students(maps)
    if any(m.shape != maps[0].shape for m in maps):
        shapes = ", ".join(str(tuple(m.shape)) for m in maps)
        raise ShapeError(f"the students' correlation maps are {shapes}: expected one shape")
    stacked = torch.stack([m.detach().float() for m in maps])
    best = stacked[winners, torch.arange(len(winners), device=winners.device)]
    shares = []
    for index, own in enumerate(maps):
        error = (own.float() - best).square().flatten(1).mean(1)
        shares.append((error * (winners != index)).mean())
    return torch.stack(shares) / len(maps)


def _need_students(students: Sequence[torch.Tensor]) -> None:
    if len(students) < 2:
        raise ShapeError(f"mutual learning needs two students or more, got {len(students)}")
    batches = {s.shape[0] for s in students}
    if len(batches) > 1:
        raise ShapeError(f"the students' batches differ: {sorted(batches)}")
