"""The table of the supervisor: each rule names an action and a check that gives its reason.

`docs/safety.md` shows the same table with the sources of the figures; a test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gcs.follow_config import FollowConfig
from gcs.session import Phase
from gcs.situation import Action, ControlLevel, Situation, Watch

FLYING_STATES = frozenset({"hovering", "flying"})

RETURNING_STATES = frozenset(
    {"returning_home", "landing", "emergency", "emergency_landing", "landed"}
)
"""The vehicle has taken over, or its motors stand; whoever commands now would fight it."""

Check = Callable[[Watch, Situation, FollowConfig], "str | None"]


@dataclass(frozen=True)
class Rule:
    """One line of the table: where `check` gives a reason, `action` is the most that may be."""

    name: str
    action: Action
    check: Check


def _overridden(_watch: Watch, now: Situation, _config: FollowConfig) -> str | None:
    return None if now.override is None else f"the operator took over ({now.override})"


def _off(watch: Watch, _now: Situation, _config: FollowConfig) -> str | None:
    return "the level is OFF" if watch.level is ControlLevel.OFF else None


def _returning(_watch: Watch, now: Situation, _config: FollowConfig) -> str | None:
    state = now.telemetry.flying_state
    if now.telemetry.returning_home:
        return "the vehicle flies home"
    return f"the vehicle is {state}" if state in RETURNING_STATES else None


def _battery_low(_watch: Watch, now: Situation, config: FollowConfig) -> str | None:
    have, least = _known(now.telemetry.battery_percent), config.min_battery_percent
    if have is None or have >= least:
        return None
    return f"battery at {have:.0f} %: expected {least:g} % or more"


def _link_weak(_watch: Watch, now: Situation, config: FollowConfig) -> str | None:
    have, least = _known(now.telemetry.link_quality), config.min_link_quality
    if have is None or have >= least:
        return None
    return f"link quality {have:.2f}: expected {least:g} or more"


def _abandoned(watch: Watch, _now: Situation, config: FollowConfig) -> str | None:
    if watch.gap_ms is None or watch.gap_ms <= config.abandon_age_s * 1000:
        return None
    return f"no good box for {watch.gap_ms / 1000:.1f} s"


def _session_lost(_watch: Watch, now: Situation, _config: FollowConfig) -> str | None:
    return "the tracker lost the target" if now.phase is Phase.LOST else None


def _lost(watch: Watch, _now: Situation, config: FollowConfig) -> str | None:
    if watch.gap_ms is None or watch.gap_ms <= config.lost_age_ms:
        return None
    return f"no good box for {watch.gap_ms:.0f} ms"


def _low_long(watch: Watch, _now: Situation, config: FollowConfig) -> str | None:
    if watch.low_run < config.hold_frames:
        return None
    return f"the score was low for {watch.low_run} frames"


def _no_target(_watch: Watch, now: Situation, _config: FollowConfig) -> str | None:
    return "nothing is tracked" if now.phase is Phase.IDLE else None


def _unproven(watch: Watch, _now: Situation, config: FollowConfig) -> str | None:
    if watch.good_run >= config.regain_frames:
        return None
    return f"{watch.good_run} good boxes in a row: expected {config.regain_frames}"


def _clock(watch: Watch, _now: Situation, _config: FollowConfig) -> str | None:
    return "the clock went backwards" if watch.clock_back else None


def _broken_box(watch: Watch, _now: Situation, _config: FollowConfig) -> str | None:
    return watch.flaw.reason if watch.flaw is not None and watch.flaw.broken else None


def _unknown(watch: Watch, now: Situation, config: FollowConfig) -> str | None:
    """Name the telemetry that a limit needs and that is not there."""
    telemetry = now.telemetry
    forward = watch.level is ControlLevel.FOLLOW
    needed = {
        "battery": (telemetry.battery_percent, config.min_battery_percent > 0),
        "link quality": (telemetry.link_quality, config.min_link_quality > 0),
        "height": (telemetry.height_m, forward),
        "distance from home": (telemetry.home_distance_m, forward and config.max_distance_m > 0),
    }
    gaps = [name for name, (value, needs) in needed.items() if needs and _known(value) is None]
    if telemetry.flying_state is None:
        gaps.append("flying state")
    return f"unknown: {', '.join(gaps)}" if gaps else None


def _not_flying(_watch: Watch, now: Situation, _config: FollowConfig) -> str | None:
    state = now.telemetry.flying_state
    return None if state is None or state in FLYING_STATES else f"the vehicle is {state}"


def _stale(watch: Watch, now: Situation, config: FollowConfig) -> str | None:
    age_ms = watch.age_ms(now.now_ns)
    if age_ms is None or age_ms <= config.command_age_ms:
        return None
    return f"the last good box is {age_ms:.0f} ms old"


def _low_score(watch: Watch, _now: Situation, config: FollowConfig) -> str | None:
    if watch.low_run < config.low_frames:
        return None
    return f"the score was low for {watch.low_run} frames"


def _damaged(_watch: Watch, now: Situation, _config: FollowConfig) -> str | None:
    return "the picture is damaged" if now.damaged else None


def _doubted_box(watch: Watch, _now: Situation, _config: FollowConfig) -> str | None:
    return "the score is low" if watch.low_run else None


def _refused_box(watch: Watch, _now: Situation, _config: FollowConfig) -> str | None:
    return watch.flaw.reason if watch.flaw is not None and not watch.flaw.broken else None


def _height(watch: Watch, now: Situation, config: FollowConfig) -> str | None:
    have = _known(now.telemetry.height_m)
    if watch.level is not ControlLevel.FOLLOW or have is None:
        return None
    if config.min_height_m <= have <= config.max_height_m:
        return None
    return f"height {have:.1f} m: expected {config.min_height_m:g}..{config.max_height_m:g} m"


def _fence(watch: Watch, now: Situation, config: FollowConfig) -> str | None:
    have, most = _known(now.telemetry.home_distance_m), config.max_distance_m
    if watch.level is not ControlLevel.FOLLOW or have is None or most == 0 or have <= most:
        return None
    return f"{have:.0f} m from home: expected at most {most:g} m"


def _unconfirmed(watch: Watch, _now: Situation, _config: FollowConfig) -> str | None:
    if watch.level is not ControlLevel.FOLLOW or watch.confirmed:
        return None
    return "forward flight is not confirmed"


def _camera_only(watch: Watch, _now: Situation, _config: FollowConfig) -> str | None:
    return "the level is CAMERA" if watch.level is ControlLevel.CAMERA else None


def _clear(_watch: Watch, _now: Situation, _config: FollowConfig) -> str | None:
    return "clear"


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


RULES = (
    Rule("override", Action.RELEASE, _overridden),
    Rule("returning", Action.RELEASE, _returning),
    Rule("battery", Action.RELEASE, _battery_low),
    Rule("link", Action.RELEASE, _link_weak),
    Rule("off", Action.RELEASE, _off),
    Rule("abandoned", Action.RELEASE, _abandoned),
    Rule("tracker_lost", Action.HOVER, _session_lost),
    Rule("lost", Action.HOVER, _lost),
    Rule("low_long", Action.HOVER, _low_long),
    Rule("no_target", Action.HOVER, _no_target),
    Rule("clock", Action.NEUTRAL, _clock),
    Rule("broken_box", Action.NEUTRAL, _broken_box),
    Rule("unknown", Action.NEUTRAL, _unknown),
    Rule("not_flying", Action.NEUTRAL, _not_flying),
    Rule("stale", Action.NEUTRAL, _stale),
    Rule("unproven", Action.NEUTRAL, _unproven),
    Rule("low_score", Action.YAW, _low_score),
    Rule("damaged_picture", Action.CAMERA, _damaged),
    Rule("doubted_box", Action.CAMERA, _doubted_box),
    Rule("refused_box", Action.CAMERA, _refused_box),
    Rule("height", Action.CAMERA, _height),
    Rule("fence", Action.CAMERA, _fence),
    Rule("unconfirmed", Action.CAMERA, _unconfirmed),
    Rule("camera", Action.CAMERA, _camera_only),
    Rule("clear", Action.FOLLOW, _clear),
)
"""Most severe first. The last one always applies, so there is always an answer."""
