"""Chooses an engine's threads and precision: by trying, because more are not always faster."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

TURNS = 4
"""Times that each count is tried."""
PROBE_S = 0.04
"""Time of a turn; at least `PROBE_PASSES` of them are made."""
PROBE_PASSES = 1
GAIN = 0.95
"""More threads are taken only if they need less than this share of the time."""

HOPELESS = 2.5
"""What takes this many times as long as another in its first pass is not tried again."""

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

    The counts take turns, so that other work on the machine slows all of them alike.

    Args:
        make_pass: builds the engine with a thread count and returns one pass of it.
        cpus: CPUs that may be used.
    """
    counts = thread_counts(cpus)
    if len(counts) == 1:
        return counts[0]
    passes = {count: make_pass(count) for count in counts}
    for one_pass in passes.values():
        one_pass()
    best_s = dict.fromkeys(counts, float("inf"))
    for _ in range(TURNS):
        for count, one_pass in passes.items():
            best_s[count] = min(best_s[count], _quickest_s(one_pass))
    chosen = counts[0]
    for count in counts[1:]:
        if best_s[count] < best_s[chosen] * GAIN:
            chosen = count
    shown = ", ".join(f"{count}: {best_s[count] * 1e3:.1f} ms" for count in counts)
    log.info("threads and quickest pass: %s; %d chosen", shown, chosen)
    return chosen


def quickest(makers: Mapping[str, Callable[[], Callable[[], object]]]) -> str:
    """Try some ways to run and return the name of the one whose quickest pass is quickest.

    Args:
        makers: name → builds the engine that way and returns one pass of it; in turns as above.
    """
    if len(makers) == 1:
        return next(iter(makers))
    passes = {name: make() for name, make in makers.items()}
    best_s: dict[str, float] = {}
    for name, one_pass in passes.items():
        begun = _clock()
        one_pass()
        best_s[name] = _clock() - begun
    hopeful = [name for name in passes if best_s[name] < HOPELESS * min(best_s.values())]
    for _ in range(TURNS if len(hopeful) > 1 else 0):
        for name in hopeful:
            best_s[name] = min(best_s[name], _quickest_s(passes[name]))
    chosen = min(best_s, key=lambda name: best_s[name])
    shown = ", ".join(f"{name}: {spent_s * 1e3:.1f} ms" for name, spent_s in best_s.items())
    log.info("quickest pass: %s; %s chosen", shown, chosen)
    return chosen


def _quickest_s(one_pass: Callable[[], object]) -> float:
    """The quickest pass of one turn."""
    best, started, passes = float("inf"), _clock(), 0
    while passes < PROBE_PASSES or _clock() - started < PROBE_S:
        begun = _clock()
        one_pass()
        best = min(best, _clock() - begun)
        passes += 1
    return best
