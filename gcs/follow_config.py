"""Gains and limits of the follow loop: one flat config, every figure with its reason."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from drone.frame import Telemetry
from model.errors import ConfigError

MAX_COMMAND_AGE_MS = 275.0
"""No setting may lift the age of a commanding box above this: one tick of the sender later the
vehicle must have its neutral command, within 300 ms of the last good box."""


@dataclass(frozen=True)
class FollowConfig:
    """Gains of the servo and limits of the supervisor; contradictions are refused.

    Fractions are of the frame's width (across) or height (along). `docs/safety.md` tells where
    the figures come from.
    """

    yaw_gain_per_s: float = 2.0
    """Yaw rate for each degree of error, from the dead zone on."""
    pitch_gain_per_s: float = 2.0
    """Gimbal pitch rate for each degree of error, from the dead zone on."""
    feed_forward: float = 1.0
    """Share of the target's own angular rate that is added, 0..1."""
    dead_zone: float = 0.05
    """Error of the centre that is left alone while the target stands, fraction of the frame."""
    dead_zone_end: float = 0.25
    """Share of the dead zone at which a correction that began outside it ends; without it the
    target would stay at the border of the dead zone."""
    quiet_deg_s: float = 2.0
    """A target slower than this stands; from twice this on it moves and is centred fully."""
    forward_gain_m_s: float = 4.0
    """Speed for each unit of ln(distance / distance at the confirmation)."""
    forward_dead_zone: float = 0.05
    """Change of ln(distance) that is left alone; 0.05 is about 5 % of the distance."""
    forward_cone: float = 0.25
    """Speed falls to zero towards this error of the centre, fraction of the frame: a vehicle
    flies only where it looks."""

    full_yaw_deg_s: float = 180.0
    """Yaw rate at full stick, where the vehicle does not say its own."""
    full_gimbal_pitch_deg_s: float = 180.0
    """Gimbal pitch rate at full deflection, where the vehicle does not say its own."""
    full_forward_m_s: float = 15.0
    """Forward speed at full stick."""
    clamp: float = 0.2
    """Hard limit of every command, fraction of full."""
    max_backward_m_s: float = 1.0
    """Hard limit backwards: nothing looks there."""
    slew_yaw_deg_s2: float = 240.0
    """Largest change of the yaw rate."""
    slew_gimbal_pitch_deg_s2: float = 240.0
    """Largest change of the gimbal's pitch rate."""
    slew_forward_m_s2: float = 2.0
    """Largest change of the speed."""
    min_gimbal_pitch_deg: float = -85.0
    """The gimbal is not driven below this; at -90 the azimuth has no meaning."""
    max_gimbal_pitch_deg: float = 20.0
    """The gimbal is not driven above this."""
    fov_deg: float = 69.0
    """Horizontal field of view where the source does not tell its own (ANAFI, video, wide)."""

    measure_noise: float = 0.006
    """Standard deviation of a box centre, fraction of the frame's width."""
    size_noise: float = 0.05
    """Standard deviation of ln(box side)."""
    turn_noise_deg2_s3: float = 150.0
    """How freely the target's angular rate may change (density of white acceleration)."""
    size_change_noise_s3: float = 0.05
    """The same for ln(box side)."""
    drift_noise_deg2_s3: float = 100.0
    """The same for the yaw that the vehicle turns beyond what it was told."""
    response_s: float = 0.12
    """Time constant with which vehicle and gimbal take up a commanded rate."""
    dead_time_s: float = 0.05
    """Time from a command to the first movement."""

    command_age_ms: float = 250.0
    """Oldest capture of a good box that may command."""
    lost_age_ms: float = 500.0
    """Without a good box for this long the target is lost: hover, confirm anew."""
    abandon_age_s: float = 5.0
    """Without a good box for this long the follow loop switches itself off."""
    low_frames: int = 5
    """Low scores in a row that leave the yaw only."""
    hold_frames: int = 15
    """Low scores in a row that hold still and void the confirmation."""
    regain_frames: int = 10
    """Good boxes in a row before a new or lost target commands (a third of a second at 30 fps):
    what a search finds at first is not always the target."""
    jump: float = 0.08
    """Step of the centre between two good boxes that is always believed, fraction of the width."""
    jump_per_s: float = 1.5
    """Growth of that step with the time between them."""
    area_jump: float = 2.0
    """Largest ratio of two good boxes' areas at once."""
    area_jump_per_s: float = 2.0
    """Growth of ln(that ratio) with the time between them."""
    edge: float = 0.005
    """A box within this of the frame's border touches it, fraction of the width."""

    min_battery_percent: float = 20.0
    """Below it the vehicle is released; 0 switches the check off."""
    min_link_quality: float = 0.3
    """Below it the vehicle is released; 0 switches the check off."""
    min_height_m: float = 2.0
    """No forward flight below."""
    max_height_m: float = 120.0
    """No forward flight above."""
    max_distance_m: float = 200.0
    """Geofence: no forward flight farther from home; 0 switches the check off."""
    stick_threshold: float = 0.3
    """Deflection of a stick, fraction of full, that counts as the operator's override."""

    def __post_init__(self) -> None:
        """Check each range, then that the limits fit each other; the message names the fields."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value):
                raise ConfigError(f"{field.name} is {value!r}: expected a finite number")
        for name in _ABOVE_ZERO:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name):g}: expected a value above 0")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name):g}: expected 0 or more")
        for name in _FRACTIONS:
            if getattr(self, name) > 1:
                raise ConfigError(f"{name} is {getattr(self, name):g}: expected at most 1")
        for low, high in _ORDERED:
            if not getattr(self, low) < getattr(self, high):
                raise ConfigError(
                    f"{low} {getattr(self, low):g} and {high} {getattr(self, high):g} contradict "
                    f"each other: expected {low} < {high}"
                )
        self._check_pairs()

    def _check_pairs(self) -> None:
        if self.command_age_ms > MAX_COMMAND_AGE_MS:
            raise ConfigError(
                f"command_age_ms is {self.command_age_ms:g}: expected at most "
                f"{MAX_COMMAND_AGE_MS:g}, or a vehicle is neutral too late"
            )
        if not self.lost_age_ms < self.abandon_age_s * 1000:
            raise ConfigError(
                f"lost_age_ms {self.lost_age_ms:g} and abandon_age_s {self.abandon_age_s:g} "
                "contradict each other: expected lost before abandoned"
            )
        if self.max_backward_m_s > self.max_forward_m_s:
            raise ConfigError(
                f"max_backward_m_s {self.max_backward_m_s:g} is above clamp x full_forward_m_s = "
                f"{self.max_forward_m_s:g}: expected no faster backwards than forwards"
            )
        if self.forward_cone > 0.5:
            raise ConfigError(
                f"forward_cone is {self.forward_cone:g}: expected at most 0.5, the frame's border"
            )
        if self.area_jump <= 1:
            raise ConfigError(f"area_jump is {self.area_jump:g}: expected a ratio above 1")
        if self.fov_deg >= 180:
            raise ConfigError(f"fov_deg is {self.fov_deg:g}: expected an angle below 180")
        for name in ("min_gimbal_pitch_deg", "max_gimbal_pitch_deg"):
            if abs(getattr(self, name)) > 90:
                raise ConfigError(f"{name} is {getattr(self, name):g}: expected -90..90")

    def of_vehicle(self, told: Telemetry) -> FollowConfig:
        """The config for a vehicle that says what its full commands do."""
        yaw = _rate_or(told.yaw_full_deg_s, self.full_yaw_deg_s)
        gimbal = _rate_or(told.gimbal_full_deg_s, self.full_gimbal_pitch_deg_s)
        if (yaw, gimbal) == (self.full_yaw_deg_s, self.full_gimbal_pitch_deg_s):
            return self
        return dataclasses.replace(self, full_yaw_deg_s=yaw, full_gimbal_pitch_deg_s=gimbal)

    @property
    def max_yaw_deg_s(self) -> float:
        """Hard limit of the yaw rate."""
        return self.clamp * self.full_yaw_deg_s

    @property
    def max_gimbal_pitch_deg_s(self) -> float:
        """Hard limit of the gimbal's pitch rate."""
        return self.clamp * self.full_gimbal_pitch_deg_s

    @property
    def max_forward_m_s(self) -> float:
        """Hard limit of the speed forwards."""
        return self.clamp * self.full_forward_m_s


