"""The supervisor: every line of its table."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drone.control import RateCommand
from drone.frame import Telemetry
from gcs import safety
from gcs.follow_config import FollowConfig
from gcs.safety_rules import FLYING_STATES, RETURNING_STATES, RULES
from gcs.session import Phase
from gcs.situation import Action, ControlLevel, Situation, Verdict, Watch
from model.geometry import Box
from tests.gcs.flight import BOX, CONFIG, HEIGHT, MS, NOW_NS, WELL, WIDTH

HELD = Watch(
    level=ControlLevel.FOLLOW,
    confirmed=True,
    good_box=BOX,
    good_ns=NOW_NS - 33 * MS,
    good_run=CONFIG.regain_frames,
    last_ns=NOW_NS - 33 * MS,
)
"""Everything is well and confirmed; each case below spoils one thing."""


def seen(**changes: Any) -> Situation:
    well: dict[str, Any] = {
        "now_ns": NOW_NS,
        "captured_ns": NOW_NS - 20 * MS,
        "box": BOX,
        "width_px": WIDTH,
        "height_px": HEIGHT,
        "score": 0.9,
        "telemetry": WELL,
    }
    return Situation(**{**well, **changes})


def told(**changes: Any) -> Situation:
    return seen(telemetry=replace(WELL, **changes))


def nothing_new(age_ms: float) -> tuple[Watch, Situation]:
    watch = replace(HELD, good_ns=NOW_NS - round(age_ms * MS))
    return watch, Situation(NOW_NS, telemetry=WELL)


def judged(watch: Watch, now: Situation) -> Verdict:
    return safety.judge(watch, now, CONFIG)[1]


CASES: dict[str, list[tuple[Watch, Situation, Action]]] = {
    "override": [
        (HELD, seen(override=source), Action.RELEASE) for source in ("stick", "key", "api")
    ],
    "returning": [
        (HELD, told(flying_state=state), Action.RELEASE)
        for state in ("returning_home", "landing", "emergency", "emergency_landing", "landed")
    ]
    + [(HELD, told(returning_home=True), Action.RELEASE)],
    "battery": [(HELD, told(battery_percent=19.9), Action.RELEASE)],
    "link": [(HELD, told(link_quality=0.29), Action.RELEASE)],
    "off": [(replace(HELD, level=ControlLevel.OFF), seen(), Action.RELEASE)],
    "abandoned": [
        (*nothing_new(5001), Action.RELEASE),
        (*nothing_new(60_000), Action.RELEASE),
        (replace(HELD, good_ns=NOW_NS - 5001 * MS), seen(), Action.RELEASE),
    ],
    "tracker_lost": [(HELD, seen(phase=Phase.LOST), Action.HOVER)],
    "lost": [
        (*nothing_new(501), Action.HOVER),
        (*nothing_new(5000), Action.HOVER),
        # A good box after a gap in which nobody decided: lost all the same.
        (replace(HELD, good_ns=NOW_NS - 501 * MS), seen(), Action.HOVER),
    ],
    "low_long": [(replace(HELD, low_run=14), seen(low=True, score=0.4), Action.HOVER)],
    "no_target": [(HELD, seen(phase=Phase.IDLE), Action.HOVER)],
    "clock": [(replace(HELD, last_ns=NOW_NS + 1), seen(), Action.NEUTRAL)],
    "broken_box": [
        (HELD, seen(box=Box(math.nan, 300, 80, 50)), Action.NEUTRAL),
        (HELD, seen(box=Box(600, math.inf, 80, 50)), Action.NEUTRAL),
        (HELD, seen(box=Box(600, 300, 0, 50)), Action.NEUTRAL),
        (HELD, seen(box=Box(600, 300, 80, -1)), Action.NEUTRAL),
        (HELD, seen(score=math.nan), Action.NEUTRAL),
        (HELD, seen(score=1.5), Action.NEUTRAL),
        (HELD, seen(score=None), Action.NEUTRAL),
        (HELD, seen(width_px=0), Action.NEUTRAL),
        (HELD, seen(captured_ns=NOW_NS + 20 * MS), Action.NEUTRAL),
        (HELD, seen(captured_ns=HELD.good_ns), Action.NEUTRAL),
    ],
    "unknown": [
        (HELD, told(battery_percent=None), Action.NEUTRAL),
        (HELD, told(battery_percent=math.nan), Action.NEUTRAL),
        (HELD, told(link_quality=None), Action.NEUTRAL),
        (HELD, told(flying_state=None), Action.NEUTRAL),
        (HELD, told(height_m=None), Action.NEUTRAL),
        (HELD, told(home_distance_m=None), Action.NEUTRAL),
        (replace(HELD, level=ControlLevel.CAMERA), told(battery_percent=None), Action.NEUTRAL),
        (HELD, seen(telemetry=Telemetry()), Action.NEUTRAL),
    ],
    "not_flying": [
        (HELD, told(flying_state="takingoff"), Action.NEUTRAL),
        (HELD, told(flying_state="a state nobody knows"), Action.NEUTRAL),
    ],
    "stale": [(*nothing_new(251), Action.NEUTRAL), (*nothing_new(500), Action.NEUTRAL)],
    "unproven": [(replace(HELD, good_run=1), seen(), Action.NEUTRAL)],
    "low_score": [(replace(HELD, low_run=4), seen(low=True, score=0.4), Action.YAW)],
    "damaged_picture": [(HELD, seen(damaged=True, box=None, score=None), Action.CAMERA)],
    "doubted_box": [
        (HELD, seen(low=True, score=0.4), Action.CAMERA),
        (HELD, seen(low=True, score=0.05, box=None), Action.CAMERA),
        (replace(HELD, low_run=3), seen(low=True, score=0.4), Action.CAMERA),
    ],
    "refused_box": [
        (HELD, seen(box=Box(0, 300, 80, 50)), Action.CAMERA),
        (HELD, seen(box=Box(1200, 300, 80, 50)), Action.CAMERA),
        (HELD, seen(box=Box(600, -4, 80, 50)), Action.CAMERA),
        (HELD, seen(box=Box(600, 670, 80, 50)), Action.CAMERA),
        (HELD, seen(box=Box(900, 300, 80, 50)), Action.CAMERA),
        (HELD, seen(box=Box.from_centre(BOX.cx, BOX.cy, 160, 100)), Action.CAMERA),
        (HELD, seen(box=Box.from_centre(BOX.cx, BOX.cy, 40, 25)), Action.CAMERA),
    ],
    "height": [
        (HELD, told(height_m=1.9), Action.CAMERA),
        (HELD, told(height_m=120.1), Action.CAMERA),
    ],
    "fence": [(HELD, told(home_distance_m=200.1), Action.CAMERA)],
    "unconfirmed": [(replace(HELD, confirmed=False), seen(), Action.CAMERA)],
    "camera": [
        (replace(HELD, level=ControlLevel.CAMERA), seen(), Action.CAMERA),
        (replace(HELD, level=ControlLevel.CAMERA), told(height_m=None), Action.CAMERA),
        (replace(HELD, level=ControlLevel.CAMERA), told(home_distance_m=999.0), Action.CAMERA),
    ],
    "clear": [
        (HELD, seen(), Action.FOLLOW),
        (*nothing_new(250), Action.FOLLOW),
        (HELD, told(battery_percent=20.0, link_quality=0.3, height_m=120.0), Action.FOLLOW),
        (HELD, told(flying_state="hovering", home_distance_m=200.0), Action.FOLLOW),
    ],
}


def test_nothing_is_commanded_on_doubtful_boxes_for_longer_than_on_none() -> None:
    """Every box fits and is LOW: forward ends at once, all else 250 ms after the last sure one."""
    watch, actions = HELD, {}
    for frame in range(1, 20):
        now_ns = NOW_NS + frame * 33 * MS
        now = seen(now_ns=now_ns, captured_ns=now_ns - 20 * MS, low=True, score=0.5)
        watch, verdict = safety.judge(watch, now, CONFIG)
        actions[round((now_ns - (HELD.good_ns or 0)) / MS)] = verdict.action
    assert all(action >= Action.CAMERA for action in actions.values())
    assert all(action >= Action.YAW for age_ms, action in actions.items() if age_ms > 33 * 5)
    assert all(action >= Action.NEUTRAL for age_ms, action in actions.items() if age_ms > 250)
    assert all(action >= Action.HOVER for age_ms, action in actions.items() if age_ms > 500)
    assert not watch.confirmed


def test_every_rule_has_a_case() -> None:
    assert [rule.name for rule in RULES] == list(CASES)


@pytest.mark.parametrize(
    ("rule", "watch", "now", "action"),
    [(rule, *case) for rule, cases in CASES.items() for case in cases],
)
def test_the_table(rule: str, watch: Watch, now: Situation, action: Action) -> None:
    verdict = judged(watch, now)
    assert (verdict.rule, verdict.action) == (rule, action)
    assert verdict.reason


def test_the_table_is_sorted_by_severity_and_always_answers() -> None:
    actions = [rule.action for rule in RULES]
    assert actions == sorted(actions, reverse=True)
    assert judged(Watch(), Situation(0)).action is Action.RELEASE
    assert FLYING_STATES.isdisjoint(RETURNING_STATES)


@pytest.mark.parametrize("first", CASES)
@pytest.mark.parametrize("second", ["override", "battery", "tracker_lost", "unknown", "height"])
def test_of_two_rules_the_more_severe_wins(first: str, second: str) -> None:
    """Join each case with another that spoils only what the vehicle or operator says."""
    spoil: dict[str, dict[str, Any]] = {
        "override": {"override": "key"},
        "tracker_lost": {"phase": Phase.LOST},
        "battery": {"battery_percent": 5.0},
        "unknown": {"link_quality": None},
        "height": {"height_m": 500.0},
    }
    actions = {rule.name: rule.action for rule in RULES}
    for watch, now, _ in CASES[first]:
        change = spoil[second]
        if second in ("override", "tracker_lost"):
            both = replace(now, **change)
        else:
            both = replace(now, telemetry=replace(now.telemetry, **change))
        verdict = judged(watch, both)
        applies = second != "height" or watch.level is ControlLevel.FOLLOW
        assert verdict.action >= (actions[second] if applies else Action.FOLLOW)
        if first not in ("battery", "link", "unknown", "height", "no_target"):
            assert verdict.action >= actions[first]


@pytest.mark.parametrize("action", list(Action))
def test_what_each_action_lets_through(action: Action) -> None:
    wanted = RateCommand(5.0, 4.0, 2.0, 3.0, 1.0, 1)
    out = safety.permit(wanted, action, NOW_NS, CONFIG)
    assert out.issued_ns == NOW_NS
    rates = (out.yaw_deg_s, out.gimbal_pitch_deg_s, out.forward_m_s, out.right_m_s, out.up_m_s)
    assert rates == {
        Action.FOLLOW: (5.0, 4.0, 2.0, 0.0, 0.0),
        Action.CAMERA: (5.0, 4.0, 0.0, 0.0, 0.0),
        Action.YAW: (5.0, 0.0, 0.0, 0.0, 0.0),
    }.get(action, (0.0,) * 5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["yaw_deg_s", "gimbal_pitch_deg_s", "forward_m_s"])
def test_a_rate_that_is_no_number_is_zero_and_the_others_pass(name: str, value: float) -> None:
    wanted = RateCommand(5.0, 4.0, 2.0)
    out = safety.permit(replace(wanted, **{name: value}), Action.FOLLOW, NOW_NS, CONFIG)
    assert out == replace(wanted, issued_ns=NOW_NS, **{name: 0.0})


def test_a_new_level_voids_the_confirmation() -> None:
    for level in (ControlLevel.CAMERA, ControlLevel.FOLLOW):
        watch = safety.grant(HELD, level)
        assert not watch.confirmed
        assert watch.level is level
        assert judged(watch, seen()).action >= Action.CAMERA


def test_good_boxes_count_only_in_a_row() -> None:
    watch, now_ns = safety.grant(Watch(), ControlLevel.CAMERA), NOW_NS
    for step in range(40):
        # One short of enough, then one that is low: it never gets as far as commanding.
        low = step % CONFIG.regain_frames == CONFIG.regain_frames - 1
        now = seen(now_ns=now_ns, captured_ns=now_ns - 20 * MS, low=low)
        watch, verdict = safety.judge(watch, now, CONFIG)
        assert verdict.action >= Action.NEUTRAL, step
        now_ns += 33 * MS


def test_after_a_step_back_nothing_goes_out_until_the_clock_has_caught_up() -> None:
    watch, actions = HELD, []
    for back_ms in (-400, -300, -100, -1, 33):
        now_ns = NOW_NS - 33 * MS + back_ms * MS
        now = seen(now_ns=now_ns, captured_ns=now_ns - 20 * MS)
        watch, verdict = safety.judge(watch, now, CONFIG)
        actions.append(
            verdict.action >= Action.NEUTRAL and "clock" in (verdict.rule, *verdict.also)
        )
    assert actions == [True, True, True, True, False]


@given(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 5), st.sampled_from(Action))
def test_nothing_passes_the_hard_limits(rates: tuple[float, ...], action: Action) -> None:
    out = safety.permit(RateCommand(*rates), action, NOW_NS, CONFIG)
    assert abs(out.yaw_deg_s) <= 36.0
    assert abs(out.gimbal_pitch_deg_s) <= 36.0
    assert -1.0 <= out.forward_m_s <= 3.0
    assert out.right_m_s == out.up_m_s == 0.0


@pytest.mark.parametrize(
    "rule", [name for name, cases in CASES.items() if cases[0][2] >= Action.HOVER]
)
def test_a_loss_needs_a_new_confirmation(rule: str) -> None:
    watch, _ = safety.judge(*CASES[rule][0][:2], CONFIG)
    assert not watch.confirmed
    now_ns = NOW_NS
    for step in range(10):
        now_ns = NOW_NS + (step + 1) * 33 * MS
        watch, verdict = safety.judge(watch, seen(now_ns=now_ns, captured_ns=now_ns - MS), CONFIG)
        assert verdict.action is not Action.FOLLOW
    if watch.level is ControlLevel.OFF:
        return
    watch, refusal = safety.confirm(watch, now_ns, CONFIG)
    assert refusal is None
    following = seen(now_ns=now_ns + 33 * MS, captured_ns=now_ns + 32 * MS)
    assert judged(watch, following).action is Action.FOLLOW


def test_a_release_ends_the_level_and_a_grant_starts_without_the_past() -> None:
    watch, verdict = safety.judge(*nothing_new(6000), CONFIG)
    assert (verdict.rule, watch.level) == ("abandoned", ControlLevel.OFF)
    watch = safety.grant(watch, ControlLevel.CAMERA)
    verdicts = []
    for step in range(4):
        now_ns = NOW_NS + step * 33 * MS
        watch, verdict = safety.judge(watch, seen(now_ns=now_ns, captured_ns=now_ns - MS), CONFIG)
        verdicts.append(verdict.rule)
    assert verdicts == ["unproven", "unproven", "camera", "camera"]


@pytest.mark.parametrize(
    ("watch", "why"),
    [
        (replace(HELD, level=ControlLevel.CAMERA, confirmed=False), "level is CAMERA"),
        (replace(HELD, good_ns=None, confirmed=False), "no target"),
        (replace(HELD, good_run=1, confirmed=False), "no target"),
        (replace(HELD, good_ns=NOW_NS - 300 * MS, confirmed=False), "300 ms old"),
        (replace(HELD, low_run=1, confirmed=False), "score is low"),
    ],
)
def test_a_confirmation_that_is_not_due_is_refused(watch: Watch, why: str) -> None:
    after, refusal = safety.confirm(watch, NOW_NS, CONFIG)
    assert after == watch
    assert refusal is not None
    assert why in refusal


def test_a_far_jump_is_followed_only_after_a_loss_and_without_flying() -> None:
    """A box that settles elsewhere: coast, neutral, lost, then the camera alone."""
    watch, rules = HELD, []
    elsewhere = Box(100, 100, 80, 50)
    for step in range(30):
        now_ns = NOW_NS + step * 33 * MS
        now = seen(now_ns=now_ns, captured_ns=now_ns - MS, box=elsewhere)
        watch, verdict = safety.judge(watch, now, CONFIG)
        if not rules or rules[-1] != verdict.rule:
            rules.append(verdict.rule)
    assert rules == ["refused_box", "stale", "lost", "unproven", "unconfirmed"]


def test_low_scores_leave_the_yaw_then_nothing_until_the_target_is_sure() -> None:
    watch, rules = HELD, []
    lows = [True] * 22 + [False] * 5
    for step, low in enumerate(lows):
        now_ns = NOW_NS + step * 33 * MS
        now = seen(now_ns=now_ns, captured_ns=now_ns - MS, low=low, score=0.4 if low else 0.9)
        watch, verdict = safety.judge(watch, now, CONFIG)
        rules.append(verdict.rule)
    assert rules[:4] == ["doubted_box"] * 4
    assert rules[4:7] == ["low_score"] * 3
    assert rules[7:14] == ["stale"] * 7
    assert rules[14] == "low_long"
    assert set(rules[15:23]) == {"lost"}
    assert rules[23:] == ["unproven", "unproven", "unconfirmed", "unconfirmed"]
    assert not watch.confirmed


def test_a_switched_off_limit_needs_no_telemetry() -> None:
    config = replace(CONFIG, min_battery_percent=0.0, min_link_quality=0.0, max_distance_m=0.0)
    silent = Telemetry(flying_state="flying", height_m=10.0)
    _, verdict = safety.judge(HELD, seen(telemetry=silent), config)
    assert verdict.rule == "clear"


def test_the_document_shows_the_same_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "safety.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE)
    assert rows == [(rule.name, rule.action.name) for rule in RULES]


def test_by_default_a_third_of_a_second_of_sure_boxes_comes_before_the_first_command() -> None:
    """What a search finds first is not always the target: the operator sees it before it steers."""
    watch, rules = safety.Watch(level=ControlLevel.CAMERA), []
    for step in range(12):
        now_ns = NOW_NS + step * 33 * MS
        now = seen(now_ns=now_ns, captured_ns=now_ns - MS)
        watch, verdict = safety.judge(watch, now, FollowConfig())
        rules.append(verdict.rule)
    assert rules == ["unproven"] * 9 + ["camera"] * 3
