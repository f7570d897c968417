"""How fast the room learns, against the reference way of doing the same, in one run."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from model.anchors import make_anchors
from model.nets.baselines import run_pairs
from model.nets.outputs import PairOutputs
from model.training.losses import base_losses
from model.training.mutual import elect, mutual_losses
from model.training.mutual_config import MutualConfig
from model.training.mutual_loop import Room, make_room
from model.training.mutual_step import Batch, room_step
from model.training.night_teacher import NightTeacher
from model.training.objective import (
    LossTerms,
    compared_maps,
    correlation_loss,
    kd_losses,
    total_loss,
)
from model.training.optim import set_training_mode

_POSITIVES, _NEGATIVES = 16, 48


@dataclass(frozen=True)
class Throughput:
    """What `measure` found.

    Attributes:
        reference_s: median time of a step of the reference way, seconds.
        room_s: median time of a step of the room as configured, seconds.
        batch: pairs a step.
    """

    reference_s: float
    room_s: float
    batch: int

    @property
    def ratio(self) -> float:
        """How many times faster the room is."""
        return self.reference_s / self.room_s

    def lines(self) -> list[str]:
        """The figures, one a line."""
        ours, theirs = self.batch / self.room_s, self.batch / self.reference_s
        return [
            f"reference (eager fp32, each network in its own pass): {theirs:.2f} pairs/s",
            f"room as configured: {ours:.2f} pairs/s",
            f"ratio: {self.ratio:.2f}",
        ]


def measure(
    config: MutualConfig, teacher: NightTeacher, rounds: int = 5, batch: int | None = None
) -> Throughput:
    """Time steps of both ways in turn, after one of each to warm up; data loading is in neither.

    The reference way: fp32, standard memory layout, no sharing: the teacher and every student run
    alone, over the same losses.

    Args:
        config: of the room; its precision and trained parts are what is measured.
        teacher: frozen; copied.
        rounds: timed steps of each way.
        batch: pairs a step; the configuration's when None.
    """
    count = batch or config.train.run.batch
    pairs = make_batch(config, count)
    fp32 = replace(config.train.run, precision="fp32")
    plain = replace(config, train=replace(config.train, run=fp32))
    ours = make_room(config, None, torch.device("cpu"))
    theirs = make_room(plain, None, torch.device("cpu"))
    frozen = copy.deepcopy(teacher).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loose = copy.deepcopy(teacher)
    for student in theirs.students:
        student.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for student in (*ours.students, *theirs.students):
        set_training_mode(student.net, config.train.optim.statistics)

    def reference() -> None:
        reference_step(theirs, loose, pairs, plain)

    def room() -> None:
        room_step(ours.students, frozen, pairs, config, 0)

    reference()
    room()
    times: dict[Callable[[], None], list[float]] = {reference: [], room: []}
    for _ in range(rounds):
        for step, found in times.items():
            start = time.perf_counter()
            step()
            found.append(time.perf_counter() - start)
    return Throughput(statistics.median(times[reference]), statistics.median(times[room]), count)


def reference_step(room: Room, teacher: NightTeacher, batch: Batch, config: MutualConfig) -> None:
    """One step of the reference way: each network alone, one backward pass a student."""
    z, x = batch["z"], batch["x"]
    clean = "x_clean" in batch
    taught = teacher.answer(batch["z_clean"], batch["x_clean"]) if clean else teacher(z, x)
    outputs = [run_pairs(student.net, z, x) for student in room.students]
    winners = elect([o.cls.detach() for o in outputs]) if len(outputs) > 1 else None
    for index, (student, own) in enumerate(zip(room.students, outputs, strict=True)):
        found = base_losses(own.cls, own.loc, batch, 0)
        base = found.cls, found.loc
        kd = kd_losses(own, taught, config.distill, base, base)
        correlation = correlation_loss(student.loss, own, taught, config.distill)
        share = torch.zeros(())
        if winners is not None:
            # The others' maps are detached, so that each backward pass is one student's.
            seen = [o if i == index else _detached(o) for i, o in enumerate(outputs)]
            maps = zip(*(compared_maps(o, config.distill) for o in seen), strict=True)
            share = torch.stack([mutual_losses(m, winners)[index] for m in maps]).mean()
        terms = LossTerms(*base, *kd, correlation, share)
        student.optimizer.zero_grad(set_to_none=True)
        loss = total_loss(terms, config.distill)
        loss.backward()  # type: ignore[no-untyped-call]
        student.optimizer.step()
        if student.average is not None:
            student.average.update(student.net, 0)


def _detached(outputs: PairOutputs) -> PairOutputs:
    return PairOutputs(*(m.detach() for m in outputs))


def make_batch(config: MutualConfig, count: int) -> Batch:
    """Random crops and labels of the shapes that training has."""
    generator = torch.Generator().manual_seed(config.train.run.seed)
    search_px, template_px = config.train.pairs.search_px, config.train.tracker.template_px
    size = (search_px - template_px) // config.train.tracker.stride + 1
    anchors = make_anchors(config.train.tracker, size).shape[0]
    labels = torch.full((count, anchors), -1, dtype=torch.int8)
    places = torch.randperm(anchors, generator=generator)
    labels[:, places[:_POSITIVES]] = 1
    labels[:, places[_POSITIVES : _POSITIVES + _NEGATIVES]] = 0
    weights = (labels == 1).float() / _POSITIVES
    batch = {
        "labels": labels,
        "deltas": torch.randn(count, 4, anchors, generator=generator) * 0.1,
        "weights": weights,
    }
    for name, side in (("z", template_px), ("x", search_px)):
        batch[name] = torch.rand(count, 3, side, side, generator=generator) * 60.0
        if config.train.pairs.clean:
            batch[f"{name}_clean"] = batch[name] * 4.0
    return batch
