"""When the sender writes: new commands at once, repeated ones on a beat, never too many."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drone import sender_child
from drone.control import RateCommand
from drone.sender_child import SenderLoop
from drone.sender_core import MOST_RATE_HZ, SenderConfig, pack

MS = 1_000_000
START_NS = 10_000 * MS
CONFIG = SenderConfig()


@dataclass
class Written:
    """A link that notes what it was told, and when."""

    now_ns: int = START_NS
    got: list[tuple[int, RateCommand]] = field(default_factory=list)
    failures: int = 0
    """Writes that fail before the first one that works."""

    def write(self, command: RateCommand) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the interface is destroyed")
        self.got.append((self.now_ns, command))

    def report(self) -> Mapping[str, object] | None:
        return None

    def close(self) -> None:
        pass


def run(
    times_ms: list[int], commands: list[RateCommand], failures: int = 0, dies_ms: int | None = None
) -> list[tuple[float, RateCommand]]:
    """Give commands at times and tell what was written, ms after the start; time is not real.

    Args:
        times_ms, commands: what the parent sends, and when.
        failures: writes that the link refuses first.
        dies_ms: when the parent dies, after all of these.
    """
    link = Written(failures=failures)
    read_fd, feed_fd = os.pipe()
    told_fd, out_fd = os.pipe()
    death = [] if dies_ms is None else [(dies_ms, None)]
    script: Iterator[tuple[int, RateCommand | None]]
    script = iter([*zip(times_ms, commands, strict=True), *death])
    pending = next(script, None)
    loop = SenderLoop(link, CONFIG, read_fd, out_fd, clock=lambda: link.now_ns)

    def wait(readers: list[int], _w: object, _x: object, wait_s: float) -> tuple[list[int], ...]:
        nonlocal pending
        until_ns = link.now_ns + max(round(wait_s * 1e9), 1000)
        if pending is not None and START_NS + pending[0] * MS <= until_ns:
            link.now_ns = max(START_NS + pending[0] * MS, link.now_ns)
            if pending[1] is None:
                os.close(feed_fd)
            else:
                os.write(feed_fd, pack(pending[1]))
            pending = next(script, None)
            return readers, [], []
        link.now_ns = until_ns
        if pending is None and link.now_ns > START_NS + (times_ms[-1] + 2000) * MS:
            loop.stop.asked = True
        return [], [], []

    def sleep(wait_s: float) -> None:
        link.now_ns += max(round(wait_s * 1e9), 1000)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sender_child.select, "select", wait)
        patch.setattr(sender_child.time, "sleep", sleep)
        loop.run()
    for fd in (read_fd, told_fd, out_fd, *([feed_fd] if dies_ms is None else [])):
        os.close(fd)
    return [((at_ns - START_NS) / MS, command) for at_ns, command in link.got]


def moving(at_ms: int, yaw: float) -> RateCommand:
    return RateCommand(yaw_deg_s=yaw, issued_ns=START_NS + at_ms * MS)


def test_commands_of_30_frames_a_second_go_out_as_they_come() -> None:
    times = [33 * n for n in range(1, 20)]
    written = run(times, [moving(t, t / 100) for t in times])
    first = {command.yaw_deg_s: at for at, command in reversed(written) if command.yaw_deg_s}
    assert [first[t / 100] - t for t in times] == pytest.approx([0.0] * len(times), abs=0.01)


def test_neutral_is_out_at_the_moment_of_expiry() -> None:
    written = run([40], [moving(40, 9.0)])
    last_move = max(at for at, command in written if not command.is_neutral)
    first_zero = min(at for at, command in written if command.is_neutral)
    assert last_move <= 40 + CONFIG.expiry_s * 1e3
    assert first_zero == pytest.approx(40 + CONFIG.expiry_s * 1e3, abs=0.01)


def test_neutral_is_not_held_back() -> None:
    written = run([40, 45], [moving(40, 9.0), RateCommand(issued_ns=START_NS + 45 * MS)])
    assert [(at, c.is_neutral) for at, c in written[:2]] == [(40.0, False), (45.0, True)]


def test_a_parent_that_dies_makes_neutral_at_once_not_at_expiry() -> None:
    written = run([40], [moving(40, 9.0)], dies_ms=100)
    assert max(at for at, command in written if not command.is_neutral) < 100
    zeros = [at for at, command in written if command.is_neutral]
    assert zeros[0] == pytest.approx(100, abs=0.01)
    assert zeros[-1] == pytest.approx(100 + CONFIG.zeros_s * 1e3, abs=1000 / CONFIG.rate_hz)


def test_a_link_that_fails_is_written_to_again() -> None:
    written = run([40], [moving(40, 9.0)], failures=3)
    first_ms = 40 + 3 * 1000 / CONFIG.rate_hz
    assert written[0] == (pytest.approx(first_ms, abs=0.01), moving(40, 9.0))
    assert written[-1][1].is_neutral


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_moving_commands_keep_the_rate(gaps_ms: list[int]) -> None:
    times = [sum(gaps_ms[: n + 1]) for n in range(len(gaps_ms))]
    written = run(times, [moving(t, t / 100) for t in times])
    moves = [at for at, command in written if not command.is_neutral]
    between = [b - a for a, b in itertools.pairwise(moves)]
    assert all(gap >= 1000 / MOST_RATE_HZ - 0.01 for gap in between)
    assert all(gap <= 1000 / CONFIG.rate_hz + 0.01 for gap in between)
    assert moves[0] == pytest.approx(times[0], abs=0.01)
