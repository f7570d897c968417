from __future__ import annotations

from gcs.rate import Rate
from tests.fakes import NS


def test_rate_of_even_ticks() -> None:
    rate = Rate()
    for number in range(90):
        rate.tick(number * NS // 30)
    assert abs(rate.per_second(89 * NS // 30) - 30) < 0.5


def test_no_ticks_no_rate() -> None:
    rate = Rate()
    assert rate.per_second(0) == 0
    rate.tick(0)
    assert rate.per_second(1) == 0
    rate.tick(NS // 10)
    assert rate.per_second(NS // 10) == 10
    assert rate.per_second(5 * NS) == 0, "a rate of long ago is none"
