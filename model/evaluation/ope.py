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
from contextlib import ExitStack, closing, contextmanager
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
    """Processor, and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    count, total = len(_cores()), os.cpu_count() or 1
    share = f"{count} of {total}" if count < total else f"{total}"
    return f"{name}, {share} core{'s' if total > 1 else ''}"


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def share_cores(cores: Listing[int], jobs: int, each: int | None) -> list[list[int]]:
    """Deal cores out to processes, in turns.

    Args:
        cores: what there is to deal.
        jobs: processes.
        each: cores of a process; None deals all of them out.
    """
    if each is None:
        each = max(len(cores) // jobs, 1)
    each = min(each, len(cores))
    return [[cores[(job * each + k) % len(cores)] for k in range(each)] for job in range(jobs)]


@contextmanager
def held_to(share: Listing[int]) -> Iterator[None]:
    """Hold this thread, those that it starts and OpenCV to some cores; undone at the end.

    Engines take as many threads as they find cores: without this, each of several processes
    would take all of them and they would fight.
    """
    before, threads = _cores(), cv2.getNumThreads()
    pinned = hasattr(os, "sched_setaffinity")
    if pinned:
        os.sched_setaffinity(0, share)
    cv2.setNumThreads(len(share))
    try:
        yield
    finally:
        if pinned:
            os.sched_setaffinity(0, before)
        cv2.setNumThreads(threads)


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
        expected = f"{count} frames, one a box of {sequence.boxes_file or 'its truth'}"
        raise LengthError(sequence.frames.source, expected, f"{seen}")
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
    cores: int | None = None,
) -> int:
    """Evaluate trackers; finished results are kept, so a stopped run goes on where it was.

    Args:
        specs: the trackers; names must differ.
        sequences: what to track.
        out: folder of results.
        jobs: processes.
        open_backend: opens engines; must be importable by name where `jobs` is above 1.
        progress: told of each finished sequence, first of all those that were finished before.
        cores: that each process is held to; None deals all out. With a number, speeds do not
            depend on `jobs`.

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
    if cores is not None and cores < 1:
        raise InputError(f"cores is {cores}: expected 1 or more")
    pending, finished = plan_jobs(specs, sequences, out)
    if progress is not None and finished:
        kept = sum(map(len, sequences)) * len(specs) - sum(job.frames for job in pending)
        progress("finished before", kept)
    if jobs == 1 or len(pending) <= 1:
        done = _run_here(pending, out, share_cores(_cores(), 1, cores)[0], open_backend)
    else:
        done = _run_processes(pending, out, share_cores(_cores(), jobs, cores), open_backend)
    for job, frames in done:
        if progress is not None:
            progress(f"{job.sequence.dataset}/{job.sequence.name}", frames)
    return finished


def _run_here(
    pending: Listing[Job], out: Path, share: Listing[int], open_backend: Opener | None
) -> Iterator[tuple[Job, int]]:
    with held_to(share), closing(Worker(open_backend, out)) as worker:
        for job in pending:
            yield job, worker.run(job)


def _run_processes(
    pending: Listing[Job], out: Path, shares: Listing[Listing[int]], open_backend: Opener | None
) -> Iterator[tuple[Job, int]]:
    context = multiprocessing.get_context("spawn")  # a fork would copy OpenCV's threads' locks
    queue = context.Queue()
    for share in shares:
        queue.put(list(share))
    pool = ProcessPoolExecutor(len(shares), context, _start_process, (open_backend, out, queue))
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
_holding = ExitStack()


def _start_process(
    open_backend: Opener | None, out: Path, shares: multiprocessing.Queue[list[int]]
) -> None:
    global _worker
    _holding.enter_context(held_to(shares.get()))  # for the life of the process
    _worker = Worker(open_backend, out)


def _run_in_process(job: Job) -> int:
    assert _worker is not None
    try:
        return _worker.run(job)
    except InputError as error:
        raise InputError(str(error)) from None  # errors with more arguments do not travel
