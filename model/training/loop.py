"""The training loop: one process, or several started by torchrun."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from model.errors import InputError, MlkdError
from model.nets.baselines import Network, build_baseline
from model.training.checkpoint import (
    load_checkpoint,
    load_into,
    load_optimizer,
    require_keys,
    save_checkpoint,
    take_over,
)
from model.training.config import TrainConfig
from model.training.losses import base_losses
from model.training.optim import (
    RunningStatistics,
    Schedule,
    WeightAverage,
    make_optimizer,
    set_learning_rate,
    set_training_mode,
)
from model.training.pairs import PairDataset
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
from model.training.sources import DataReport
from model.training.store import build_store
from model.training.team import Team, agree, join_team, share_statistics, team_mean, world_size

_MOST_BAD_STEPS = 20


class TrainingError(MlkdError, RuntimeError):
    """Training cannot go on, as when the loss is no longer finite."""


@dataclass
class TrainState:
    """Everything that a checkpoint keeps."""

    net: Network
    average: WeightAverage | None
    optimizer: torch.optim.Optimizer
    step: int = 0
    elapsed_s: float = 0.0
    bad_steps: int = field(default=0, compare=False)


def run_training(
    config: TrainConfig,
    root: Path,
    out: Path,
    *,
    init: Path | None = None,
    resume: bool = False,
    device: torch.device,
    strict: bool = False,
    cache: Path | None = None,
) -> Path:
    """Train the tracker; return the checkpoint `latest.pt`.

    Args:
        config: the whole configuration; kept in the checkpoint.
        root: data root of the sources.
        out: folder of the run: `latest.pt`, `log.jsonl`, `tensorboard/`, `crops/`.
        init: checkpoint whose weights are taken over where the names exist (a pre-trained
            backbone, or a whole network).
        resume: continue the run in `out`; starts it where there is none yet.
        device: CPU or GPU; with torchrun each process takes its own GPU.
        strict: refuse bad data instead of skipping it.
        cache: folder of the crop store; `out/crops` when None.

    Raises:
        InputError: data, checkpoint or folder cannot be used.
        TrainingError: the loss stayed not finite.
    """
    latest = out / "latest.pt"
    if latest.exists() and not resume:
        raise InputError(f"{latest} exists: continue with --resume or choose another --out")
    with join_team(device) as team:
        folder = out / "crops" if cache is None else cache
        report = DataReport(strict)
        if team.rank == 0:
            build_store(config, root, folder, report)
            for line in report.lines():
                tqdm.write(f"skipped: {line}")
        if team.world > 1:
            dist.barrier()
        seed_everything(config.run.seed)
        state = make_state(config, team.device, init)
        if resume and latest.exists():
            restore(state, latest, config)
        dataset = PairDataset(config, folder)
        with stop_between_steps() as stop:
            _train(state, dataset, config, latest, team, stop)
    return latest


def make_state(config: TrainConfig, device: torch.device, init: Path | None) -> TrainState:
    """Make the network, its average and the optimiser, from scratch or from a checkpoint."""
    net = build_baseline(config.network, config.tracker.anchors_per_cell)
    if init is not None:
        take_over(net, init)
    net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = WeightAverage(net, config.optim.ema) if config.optim.ema > 0 else None
    return TrainState(net, average, make_optimizer(net, config.optim))


def _train(
    state: TrainState,
    dataset: PairDataset,
    config: TrainConfig,
    latest: Path,
    team: Team,
    stop: StopRequest,
) -> None:
    schedule, clock = Schedule(config.optim), Clock(state.elapsed_s)
    net: nn.Module = state.net
    if team.world > 1:
        share_statistics(state.net)
        net = DistributedDataParallel(state.net)
    stretch = Stretch(state.step, config.optim.steps, config.run.batch, team.rank, team.world)
    loader = make_loader(dataset, stretch, config.run)
    total = config.optim.steps if config.optim.max_hours == 0 else None
    log = RunLog(latest.parent, state.step) if team.rank == 0 else None
    bar = tqdm(loader, initial=state.step, total=total, disable=team.rank != 0, unit="step")
    saved_s, recent = clock.elapsed_s(), []
    set_training_mode(state.net, config.optim.statistics)
    try:
        for batch in bar:
            # One clock for all: where the schedule follows it, all take the same rate.
            elapsed_s, stopped = agree((clock.elapsed_s(), float(stop.asked)), team)
            if stopped:
                raise KeyboardInterrupt
            if schedule.progress(state.step, elapsed_s) >= 1.0:
                break
            set_learning_rate(state.optimizer, schedule.rate(state.step, elapsed_s))
            recent.append(train_step(net, state, batch, config, team.device))
            state.elapsed_s = clock.elapsed_s()
            if log is not None and state.step % config.run.log_steps == 0:
                done = schedule.progress(state.step, state.elapsed_s)
                _report(state, recent, log, bar, done, config, team)
                recent.clear()
            if log is not None and _is_due(state, saved_s, config):
                save_state(state, latest, config)
                saved_s = state.elapsed_s
    finally:
        # An interrupted run keeps what it learned; a failed first step leaves nothing behind.
        if log is not None:
            log.close()
            if state.step > 0 and state.bad_steps == 0:
                save_state(state, latest, config)


def _is_due(state: TrainState, saved_s: float, config: TrainConfig) -> bool:
    waited_s = state.elapsed_s - saved_s
    return state.bad_steps == 0 and waited_s > config.run.checkpoint_minutes * 60


def train_step(
    net: nn.Module,
    state: TrainState,
    batch: dict[str, torch.Tensor],
    config: TrainConfig,
    device: torch.device,
) -> dict[str, float]:
    """One optimiser step; a step whose loss or gradient is not finite changes nothing.

    Raises:
        TrainingError: 20 such steps came in a row.
    """
    optim = config.optim
    data = {name: value.to(device) for name, value in batch.items() if name not in ("z", "x")}
    hard = round(config.pairs.negatives * config.pairs.hard_negatives)
    statistics = RunningStatistics(state.net)
    with autocast(config.run, device):
        cls, loc = net(_to_input(batch["z"], device), _to_input(batch["x"], device))
    losses = base_losses(cls, loc, data, hard)
    loss = optim.cls_weight * losses.cls + optim.loc_weight * losses.loc
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(state.net.parameters(), optim.clip)
    values = team_mean(torch.stack([loss, losses.cls, losses.loc, norm]).detach().float())
    if bool(torch.isfinite(values).all()):
        state.optimizer.step()
        state.bad_steps = 0
        if state.average is not None:
            state.average.update(state.net, state.step)
    else:
        statistics.restore()
        state.bad_steps += 1
        if state.bad_steps >= _MOST_BAD_STEPS:
            raise TrainingError(
                f"loss {float(values[0])} and gradient {float(norm)} are not finite for "
                f"{_MOST_BAD_STEPS} steps: lower optim.lr, or run with precision fp32"
            )
    state.step += 1
    return dict(zip(("loss", "loss_cls", "loss_loc", "gradient"), values.tolist(), strict=True))


def _to_input(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """[B x H x W x 3] uint8 to [B x 3 x H x W] float; channels last in memory."""
    return images.to(device, non_blocking=True).permute(0, 3, 1, 2).float()


def _report(
    state: TrainState,
    recent: list[dict[str, float]],
    log: RunLog,
    bar: Any,
    progress: float,
    config: TrainConfig,
    team: Team,
) -> None:
    """Write the means since the last entry, speed and time left."""
    values = {name: float(np.mean([entry[name] for entry in recent])) for name in recent[0]}
    samples = state.step * config.run.batch * team.world
    values["lr"] = state.optimizer.param_groups[0]["lr"] / state.optimizer.param_groups[0]["scale"]
    values["samples"], values["elapsed_s"] = float(samples), state.elapsed_s
    log.write(state.step, values)
    left_min = state.elapsed_s / max(progress, 1e-6) * (1 - progress) / 60
    bar.set_postfix(
        cls=f"{values['loss_cls']:.3f}",
        loc=f"{values['loss_loc']:.3f}",
        rate=f"{samples / state.elapsed_s:.1f}/s",
        left=f"{left_min:.0f}min",
    )


def save_state(state: TrainState, path: Path, config: TrainConfig) -> None:
    """Write a checkpoint; `state_dict` holds the averaged weights where there are any."""
    best = state.net if state.average is None else state.average.module
    save_checkpoint(
        path,
        {
            "kind": f"siamrpn_{config.network}",
            "state_dict": best.state_dict(),
            "raw_state_dict": state.net.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "step": state.step,
            "elapsed_s": state.elapsed_s,
            "pairs_a_step": config.run.batch * world_size(),
            "config": config.as_mapping(),
        },
    )


def restore(state: TrainState, path: Path, config: TrainConfig) -> None:
    """Continue from a checkpoint of `save_state`.

    Raises:
        InputError: the file is not such a checkpoint, does not fit, or has other settings.
    """
    content = load_checkpoint(path)
    needed = ("raw_state_dict", "state_dict", "optimizer", "step", "elapsed_s", "config")
    require_keys(content, needed, f"{path} is no checkpoint of a training run")
    saved = saved_settings(TrainConfig, content, path).as_mapping()
    pairs = content.get("pairs_a_step")
    dealt = None if pairs is None else (int(pairs), config.run.batch * world_size())
    check_same_settings(saved, config.as_mapping(), path, dealt)
    load_into(state.net, content["raw_state_dict"], str(path))
    if state.average is not None:
        load_into(state.average.module, content["state_dict"], str(path))
    load_optimizer(state.optimizer, content["optimizer"], str(path))
    state.step, state.elapsed_s = int(content["step"]), float(content["elapsed_s"])
