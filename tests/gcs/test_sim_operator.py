from __future__ import annotations

from typing import Any

from gcs.sim_operator import REACTION_S, REDRAW_S, Operator, View, Wish

STEP_S = 0.1


def watched(seconds: float, **shown: Any) -> list[tuple[float, Wish]]:
    """What a fresh operator does before an unchanging screen, and when."""
    well = {"visible": True, "held": True, "off": False, "unconfirmed": False}
    operator = Operator()
    acts = []
    for step in range(round(seconds / STEP_S) + 1):
        now_s = round(step * STEP_S, 6)
        wish = operator.act(View(now_s, **{**well, **shown}))
        if wish is not Wish.NOTHING:
            acts.append((now_s, wish))
    return acts


def test_while_all_is_well_he_does_nothing() -> None:
    assert watched(10.0) == []


def test_he_confirms_and_grants_after_his_reaction_time() -> None:
    assert watched(1.5, unconfirmed=True) == [(REACTION_S, Wish.CONFIRM)]
    assert watched(1.5, off=True) == [(REACTION_S, Wish.GRANT)]
    assert watched(1.5, off=True, unconfirmed=True) == [(REACTION_S, Wish.GRANT)]


def test_he_never_confirms_a_box_on_something_else_but_draws_a_new_one() -> None:
    assert watched(2.5, held=False, unconfirmed=True, off=True) == [(REDRAW_S, Wish.DRAW)]


def test_what_he_cannot_see_he_cannot_draw() -> None:
    assert watched(10.0, visible=False, held=False) == []


def test_a_moment_without_the_target_is_waited_out() -> None:
    operator = Operator()
    for step in range(100):
        held = step % 15 != 0
        assert operator.act(View(step * STEP_S, True, held, False, False)) is Wish.NOTHING
