"""The supervisor under random histories: what holds whatever happened before."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drone.control import RateCommand
from drone.frame import Telemetry
from gcs import safety
from gcs.safety_rules import FLYING_STATES
from gcs.session import Phase
from gcs.situation import Action, ControlLevel, Situation, Verdict, Watch
from model.geometry import Box
from tests.gcs.flight import BOX, CONFIG, HEIGHT, MS, NOW_NS, WELL, WIDTH

maybe = st.none() | st.floats(allow_nan=True, allow_infinity=True)
situations = st.fixed_dictionaries(
    {
        "gap_ms": st.sampled_from([0, 1, 20, 33, 66, 120, 260, 600, 6000, -40]),
        "age_ms": st.sampled_from([-50, 0, 10, 30, 100, 240, 260, 600]),
        "phase": st.sampled_from([Phase.TRACKING] * 6 + [Phase.LOST, Phase.IDLE]),
        "box": st.sampled_from([BOX] * 8 + [Box(610, 303, 82, 51), Box(0, 0, 80, 50), None])
        | st.builds(Box, *[st.floats(allow_nan=True, allow_infinity=True)] * 4),
        "score": st.sampled_from([0.9] * 6 + [0.4, math.nan, None, 2.0]),
        "low": st.sampled_from([False] * 4 + [True]),
        "frame": st.sampled_from([True] * 5 + [False]),
        "override": st.sampled_from([None] * 20 + ["stick", "key", "api"]),
        "telemetry": st.sampled_from([WELL] * 12)
        | st.builds(
            Telemetry,
            height_m=maybe,
            home_distance_m=maybe,
            battery_percent=maybe,
            link_quality=maybe,
            flying_state=st.none() | st.sampled_from(["flying", "hovering", "landing", "x"]),
            returning_home=st.sampled_from([None, False, True]),
        ),
        "operator": st.sampled_from([None] * 8 + ["camera", "follow", "confirm", "confirm"]),
    }
)


GOOD: dict[str, Any] = {
    "gap_ms": 33, "age_ms": 30, "phase": Phase.TRACKING, "box": BOX, "score": 0.9, "low": False,
    "frame": True, "override": None, "telemetry": WELL, "operator": None,
}  # fmt: skip
HELD = [GOOD] * 12 + [{**GOOD, "operator": "confirm"}, GOOD]
"""A target that is held, and forward flight confirmed: the histories begin where it flies."""

good = st.just(GOOD)
recovery = st.just([*HELD[:12], {**GOOD, "operator": "follow"}, *HELD])
histories = st.lists(
    st.one_of(
        *[st.lists(good, min_size=1, max_size=6)] * 3, st.lists(situations, max_size=2), recovery
    ),
    max_size=12,
).map(lambda parts: [*HELD, *(step for part in parts for step in part)])


def test_any_history_keeps_the_promises() -> None:
    seen: Counter[str] = Counter()

    @given(histories)
    def fly(history: list[dict[str, Any]]) -> None:
        for out in judged(history):
            seen["steps"] += 1
            seen["moves"] += not out.is_neutral
            seen["forward"] += out.forward_m_s != 0.0

    fly()
    # A promise about commands is one only where there are commands.
    assert seen["moves"] > 0.2 * seen["steps"]
    assert seen["forward"] > 0.05 * seen["steps"]
    assert seen["moves"] < 0.98 * seen["steps"]


def judged(history: list[dict[str, Any]]) -> Iterator[RateCommand]:
    watch, now_ns = safety.grant(Watch(), ControlLevel.FOLLOW), NOW_NS
    confirmed_since_loss = False
    wanted = RateCommand(30.0, -30.0, 2.5)
    for step in history:
        now_ns += step["gap_ms"] * MS
        if step["operator"] in ("camera", "follow"):
            watch = safety.grant(watch, ControlLevel[step["operator"].upper()])
            confirmed_since_loss = False
        elif step["operator"] == "confirm":
            watch, refusal = safety.confirm(watch, now_ns, CONFIG)
            confirmed_since_loss = confirmed_since_loss or refusal is None
        now = Situation(
            now_ns,
            phase=step["phase"],
            captured_ns=now_ns - step["age_ms"] * MS if step["frame"] else None,
            box=step["box"],
            width_px=WIDTH,
            height_px=HEIGHT,
            score=step["score"],
            low=step["low"],
            telemetry=step["telemetry"],
            override=step["override"],
        )
        before = watch
        watch, verdict = safety.judge(watch, now, CONFIG)
        out = safety.permit(wanted, verdict.action, now_ns, CONFIG)
        if verdict.action >= Action.HOVER:
            confirmed_since_loss = False
        check_promises(before, watch, now, verdict, out)
        if out.forward_m_s != 0.0:
            assert confirmed_since_loss
        yield out


def check_promises(
    before: Watch, watch: Watch, now: Situation, verdict: Verdict, out: RateCommand
) -> None:
    if now.override is not None:
        assert out.is_neutral
        assert watch.level is ControlLevel.OFF
    if before.last_ns is not None and now.now_ns < before.last_ns:
        assert out.is_neutral
    if watch.good_box is not None:
        assert watch.good_box.is_finite()
    if out.is_neutral:
        return
    age_ms = watch.age_ms(now.now_ns)
    assert age_ms is not None
    assert age_ms <= CONFIG.command_age_ms
    gap_ms = before.age_ms(now.now_ns)
    assert gap_ms is None or gap_ms <= CONFIG.lost_age_ms
    assert before.level is not ControlLevel.OFF
    assert now.phase is Phase.TRACKING
    assert now.telemetry.flying_state in FLYING_STATES
    assert not now.telemetry.returning_home
    assert now.telemetry.battery_percent is not None
    assert now.telemetry.battery_percent >= CONFIG.min_battery_percent
    assert now.telemetry.link_quality is not None
    assert now.telemetry.link_quality >= CONFIG.min_link_quality
    if now.captured_ns is not None and now.box is not None:
        assert now.box.is_finite()
        assert now.score is not None
        assert math.isfinite(now.score)
    if out.forward_m_s != 0.0:
        assert verdict.action is Action.FOLLOW
        assert watch.level is ControlLevel.FOLLOW
        assert now.telemetry.height_m is not None
        assert CONFIG.min_height_m <= now.telemetry.height_m <= CONFIG.max_height_m
        assert now.telemetry.home_distance_m is not None
        assert now.telemetry.home_distance_m <= CONFIG.max_distance_m
