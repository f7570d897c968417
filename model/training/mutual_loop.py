"""The run of the mutual-learning room: samples, schedule, log, pictures and checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from tqdm import tqdm

from model.errors import ConfigError, InputError
from model.nets.baselines import build_baseline
from model.training.checkpoint import (
    is_whole,
    load_checkpoint,
    load_into,
    load_optimizer,
    mean_state,
    require_keys,
    save_checkpoint,
    state_digest,
    take_over,
)
from model.training.loop import TrainingError
from model.training.mutual_config import MutualConfig
from model.training.mutual_step import Batch, RoomStep, room_step
from model.training.night_teacher import NightTeacher
from model.training.optim import Schedule, set_learning_rate, set_training_mode
from model.training.pairs import PairDataset
from model.training.pictures import PictureLog
from model.training.resume import (
    StopRequest,
    check_same_settings,
    saved_settings,
    stop_between_steps,
)
from model.training.runs import Clock, Stretch, make_loader, seed_everything
from model.training.sources import DataReport
from model.training.store import build_store
from model.training.students import Student, make_student
from model.training.team import Team, agree, join_team, share_statistics, world_size

KIND = "mutual"
AVERAGE_FILE = "student_average.pt"
CROPS = {"z", "x", "z_clean", "x_clean"}
_MOST_BAD_STEPS = 20


@dataclass
class Room:
    """The students and how far they are.

    Attributes:
        students: in the order of the configuration.
        step: steps done.
        elapsed_s: training time.
        wins: samples won by each student since the last epoch.
        bad_steps: steps in a row that were not finite.
        origin: digests of the weights that the students started from and of the teacher.
    """

    students: list[Student]
    step: int = 0
    elapsed_s: float = 0.0
    wins: list[int] = field(default_factory=list)
    bad_steps: int = 0
    origin: dict[str, str] = field(default_factory=dict)


def run_mutual(
    config: MutualConfig,
    root: Path,
    out: Path,
    *,
    teacher: NightTeacher,
    init: Path | None,
    resume: bool = False,
    device: torch.device,
    strict: bool = False,
    cache: Path | None = None,
) -> list[Path]:
    """Train one student or a room of them; return one checkpoint a student.

    Args:
        config: the whole configuration; kept in the checkpoints.
        root: data root of the sources.
        out: folder of the run: `latest.pt` (to resume), `student_<name>.pt`,
            `student_average.pt`, `log.jsonl`, `wins.jsonl`, `tensorboard/`.
        teacher: frozen.
        init: the baseline's checkpoint, from which every student starts; None for fresh weights,
            the same for all.
        resume: continue the run in `out`; starts it where there is none yet.
        device: CPU or GPU; with torchrun each process takes its own GPU.
        strict: refuse bad data instead of skipping it.
        cache: folder of the crop store; `out/crops` when None.

    Raises:
        InputError: data, checkpoint or folder cannot be used.
        TrainingError: the losses stayed not finite.
    """
    latest = out / "latest.pt"
    if latest.exists() and not resume:
        raise InputError(f"{latest} exists: continue with --resume or choose another --out")
    check_start(config, init)
    with join_team(device) as team:
        folder = out / "crops" if cache is None else cache
        report = DataReport(strict)
        if team.rank == 0:
            build_store(config.train, root, folder, report)
            for line in report.lines():
                tqdm.write(f"skipped: {line}")
        if team.world > 1:
            dist.barrier()
        seed_everything(config.train.run.seed)
        room = make_room(config, init, team.device)
        room.origin = {
            "start": state_digest(room.students[0].net), "teacher": state_digest(teacher)
        }  # fmt: skip
        if resume and latest.exists():
            restore_room(room, latest, config)
        dataset = PairDataset(config.train, folder)
        frozen = teacher.to(team.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with stop_between_steps() as stop:
            _train(room, frozen, dataset, config, out, team, stop)
    return [student_path(out, student) for student in room.students]


def check_start(config: MutualConfig, init: Path | None) -> None:
    """See that whatever does not train comes from `init`.

    Raises:
        ConfigError: a part that does not train would stay as it was drawn.
        ModelFileError: `init` is missing or damaged.
    """
    parts = config.students.parts
    if parts == "all" or (
        init is not None and (parts == "upper" or is_whole(load_checkpoint(init)))
    ):
        return
    given = "no --init" if init is None else f"--init {init}, a backbone alone,"
    raise ConfigError(
        f"students.parts is {parts!r} and {given} was given: what does not train would stay at "
        "chance; start from a whole network, or set students.parts: all"
    )


def make_room(config: MutualConfig, init: Path | None, device: torch.device) -> Room:
    """Make the students, all with the same weights: of `init` (a network or a backbone), or fresh.

    Raises:
        ModelFileError: `init` does not fit the students' network.
    """
    first = build_baseline(config.students.baseline, config.train.tracker.anchors_per_cell)
    if init is not None:
        take_over(first, init)
    students = []
    for name in config.students.names():
        net = copy.deepcopy(first)
        net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        students.append(make_student(name, net, config.students.parts, config.train.optim))
    return Room(students, wins=[0] * len(students))


def student_path(out: Path, student: Student) -> Path:
    """Where a student's weights are written."""
    return out / f"student_{student.name}.pt"


