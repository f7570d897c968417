"""Frames per second over the last moments."""

from __future__ import annotations

from collections import deque

WINDOW_NS = 2_000_000_000

SHORTEST_NS = 300_000_000
"""Less than this says nothing: two frames that came in one burst are no rate."""


class Rate:
    """Counts ticks of a window that ends with the newest one."""

    def __init__(self) -> None:
        self._ticks: deque[int] = deque()

    def tick(self, now_ns: int) -> None:
        """Count one."""
        self._ticks.append(now_ns)
        while now_ns - self._ticks[0] > WINDOW_NS:
            self._ticks.popleft()

    def per_second(self, now_ns: int) -> float:
        """Ticks a second; 0 when none came for a whole window, or too few to tell."""
        span_ns = self._ticks[-1] - self._ticks[0] if self._ticks else 0
        if span_ns < SHORTEST_NS or now_ns - self._ticks[-1] > WINDOW_NS:
            return 0.0
        return (len(self._ticks) - 1) / (span_ns / 1e9)

    def clear(self) -> None:
        """Begin anew."""
        self._ticks.clear()