def _rate_or(told: float | None, default: float) -> float:
    return told if told is not None and math.isfinite(told) and told > 0 else default


_ABOVE_ZERO = (
    "yaw_gain_per_s", "pitch_gain_per_s", "forward_gain_m_s", "forward_cone", "full_yaw_deg_s",
    "full_gimbal_pitch_deg_s", "full_forward_m_s", "clamp", "slew_yaw_deg_s2",
    "slew_gimbal_pitch_deg_s2", "slew_forward_m_s2", "fov_deg", "measure_noise", "size_noise",
    "turn_noise_deg2_s3", "size_change_noise_s3", "drift_noise_deg2_s3", "response_s",
    "command_age_ms", "dead_zone_end", "low_frames", "regain_frames", "jump", "stick_threshold",
)  # fmt: skip
_NOT_NEGATIVE = (
    "feed_forward", "dead_zone", "quiet_deg_s", "forward_dead_zone",
    "max_backward_m_s", "dead_time_s", "jump_per_s", "area_jump_per_s", "edge",
    "min_battery_percent", "min_link_quality", "min_height_m", "max_distance_m",
)  # fmt: skip
_FRACTIONS = ("feed_forward", "clamp", "dead_zone_end", "min_link_quality", "stick_threshold")
_ORDERED = (
    ("dead_zone", "forward_cone"),
    ("edge", "dead_zone"),
    ("command_age_ms", "lost_age_ms"),
    ("low_frames", "hold_frames"),
    ("min_height_m", "max_height_m"),
    ("min_gimbal_pitch_deg", "max_gimbal_pitch_deg"),
)