def save_room(room: Room, out: Path, config: MutualConfig) -> None:
    """Write `latest.pt`, then each student's own file (averaged weights where there are any).

    A room also leaves the mean of its students' weights: they start from the same weights and are
    pulled together, so that the mean is a network of the same kind (a `soup`).
    """
    settings = config_mapping(config)
    members = []
    for student in room.students:
        average = None if student.average is None else student.average.module.state_dict()
        members.append(
            {
                "name": student.name,
                "average": average,
                "raw_state_dict": student.net.state_dict(),
                "optimizer": student.optimizer.state_dict(),
            }
        )
    progress = {"step": room.step, "elapsed_s": room.elapsed_s, "wins": room.wins}
    progress |= {"pairs_a_step": config.train.run.batch * world_size(), "origin": room.origin}
    content = {"kind": KIND, "students": members, "config": settings, **progress}
    save_checkpoint(out / "latest.pt", content)
    kind = f"siamrpn_{config.students.baseline}"
    common = {"kind": kind, "step": room.step, "config": settings}
    states = []
    for student in room.students:
        best = student.net if student.average is None else student.average.module
        states.append(best.state_dict())
        save_checkpoint(student_path(out, student), {**common, "state_dict": states[-1]})
    if len(states) > 1:
        save_checkpoint(out / AVERAGE_FILE, {**common, "state_dict": mean_state(states)})


def restore_room(room: Room, path: Path, config: MutualConfig) -> None:
    """Continue from a checkpoint of `save_room`.

    Raises:
        InputError: the file is no such checkpoint, holds other students, was made with other
            settings, from other weights or with another teacher.
    """
    content = load_checkpoint(path)
    problem = f"{path} is no checkpoint of a distillation run"
    if content.get("kind") != KIND or not isinstance(content.get("students"), list):
        raise InputError(f"{problem}: it cannot be resumed")
    found = [member.get("name") for member in content["students"]]
    if found != [student.name for student in room.students]:
        wanted = ", ".join(student.name for student in room.students)
        raise InputError(f"{path} holds the students {', '.join(found)}: expected {wanted}")
    require_keys(content, ("step", "elapsed_s", "wins", "config"), problem)
    _check_origin(room, content, path, config)
    for student, member in zip(room.students, content["students"], strict=True):
        require_keys(member, ("raw_state_dict", "average", "optimizer"), problem)
        load_into(student.net, member["raw_state_dict"], str(path))
        if student.average is not None and member["average"] is not None:
            load_into(student.average.module, member["average"], str(path))
        load_optimizer(student.optimizer, member["optimizer"], str(path))
    room.step, room.elapsed_s = int(content["step"]), float(content["elapsed_s"])
    room.wins = [int(count) for count in content["wins"]]


def _check_origin(room: Room, content: Mapping[str, Any], path: Path, config: MutualConfig) -> None:
    saved = config_mapping(saved_settings(MutualConfig, content, path))
    pairs = content.get("pairs_a_step")
    dealt = None if pairs is None else (int(pairs), config.train.run.batch * world_size())
    check_same_settings(saved, config_mapping(config), path, dealt)
    told = {"start": "its students started from other weights", "teacher": "it had another teacher"}
    origin = content.get("origin", {})
    for name, words in told.items():
        if origin.get(name, room.origin.get(name)) != room.origin.get(name):
            raise InputError(
                f"{path} cannot be resumed: {words}: name the files that it was started with, or "
                "choose another --out"
            )


def config_mapping(config: MutualConfig) -> dict[str, Any]:
    """Plain values for checkpoints; `MutualConfig.from_mapping` accepts them again."""
    own = {name: asdict(getattr(config, name)) for name in ("distill", "teacher", "students")}
    own["students"]["losses"] = list(config.students.losses)
    return {**config.train.as_mapping(), **own}


