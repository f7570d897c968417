"""One-pass evaluation: every tracker over every sequence, once, from the first box."""

from __future__ import annotations

import logging
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Listing
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from model.errors import BoxError, InputError, MlkdError
from model.evaluation.errors import LengthError
from model.evaluation.peers import Opener, PeerTracker, TrackerOpener, TrackerSpec
from model.evaluation.runs import (
    TrackRun,
    is_finished,
    sequence_fingerprint,
    tracker_fingerprint,
    write_run,
)
from model.evaluation.sequences import Sequence
from model.geometry import Box, Image

log = logging.getLogger(__name__)

Progress = Callable[[str, int], None]
"""Called with `set/sequence` and the number of tracked frames when a sequence is finished."""


@dataclass(frozen=True)
class Job:
    """One sequence and the trackers that have not finished it; its frames are decoded once."""

    sequence: Sequence
    specs: tuple[TrackerSpec, ...]
    fingerprints: tuple[str, ...]

    @property
    def frames(self) -> int:
        """Tracked frames: those of the sequence times the trackers."""
        return len(self.sequence) * len(self.specs)


def machine_name() -> str:
    """Processor and number of cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    count = len(_cores())
    return f"{name}, {count} core{'s' if count > 1 else ''}"


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def plan_jobs(
    specs: Listing[TrackerSpec], sequences: Listing[Sequence], out: Path
) -> tuple[list[Job], int]:
    """List what is left to do, the longest first.

    Returns:
        the jobs, and the number of results that are finished already.
    """
    digests = [tracker_fingerprint(spec) for spec in specs]
    jobs, finished = [], 0
    for sequence in sequences:
        base = sequence_fingerprint(sequence)
        pending = [
            (spec, f"{base}-{digest}")
            for spec, digest in zip(specs, digests, strict=True)
            if not is_finished(out, sequence, spec.name, f"{base}-{digest}")
        ]
        finished += len(specs) - len(pending)
        if pending:
            jobs.append(Job(sequence, tuple(s for s, _ in pending), tuple(f for _, f in pending)))
    return sorted(jobs, key=lambda job: -job.frames), finished


def track_sequence(
    trackers: Listing[PeerTracker], sequence: Sequence, machine: str
) -> list[TrackRun]:
    """Run trackers side by side over the frames of one sequence.

    A tracker that refuses the first box has no answer: NaN, which is a failure, in every frame.

    Raises:
        LengthError: the frames end before the truth does.
        InputError: the target is absent from the first frame.
    """
    count = len(sequence)
    box = sequence.first_box
    boxes = np.full((len(trackers), count, 4), np.nan)
    scores = np.full((len(trackers), count), np.nan)
    times_s = np.zeros((len(trackers), count))
    running = dict(enumerate(trackers))
    seen = 0
    for index, image in zip(range(count), sequence.frames, strict=False):
        for row, tracker in list(running.items()):
            started_ns = time.perf_counter_ns()
            if index == 0:
                if not _start(tracker, image, box, sequence):
                    del running[row]
                answer, score = box, None
            else:
                answer, score = tracker.update(image)
            times_s[row, index] = (time.perf_counter_ns() - started_ns) / 1e9
            boxes[row, index] = answer
            scores[row, index] = np.nan if score is None else score
        seen = index + 1
    if seen < count:
        raise LengthError(sequence.frames.source, f"{count} frames as annotated", f"{seen}")
    return [
        TrackRun(boxes[row], times_s[row], scores[row], tracker.engine, machine)
        for row, tracker in enumerate(trackers)
    ]


def _start(tracker: PeerTracker, image: Image, box: Box, sequence: Sequence) -> bool:
    """Give the target to a tracker; False where it refuses the box."""
    try:
        tracker.init(image, box)
    except BoxError as error:
        log.warning("%s/%s: %s refuses: %s", sequence.dataset, sequence.name, tracker.engine, error)
        return False
    return True


class Worker:
    """Runs jobs; opens each tracker once."""

    def __init__(self, open_backend: Opener | None, out: Path) -> None:
        self._opener = TrackerOpener(open_backend)
        self._out = out
        self._machine = machine_name()

    def run(self, job: Job) -> int:
        """Track, write the results, answer the number of tracked frames."""
        trackers = [self._opener.open(spec) for spec in job.specs]
        runs = track_sequence(trackers, job.sequence, self._machine)
        for spec, fingerprint, run in zip(job.specs, job.fingerprints, runs, strict=True):
            write_run(self._out, job.sequence, spec.name, run, {"fingerprint": fingerprint})
        return job.frames

    def close(self) -> None:
        """Close every tracker."""
        self._opener.close()


def run_ope(
    specs: Listing[TrackerSpec],
    sequences: Listing[Sequence],
    out: Path,
    jobs: int = 1,
    open_backend: Opener | None = None,
    progress: Progress | None = None,
) -> int:
    """Evaluate trackers; finished results are kept, so a stopped run goes on where it was.

    Args:
        specs: the trackers; names must differ.
        sequences: what to track.
        out: folder of results.
        jobs: processes; each is held to its share of the cores, so that speed can be compared.
        open_backend: opens engines; must be importable by name where `jobs` is above 1.
        progress: told of each finished sequence.

    Returns:
        the number of results that were finished before.

    Raises:
        InputError: a tracker or a sequence cannot be used.
    """
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        raise InputError(f"trackers {', '.join(names)}: expected different names; use NAME=TRACKER")
    if jobs < 1:
        raise InputError(f"jobs is {jobs}: expected 1 or more")
    pending, finished = plan_jobs(specs, sequences, out)
    runner = _run_here if jobs == 1 or len(pending) <= 1 else _run_processes
    for job, frames in runner(pending, out, jobs, open_backend):
        if progress is not None:
            progress(f"{job.sequence.dataset}/{job.sequence.name}", frames)
    return finished


def _run_here(
    pending: Listing[Job], out: Path, jobs: int, open_backend: Opener | None
) -> Iterator[tuple[Job, int]]:
    del jobs
    with closing(Worker(open_backend, out)) as worker:
        for job in pending:
            yield job, worker.run(job)


def _run_processes(
    pending: Listing[Job], out: Path, jobs: int, open_backend: Opener | None
) -> Iterator[tuple[Job, int]]:
    context = multiprocessing.get_context("spawn")  # a fork would copy OpenCV's threads' locks
    shares = context.Queue()
    cores = _cores()
    for index in range(jobs):
        shares.put([core for n, core in enumerate(cores) if n % jobs == index % len(cores)])
    pool = ProcessPoolExecutor(jobs, context, _start_process, (open_backend, out, shares))
    try:
        waiting = {pool.submit(_run_in_process, job): job for job in pending}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool:
        raise MlkdError(
            "a process of the evaluation died (too little memory?); what is finished is kept: run "
            "the same command again, with fewer --jobs"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: Worker | None = None  # one a process; the pool offers no other place


def _start_process(
    open_backend: Opener | None, out: Path, shares: multiprocessing.Queue[list[int]]
) -> None:
    global _worker
    share = shares.get()
    if share and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)
    cv2.setNumThreads(max(len(share), 1))
    os.environ["OMP_NUM_THREADS"] = str(max(len(share), 1))
    _worker = Worker(open_backend, out)


def _run_in_process(job: Job) -> int:
    assert _worker is not None
    try:
        return _worker.run(job)
    except InputError as error:
        raise InputError(str(error)) from None  # errors with more arguments do not travel
