"""The safety supervisor: from a situation to what may be commanded, and why. Pure.

`safety_rules.RULES` is the table; every rule that applies is heard, and the most severe action
wins. What it lets through is what the servo wants or less, never more.
"""

from __future__ import annotations

import math
from dataclasses import replace

from drone.control import RateCommand
from gcs.box_check import find_flaw
from gcs.follow_config import FollowConfig
from gcs.safety_rules import RULES
from gcs.situation import Action, ControlLevel, Situation, Verdict, Watch


def grant(watch: Watch, level: ControlLevel) -> Watch:
    """Set the level by the operator's wish; a confirmation does not outlive the change."""
    if watch.level is ControlLevel.OFF:
        watch = replace(lose(watch), good_ns=None, seen_ns=None)
    return replace(watch, level=level, confirmed=False)


def confirm(watch: Watch, now_ns: int, config: FollowConfig) -> tuple[Watch, str | None]:
    """Let the vehicle fly forward on this target.

    Returns:
        the watch, and None; or the watch as it was, and why it cannot be confirmed.
    """
    age_ms = watch.age_ms(now_ns)
    if watch.level is not ControlLevel.FOLLOW:
        return watch, f"the level is {watch.level.name}: expected FOLLOW"
    if age_ms is None or watch.good_run < config.regain_frames:
        return watch, "no target is held: expected one that is tracked"
    if age_ms > config.command_age_ms:
        return watch, f"the last good box is {age_ms:.0f} ms old"
    if watch.low_run:
        return watch, "the score is low: expected a sure target"
    return replace(watch, confirmed=True), None


def lose(watch: Watch) -> Watch:
    """Void the confirmation and believe no earlier box; the age keeps counting."""
    return replace(watch, confirmed=False, good_box=None, good_run=0, low_run=0)


def judge(watch: Watch, now: Situation, config: FollowConfig) -> tuple[Watch, Verdict]:
    """Decide what may go out in this situation."""
    watch = _take_in(watch, now, config)
    heard = [(r, reason) for r in RULES if (reason := r.check(watch, now, config)) is not None]
    heard.sort(key=lambda one: -one[0].action)
    first, reason = heard[0]
    verdict = Verdict(first.action, first.name, reason, tuple(r.name for r, _ in heard[1:]))
    if verdict.action >= Action.HOVER:
        watch = lose(watch)
    if verdict.action is Action.RELEASE:
        watch = replace(watch, level=ControlLevel.OFF)
    return watch, verdict


def permit(wanted: RateCommand, action: Action, now_ns: int, config: FollowConfig) -> RateCommand:
    """Cut a command to what an action and the hard limits let through.

    A value that is no number is zero. Sideways and vertical rates never pass: the follow loop
    has none. The clamp is applied here too, whatever the servo did.
    """
    yaw = gimbal = forward = 0.0
    if action <= Action.YAW:
        yaw = _within(wanted.yaw_deg_s, -config.max_yaw_deg_s, config.max_yaw_deg_s)
    if action <= Action.CAMERA:
        most = config.max_gimbal_pitch_deg_s
        gimbal = _within(wanted.gimbal_pitch_deg_s, -most, most)
    if action is Action.FOLLOW:
        forward = _within(wanted.forward_m_s, -config.max_backward_m_s, config.max_forward_m_s)
    return RateCommand(yaw, gimbal, forward, issued_ns=now_ns)


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high) if math.isfinite(value) else 0.0


def _take_in(watch: Watch, now: Situation, config: FollowConfig) -> Watch:
    """Update the memory with the newest answer."""
    back = watch.last_ns is not None and now.now_ns < watch.last_ns
    # The latest time ever seen is kept: after a step back nothing goes out until it is caught up.
    last_ns = watch.last_ns if back else now.now_ns
    gap_ms = watch.age_ms(now.now_ns)
    watch = replace(watch, last_ns=last_ns, clock_back=back, gap_ms=gap_ms, flaw=None)
    if now.captured_ns is None:
        return watch
    doubtful = now.low or now.box is None
    last_seen_ns = max(watch.good_ns or 0, watch.seen_ns or 0) or None
    watch = replace(watch, low_run=watch.low_run + 1 if doubtful else 0)
    if now.captured_ns <= now.now_ns:
        watch = replace(watch, seen_ns=max(now.captured_ns, watch.seen_ns or 0))
    flaw = None if now.box is None else find_flaw(watch.good_box, last_seen_ns, now, config)
    if (doubtful or flaw is not None) and watch.good_run < config.regain_frames:
        watch = replace(watch, good_run=0)
    if now.box is None or flaw is not None:
        return replace(watch, flaw=flaw)
    age_ms = watch.age_ms(now.captured_ns)
    gone = age_ms is None or age_ms > config.lost_age_ms
    run = (0 if gone else watch.good_run) + (0 if now.low else 1)
    watch = replace(watch, good_box=now.box, good_run=min(run, config.regain_frames))
    # A doubtful box is what the next one is compared with, but nothing is commanded on it.
    return watch if now.low else replace(watch, good_ns=now.captured_ns)
