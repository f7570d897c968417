"""What every run shares: seeds, precision, sample streams, the clock and the log."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator, Mapping, Sized
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from model.errors import InputError
from model.training.config import RunConfig


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (weights; samples have seeds of their own)."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - third-party code may draw from it
    torch.manual_seed(seed)


def autocast(config: RunConfig, device: torch.device) -> AbstractContextManager[Any]:
    """Mixed precision of the run: bf16 on CPU and GPU alike, or none."""
    if config.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


class Stretch(Sampler[int], Sized):
    """The sample numbers of one process from a step on: the same after a resume as without.

    Sample numbers are unbounded; number n always yields the same sample. Process r of w takes
    every w-th batch.
    """

    def __init__(self, first_step: int, steps: int, batch: int, rank: int = 0, world: int = 1):
        self._first, self._steps = first_step, steps
        self._batch, self._rank, self._world = batch, rank, world

    def __len__(self) -> int:
        """Count of samples of this process."""
        return max(self._steps - self._first, 0) * self._batch

    def __iter__(self) -> Iterator[int]:
        """Yield sample numbers, step by step."""
        for step in range(self._first, self._steps):
            start = (step * self._world + self._rank) * self._batch
            yield from range(start, start + self._batch)


def make_loader(
    dataset: Dataset[Any], stretch: Stretch, config: RunConfig
) -> DataLoader[dict[str, torch.Tensor]]:
    """Batch the samples in worker processes, which use one thread each."""
    return DataLoader(
        dataset,
        batch_size=config.batch,
        sampler=stretch,
        num_workers=config.workers,
        worker_init_fn=_single_thread,
        prefetch_factor=4 if config.workers else None,
        persistent_workers=False,
    )


def _single_thread(_worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Ctrl-C reaches the workers too: the training process decides when they end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class RunLog:
    """Numbers of a run: TensorBoard events and one JSON line an entry (`log.jsonl`)."""

    def __init__(self, folder: Path, last_step: int) -> None:
        """Open the log of a run that goes on after `last_step`; later entries are dropped.

        Args:
            folder: of the run; made if absent.
            last_step: the checkpoint's, 0 for a new run.
        """
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        cut_log(folder / "log.jsonl", last_step)
        # TensorBoard leaves out older events from this step on.
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=last_step + 1)
        self._lines = (folder / "log.jsonl").open("a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write one entry."""
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        entry = {"step": step, **{name: round(value, 6) for name, value in values.items()}}
        self._lines.write(json.dumps(entry) + "\n")
        self._lines.flush()

    def close(self) -> None:
        """Flush and close both."""
        self._events.close()
        self._lines.close()


def cut_log(path: Path, step: int) -> None:
    """Drop the entries of a log (one JSON object a line) that lie beyond a step.

    A run that was killed logged steps that its checkpoint does not hold; the resumed run takes
    them again. Call it before the log is opened, with the checkpoint's step (0 without one). A
    line that is no entry, as the half of one that a kill leaves, goes too. The file is replaced as
    a whole; a file that is not there, or needs no cut, is left alone.

    Args:
        path: `log.jsonl`, `wins.jsonl` or another file whose entries hold `step`.
        step: the last step to keep.
    """
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    kept = "".join(f"{line}\n" for line in text.splitlines() if _is_entry(line, step))
    if kept == text:
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(kept, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_entry(line: str, last_step: int) -> bool:
    """Whether a line is a log's entry of `last_step` or before."""
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    step = entry.get("step") if isinstance(entry, dict) else None
    return isinstance(step, int) and step <= last_step


class Clock:
    """Training time, continued over resumes."""

    def __init__(self, before_s: float = 0.0) -> None:
        self._start = time.monotonic() - before_s

    def elapsed_s(self) -> float:
        """Seconds of training so far, earlier stretches included."""
        return time.monotonic() - self._start


def pick_device(name: str) -> torch.device:
    """Choose the device: `auto` takes a GPU where there is one.

    Raises:
        InputError: the device is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name!r} is unknown: expected auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name!r} is not there: torch sees no GPU; use --device cpu")
    return device
