"""`mlkd eval bench`: how fast evaluation is with several processes, and how fast metrics are."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.errors import InputError
from model.evaluation.cli_runs import load_sequences
from model.evaluation.metrics import average_scores, score_sequence
from model.evaluation.ope import machine_name, run_ope
from model.evaluation.peers import Opener, TrackerSpec, parse_spec
from model.evaluation.sequences import Sequence

METRIC_FRAMES = 100_000
_METRIC_SEQUENCES = 100


@dataclass(frozen=True)
class Scaling:
    """Evaluation with one process and with several.

    Attributes:
        frames: tracked in each run.
        one_s: time of one process, start-up included.
        many_s: time of `jobs` processes.
        jobs: how many.
    """

    frames: int
    one_s: float
    many_s: float
    jobs: int

    def lines(self) -> list[str]:
        """The figures, one a line."""
        one, many = self.frames / self.one_s, self.frames / self.many_s
        return [
            f"1 process: {one:.1f} frames/s ({self.frames} frames, {self.one_s:.1f} s)",
            f"{self.jobs} processes: {many:.1f} frames/s ({self.many_s:.1f} s)",
            f"ratio: {self.one_s / self.many_s:.2f}",
        ]


def bench(arguments: argparse.Namespace) -> int:
    """Print both benchmarks."""
    if arguments.jobs < 2:
        raise InputError(f"--jobs {arguments.jobs}: expected 2 or more, to compare with 1")
    specs = [parse_spec(text, arguments.engine) for text in arguments.trackers]
    sequences = load_sequences(arguments)
    print(machine_name())
    scaling = measure_scaling(
        specs, sequences, arguments.jobs, arguments.open_backend, arguments.cores
    )
    for line in scaling.lines():
        print(line)
    print(f"metrics of {METRIC_FRAMES} frames: {measure_metrics(METRIC_FRAMES):.2f} s")
    return 0


def measure_scaling(
    specs: list[TrackerSpec],
    sequences: list[Sequence],
    jobs: int,
    open_backend: Opener | None,
    cores: int = 1,
) -> Scaling:
    """Run the same evaluation with `jobs` processes and with one, start-up included.

    Each process has `cores` cores, the single one too.
    """
    frames = sum(len(s) for s in sequences) * len(specs)
    times = []
    for count in (jobs, 1):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            run_ope(specs, sequences, Path(folder), count, open_backend, None, cores)
            times.append(time.perf_counter() - start)
    return Scaling(frames, times[1], times[0], jobs)


def measure_metrics(frames: int) -> float:
    """Seconds to score random results of `frames` frames in sequences of equal length."""
    rng = np.random.default_rng(0)
    length = frames // _METRIC_SEQUENCES
    pairs = []
    for _ in range(_METRIC_SEQUENCES):
        truth = rng.uniform(5, 300, (length, 4))
        pairs.append((truth + rng.normal(0, 5, truth.shape), truth))
    start = time.perf_counter()
    average_scores([score_sequence(truth, result) for result, truth in pairs])
    return time.perf_counter() - start