def _train(
    room: Room,
    teacher: NightTeacher,
    dataset: PairDataset,
    config: MutualConfig,
    out: Path,
    team: Team,
    stop: StopRequest,
) -> None:
    settings = config.train
    schedule, clock = Schedule(settings.optim), Clock(room.elapsed_s)
    stretch = Stretch(room.step, settings.optim.steps, settings.run.batch, team.rank, team.world)
    total = settings.optim.steps if settings.optim.max_hours == 0 else None
    log = PictureLog(out, room.step) if team.rank == 0 else None
    loader = make_loader(dataset, stretch, settings.run)
    bar = tqdm(loader, initial=room.step, total=total, disable=team.rank != 0, unit="step")
    saved_s, recent = clock.elapsed_s(), []
    for student in room.students:
        if team.world > 1:
            share_statistics(student.net)
        set_training_mode(student.net, settings.optim.statistics)
    try:
        for raw in bar:
            # One clock for all: where the schedule follows it, all take the same rate.
            elapsed_s, stopped = agree((clock.elapsed_s(), float(stop.asked)), team)
            if stopped:
                raise KeyboardInterrupt
            if schedule.progress(room.step, elapsed_s) >= 1.0:
                break
            batch = to_device(raw, team.device)
            done = _step(room, teacher, batch, config, schedule.rate(room.step, elapsed_s))
            room.elapsed_s = clock.elapsed_s()
            recent.append(done.values)
            if log is not None and room.step % settings.run.log_steps == 0:
                share = schedule.progress(room.step, room.elapsed_s)
                left_s = room.elapsed_s / max(share, 1e-6) * (1 - share)
                _report(room, recent, log, bar, left_s)
            if room.step % config.students.epoch_steps == 0:
                _close_epoch(room, log, teacher, batch, done)
            if log is not None and room.elapsed_s - saved_s > settings.run.checkpoint_minutes * 60:
                save_room(room, out, config)
                saved_s = room.elapsed_s
    finally:
        if log is not None:
            log.close()
            if room.step > 0 and room.bad_steps == 0:
                save_room(room, out, config)


def to_device(raw: Mapping[str, torch.Tensor], device: torch.device) -> Batch:
    """A loader's batch on the device; crops [B x H x W x 3] uint8 become [B x 3 x H x W] float."""
    batch = {name: value.to(device, non_blocking=True) for name, value in raw.items()}
    for name in CROPS & batch.keys():
        batch[name] = batch[name].permute(0, 3, 1, 2).float()
    return batch


def _step(
    room: Room, teacher: NightTeacher, batch: Batch, config: MutualConfig, rate: float
) -> RoomStep:
    for student in room.students:
        set_learning_rate(student.optimizer, rate)
    done = room_step(room.students, teacher, batch, config, room.step)
    room.bad_steps = 0 if done.finite else room.bad_steps + 1
    if room.bad_steps >= _MOST_BAD_STEPS:
        raise TrainingError(
            f"losses are not finite for {_MOST_BAD_STEPS} steps: lower optim.lr, or run with "
            "precision fp32"
        )
    room.wins = [a + b for a, b in zip(room.wins, done.wins.tolist(), strict=True)]
    room.step += 1
    return done


def _report(
    room: Room, recent: list[dict[str, float]], log: PictureLog, bar: Any, left_s: float
) -> None:
    """Write the means since the last entry and the speed; show the time left."""
    values = {name: float(np.mean([entry[name] for entry in recent])) for name in recent[0]}
    recent.clear()
    group = room.students[0].optimizer.param_groups[0]
    values |= {"lr": group["lr"] / group["scale"], "elapsed_s": room.elapsed_s}
    log.write(room.step, values)
    losses = {student.name: f"{values[f'{student.name}/loss']:.3f}" for student in room.students}
    bar.set_postfix(**losses, left=f"{left_s / 60:.0f}min")


def _close_epoch(
    room: Room,
    log: PictureLog | None,
    teacher: NightTeacher,
    batch: Batch,
    done: RoomStep,
) -> None:
    """Log what each student won, draw maps and crops, count from 0."""
    wins, room.wins = room.wins, [0] * len(room.students)
    if log is None:
        return
    names = [student.name for student in room.students]
    if len(names) > 1:
        log.wins(room.step, dict(zip(names, wins, strict=True)))
    log.draw(room.step, teacher, batch, dict(zip(names, done.outputs, strict=True)))
