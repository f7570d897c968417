"""Chooses how many threads an engine gets: by trying, because more are not always faster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

PROBE_S = 0.12
"""Time spent on each count; at least `PROBE_PASSES` passes are made."""
PROBE_PASSES = 3
GAIN = 0.95
"""More threads are taken only if they need less than this share of the time."""

_clock = time.perf_counter


def usable_cpus() -> int:
    """Number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_counts(cpus: int) -> list[int]:
    """Counts worth trying: powers of two, and all CPUs; at most 16.

    Examples:
        2 CPUs → [1, 2]; 6 CPUs → [1, 2, 4, 6].
    """
    most = min(cpus, 16)
    return sorted({n for n in (1, 2, 4, 8, 16) if n <= most} | {most})


def fastest_threads(make_pass: Callable[[int], Callable[[], object]], cpus: int) -> int:
    """Try some thread counts and return the one whose quickest pass is quickest.

    Args:
        make_pass: builds the engine with a thread count and returns one pass of it.
        cpus: CPUs that may be used.
    """
    counts = thread_counts(cpus)
    chosen, least = counts[0], float("inf")
    for count in counts:
        duration_s = _quickest_s(make_pass(count)) if len(counts) > 1 else 0.0
        if duration_s < least * GAIN:
            chosen, least = count, duration_s
    return chosen


def _quickest_s(one_pass: Callable[[], object]) -> float:
    one_pass()
    best, started, passes = float("inf"), _clock(), 0
    while passes < PROBE_PASSES or _clock() - started < PROBE_S:
        begun = _clock()
        one_pass()
        best = min(best, _clock() - begun)
        passes += 1
    return best
