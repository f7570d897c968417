"""The thread probe takes more threads only where they pay; the clock is faked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from exporter.runtime import threads


@pytest.mark.parametrize(
    ("cpus", "counts"),
    [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (64, [1, 2, 4, 8, 16])],
)
def test_counts_worth_trying(cpus: int, counts: list[int]) -> None:
    assert threads.thread_counts(cpus) == counts


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        ({1: 0.080, 2: 0.040, 4: 0.025}, 4),
        ({1: 0.080, 2: 0.040, 4: 0.039}, 2),
        ({1: 0.010, 2: 0.030, 4: 0.060}, 1),
    ],
)
def test_the_fewest_threads_that_are_about_fastest(
    monkeypatch: pytest.MonkeyPatch, duration_s: dict[int, float], expected: int
) -> None:
    now = 0.0

    def make_pass(count: int) -> Callable[[], object]:
        def one_pass() -> None:
            nonlocal now
            now += duration_s[count]

        return one_pass

    monkeypatch.setattr(threads, "_clock", lambda: now)
    assert threads.fastest_threads(make_pass, cpus=4) == expected


def test_one_cpu_needs_no_probe() -> None:
    def make_pass(count: int) -> Callable[[], object]:
        raise AssertionError(f"built an engine with {count} threads")

    assert threads.fastest_threads(make_pass, cpus=1) == 1


def test_a_disturbance_of_one_turn_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def make_pass(count: int) -> Callable[[], object]:
        def one_pass() -> None:
            nonlocal now
            slow = 10.0 if count == 2 and now < 0.8 else 1.0  # other work, at the beginning alone
            now += slow * {1: 0.080, 2: 0.040}[count]

        return one_pass

    monkeypatch.setattr(threads, "_clock", lambda: now)
    assert threads.fastest_threads(make_pass, cpus=2) == 2


def ways(monkeypatch: pytest.MonkeyPatch, **durations_s: float) -> tuple[dict[str, Any], list[str]]:
    """Ways to run that take so long by a faked clock, and the names of their passes in order."""
    now, passes = 0.0, []

    def maker(name: str) -> Callable[[], Callable[[], object]]:
        def one_pass() -> None:
            nonlocal now
            now += durations_s[name]
            passes.append(name)

        return lambda: one_pass

    monkeypatch.setattr(threads, "_clock", lambda: now)
    return {name: maker(name) for name in durations_s}, passes


def test_the_quickest_way_is_found_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    makers, passes = ways(monkeypatch, bf16=0.05, f32=0.06)
    assert threads.quickest(makers) == "bf16"
    assert passes == ["bf16", "f32"] * (1 + threads.TURNS)
    makers, _ = ways(monkeypatch, bf16=0.07, f32=0.06)
    assert threads.quickest(makers) == "f32"


def test_a_hopeless_way_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    makers, passes = ways(monkeypatch, bf16=0.6, f32=0.06)
    assert threads.quickest(makers) == "f32"
    assert passes == ["bf16", "f32"]


def test_one_way_needs_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    makers, passes = ways(monkeypatch, f32=0.06)
    assert threads.quickest(makers) == "f32"
    assert passes == []
