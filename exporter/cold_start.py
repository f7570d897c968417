"""Cold start: from the start of a process to its first box."""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.errors import BackendError

TIMEOUT_S = 120.0


def measure_cold_start(
    model: Path | None, engine: str, threads: int | None, times: int
) -> list[float]:
    """Start processes one after another, each of which opens the engine and tracks one frame.

    Args:
        model: as `open_backend`'s path.
        engine: its name.
        threads: None lets each process find the count, as `mlkd serve` does.
        times: how many processes; the first may build what an engine caches.

    Returns:
        Seconds from the start of each process to its first box.

    Raises:
        BackendError: a process ended without a box (the message holds its last line) or did not
            end within 120 s.
    """
    command = [sys.executable, "-m", "exporter.cold_start", "--engine", engine]
    command += [] if model is None else ["--model", str(model)]
    command += [] if threads is None else ["--threads", str(threads)]
    return [_time_s(command) for _ in range(times)]


def _time_s(command: Sequence[str], most_s: float = TIMEOUT_S) -> float:
    begun_s = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        watchdog = threading.Timer(most_s, child.kill)
        watchdog.start()
        try:
            line = child.stdout.readline()
            took_s = time.perf_counter() - begun_s
            _, errors = child.communicate()
        finally:
            watchdog.cancel()
    if time.perf_counter() - begun_s >= most_s:
        raise BackendError(f"cold start: the process did not end within {most_s:g} s")
    if child.returncode != 0 or not line.startswith("box "):
        said = errors.strip().splitlines() or ["nothing"]
        raise BackendError(f"cold start: the process gave no box; it said: {said[-1][:300]}")
    return round(took_s, 3)


def main(argv: Sequence[str] | None = None) -> int:
    """Open the engine, track one frame, print the box."""
    from exporter.runtime.open import open_backend
    from model.geometry import Box
    from model.tracker import Tracker

    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args(argv)
    backend = open_backend(arguments.model, arguments.engine, arguments.threads)
    tracker = Tracker(backend)
    frame = np.random.default_rng(0).integers(0, 60, (720, 1280, 3)).astype(np.uint8)
    state = tracker.init(frame, Box(600.0, 300.0, 64.0, 34.0))
    _, result = tracker.update(state, frame)
    print("box", *(round(v, 1) for v in result.box), flush=True)  # noqa: T201
    backend.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
