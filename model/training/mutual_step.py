"""One step of the room: the teacher once, every student once, one backward pass (Eq. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from model.nets.outputs import PairOutputs, align_outputs
from model.training.losses import BaseLosses, base_losses
from model.training.mutual import count_wins, elect, mutual_losses
from model.training.mutual_config import MutualConfig
from model.training.night_teacher import NightTeacher
from model.training.objective import (
    TRUTH,
    LossTerms,
    compared_maps,
    correlation_loss,
    kd_losses,
    total_loss,
)
from model.training.optim import RunningStatistics
from model.training.runs import autocast
from model.training.students import Student, answer_pairs
from model.training.team import share_gradients, team_mean, team_sum

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class RoomStep:
    """What one batch did.

    Attributes:
        values: every loss by `<student>/<term>`, floats, means over the processes.
        wins: [students] int64, samples that each student won, over all processes; zeros for a
            single student.
        finite: no loss and no gradient was infinite or not a number; the weights changed.
        outputs: each student's maps, without gradient.
    """

    values: dict[str, float]
    wins: torch.Tensor
    finite: bool
    outputs: tuple[PairOutputs, ...]


def room_losses(
    students: Sequence[Student], teacher: NightTeacher, batch: Batch, config: MutualConfig
) -> tuple[list[LossTerms], torch.Tensor, tuple[PairOutputs, ...]]:
    """The terms of Eq. 6 for every student of the room.

    The teacher runs once for all. A single student learns without L_ML.

    Args:
        students: one or more, of one architecture.
        teacher: frozen.
        batch: z [B x 3 x 127 x 127] and x [B x 3 x S x S] BGR 0..255 float; `labels`, `deltas`
            and `weights` as in `AnchorTargets`; `z_clean` and `x_clean` where the teacher sees
            those.
        config: forms and weights.

    Returns:
        One `LossTerms` a student, [students] wins, and the students' maps.
    """
    z, x = batch["z"], batch["x"]
    with autocast(config.train.run, x.device):
        answers = teacher_answers(teacher, batch)
        outputs = answer_pairs(students, z, x)
    taught = align_outputs(answers, outputs[0].cls.shape[-1])
    pairs = config.train.pairs
    hard = round(pairs.negatives * pairs.hard_negatives)
    with torch.no_grad():
        teacher_base = _weighted(base_losses(taught.cls, taught.loc, batch, hard), config)
    shares, wins = _mutual(outputs, config)
    terms = []
    for student, own, share in zip(students, outputs, shares, strict=True):
        base = _weighted(base_losses(own.cls, own.loc, batch, hard), config)
        if student.loss == TRUTH:
            nothing = torch.zeros((), device=x.device)
            terms.append(LossTerms(*base, nothing, nothing, nothing, share))
            continue
        kd = kd_losses(own, taught, config.distill, base, teacher_base)
        correlation = correlation_loss(student.loss, own, taught, config.distill)
        terms.append(LossTerms(*base, *kd, correlation, share))
    return terms, wins, outputs


def teacher_answers(teacher: NightTeacher, batch: Batch) -> PairOutputs:
    """The teacher's maps: of the clean crops where the batch holds them, else of the enhanced."""
    if "x_clean" in batch:
        return teacher.answer(batch["z_clean"], batch["x_clean"])
    answers: PairOutputs = teacher(batch["z"], batch["x"])
    return answers


def room_step(
    students: Sequence[Student],
    teacher: NightTeacher,
    batch: Batch,
    config: MutualConfig,
    step: int,
) -> RoomStep:
    """Learn from one batch; a batch whose loss or gradient is not finite changes nothing."""
    statistics = [RunningStatistics(student.net) for student in students]
    terms, wins, outputs = room_losses(students, teacher, batch, config)
    totals = [total_loss(term, config.distill) for term in terms]
    for student in students:
        student.optimizer.zero_grad(set_to_none=True)
    # The students share no weight and the winner is detached: one pass serves them all.
    torch.stack(totals).sum().backward()  # type: ignore[no-untyped-call]
    named: dict[str, torch.Tensor] = {}
    for student, term, total in zip(students, terms, totals, strict=True):
        trained = [p for p in student.net.parameters() if p.requires_grad]
        share_gradients(trained)
        norm = nn.utils.clip_grad_norm_(trained, config.train.optim.clip)
        named |= _named(student.name, term, total, norm)
    shared = team_mean(torch.stack([value.detach().float() for value in named.values()]))
    finite = bool(torch.isfinite(shared).all())
    for student, before in zip(students, statistics, strict=True):
        if not finite:
            before.restore()
            continue
        student.optimizer.step()
        if student.average is not None:
            student.average.update(student.net, step)
    values = dict(zip(named, shared.tolist(), strict=True))
    won = team_sum(wins.to(batch["x"].device)).cpu()
    return RoomStep(values, won, finite, tuple(_detached(o) for o in outputs))


def _mutual(
    outputs: Sequence[PairOutputs], config: MutualConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """L_ML's share of each student (mean over the compared branches) and the wins."""
    count = len(outputs)
    device = outputs[0].cls.device
    if count < 2:
        return torch.zeros(count, device=device), torch.zeros(count, dtype=torch.int64)
    winners = elect([o.cls for o in outputs])
    branches = zip(*(compared_maps(o, config.distill) for o in outputs), strict=True)
    shares = torch.stack([mutual_losses(maps, winners) for maps in branches]).mean(0)
    return shares, count_wins(winners, count).cpu()


def _weighted(losses: BaseLosses, config: MutualConfig) -> tuple[torch.Tensor, torch.Tensor]:
    optim = config.train.optim
    return optim.cls_weight * losses.cls, optim.loc_weight * losses.loc


def _named(
    name: str, terms: LossTerms, total: torch.Tensor, norm: torch.Tensor
) -> dict[str, torch.Tensor]:
    values = {f"{name}/{key}": value for key, value in vars(terms).items()}
    return {**values, f"{name}/loss": total, f"{name}/gradient": norm}


def _detached(outputs: PairOutputs) -> PairOutputs:
    return PairOutputs(*(m.detach() for m in outputs))
