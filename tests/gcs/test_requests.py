from __future__ import annotations

import pytest

from gcs.requests import MAX_WAITING, BusyError, Claim, HoldOrder, Orders, StopOrder


def test_orders_come_out_in_order_and_once() -> None:
    orders = Orders()
    assert orders.take() == []
    for number in range(3):
        orders.put(HoldOrder(number))
    assert orders.take() == [HoldOrder(0), HoldOrder(1), HoldOrder(2)]
    assert orders.take() == []


def test_a_flood_is_refused_and_never_blocks() -> None:
    orders = Orders()
    for number in range(MAX_WAITING):
        orders.put(HoldOrder(number))
    with pytest.raises(BusyError, match=f"{MAX_WAITING} requests are waiting"):
        orders.put(HoldOrder(99))
    assert len(orders.take()) == MAX_WAITING
    orders.put(HoldOrder(1))


def test_a_stop_counts_once_it_waits() -> None:
    orders = Orders()
    orders.put(StopOrder())
    for number in range(MAX_WAITING - 1):
        orders.put(HoldOrder(number))
    with pytest.raises(BusyError):
        orders.put(StopOrder())
    assert orders.stops == 1, "one that was refused ends no later start"


def test_a_claim_is_taken_once() -> None:
    claim = Claim()
    assert not claim.taken
    assert [claim.take(), claim.take()] == [True, False]
    assert claim.taken
