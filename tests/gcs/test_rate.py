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
    rate.tick(NS // 50)
    assert rate.per_second(NS // 50) == 0, "a burst is no rate"
    rate.tick(NS // 2)
    assert rate.per_second(NS // 2) == 4
    assert rate.per_second(5 * NS) == 0, "a rate of long ago is none"
