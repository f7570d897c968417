"""Captures by the host's clock, told from a drone's clock whose origin nobody knows."""

from __future__ import annotations

RISE = 10_000
"""The base may rise by one part in this many of the time that passes: 100 ppm of drift."""
JUMP_NS = 5_000_000_000
"""A picture this much faster than the fastest one is no fast picture: the drone's clock was set."""


class SourceClock:
    """Tells when each picture of one session was taken. One thread.

    The least of arrival minus source time belongs to the picture that came fastest. What another
    one takes beyond that is its lateness: it waited in a backlog, and is as old as it looks. The
    part of the way that every picture takes cannot be seen: the fastest one counts as taken when
    it arrived, and a backlog that is there from the first picture on shows only once it shrinks.

    Where the source's clock was set or says nothing, the lateness of the picture before is kept: a
    backlog does not end with that. One time again and again is one picture that grows old. A
    picture is never taken after its arrival, and never before the one before it.
    """

    def __init__(self) -> None:
        """Begin a session."""
        self._base_ns: int | None = None
        self._source_ns = 0
        self._arrived_ns = 0
        self._late_ns = 0
        self._captured_ns = 0

    def captured_ns(self, source_ns: int | None, arrived_ns: int) -> int:
        """Take in the next picture and tell its capture.

        Args:
            source_ns: by the source's clock; None where it gives none.
            arrived_ns: by the host's monotonic clock, as is what comes back.
        """
        if source_ns is not None:
            offset_ns = arrived_ns - source_ns
            if self._base_ns is None:
                self._base_ns = offset_ns
            elif source_ns < self._source_ns or offset_ns < self._base_ns - JUMP_NS:
                self._base_ns = offset_ns - self._late_ns
            else:
                risen_ns = self._base_ns + (arrived_ns - self._arrived_ns) // RISE
                self._base_ns = min(risen_ns, offset_ns)
            self._late_ns = offset_ns - self._base_ns
            self._source_ns, self._arrived_ns = source_ns, arrived_ns
        self._captured_ns = max(arrived_ns - self._late_ns, self._captured_ns)
        return self._captured_ns
