"""Captures from a drone's clock: its origin is 1000 s behind the host's in these tests."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drone.source_clock import JUMP_NS, SourceClock

MS = 1_000_000
START_NS = 5000 * 10**9
ORIGIN_NS = 1000 * 10**9
STEP_MS = 33


def ages_ms(late_ms: Iterable[float], clock: SourceClock | None = None) -> list[float]:
    """The age at arrival of pictures that are taken every 33 ms and take so long."""
    clock = clock or SourceClock()
    ages = []
    for number, late in enumerate(late_ms):
        taken_ns = START_NS + number * STEP_MS * MS
        arrived_ns = taken_ns + round(late * MS)
        ages.append((arrived_ns - clock.captured_ns(taken_ns - ORIGIN_NS, arrived_ns)) / MS)
    return ages


def test_a_growing_backlog_is_age() -> None:
    late = [30.0] * 10 + [30.0 + 20 * n for n in range(1, 100)]
    assert ages_ms(late) == pytest.approx([one - 30 for one in late], abs=1)


def test_a_backlog_that_drains_is_none_any_more() -> None:
    assert ages_ms([30, 900, 880, 30, 31]) == pytest.approx([0, 870, 850, 0, 1], abs=0.2)


def test_the_constant_part_of_the_way_cannot_be_seen() -> None:
    assert ages_ms([400] * 50) == [0] * 50


def test_the_fastest_picture_counts_whenever_it_comes() -> None:
    assert ages_ms([60, 50, 45, 60]) == pytest.approx([0, 0, 0, 15], abs=0.01)


@pytest.mark.parametrize("ppm", [-80, 80])
def test_clocks_that_drift_apart_make_no_age(ppm: int) -> None:
    clock = SourceClock()
    for second in range(3600):
        arrived_ns = START_NS + second * 10**9
        source_ns = second * (10**9 + ppm * 1000)
        assert arrived_ns - clock.captured_ns(source_ns, arrived_ns) <= 1


def test_a_backlog_outlives_the_rise_of_the_base() -> None:
    minute = 60_000 // STEP_MS
    assert ages_ms([30] + [530] * minute)[-1] == pytest.approx(500 - 6, abs=0.1)


@pytest.mark.parametrize("jump_ns", [-60 * 10**9, 2 * JUMP_NS])
def test_a_clock_that_is_set_keeps_what_was_known(jump_ns: int) -> None:
    clock = SourceClock()
    ages = []
    for number in range(20):
        taken_ns = START_NS + number * STEP_MS * MS
        arrived_ns = taken_ns + (30 * MS if number < 5 or number >= 15 else 330 * MS)
        source_ns = taken_ns - ORIGIN_NS + (jump_ns if number >= 10 else 0)
        ages.append((arrived_ns - clock.captured_ns(source_ns, arrived_ns)) / MS)
    assert ages == pytest.approx([0] * 5 + [300] * 10 + [0] * 5, abs=0.1)


def test_without_a_clock_the_arrival_counts() -> None:
    clock = SourceClock()
    for arrived_ns in range(START_NS, START_NS + 10**10, 10**9):
        assert clock.captured_ns(None, arrived_ns) == arrived_ns


def test_one_time_again_and_again_is_one_picture_that_grows_old() -> None:
    clock = SourceClock()
    for arrived_ns in range(START_NS, START_NS + 10**10, 10**9):
        captured_ns = clock.captured_ns(START_NS - ORIGIN_NS, arrived_ns)
        assert captured_ns == pytest.approx(START_NS, abs=MS)


def test_a_picture_without_a_time_is_as_late_as_the_one_before() -> None:
    clock = SourceClock()
    ages_ms([30, 230], clock)
    arrived_ns = START_NS + 10**9
    assert arrived_ns - clock.captured_ns(None, arrived_ns) == pytest.approx(200 * MS, abs=MS)


times = st.tuples(st.integers(0, 10**9), st.one_of(st.none(), st.integers(-20 * 10**9, 20 * 10**9)))


@given(st.lists(times, max_size=50))
def test_a_capture_is_never_after_the_arrival_and_never_goes_back(
    history: list[tuple[int, int | None]],
) -> None:
    clock, arrived_ns, last_ns = SourceClock(), START_NS, 0
    for step_ns, offset_ns in history:
        arrived_ns += step_ns
        source_ns = None if offset_ns is None else arrived_ns - ORIGIN_NS + offset_ns
        captured_ns = clock.captured_ns(source_ns, arrived_ns)
        assert last_ns <= captured_ns <= arrived_ns
        last_ns = captured_ns
