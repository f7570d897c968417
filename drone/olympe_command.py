"""From rates to the numbers of Parrot's piloting command, as pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from drone.control import RateCommand
from drone.errors import ControlError


@dataclass(frozen=True)
class PilotingLimits:
    """Hard limits of what goes out, whatever was asked.

    Attributes:
        yaw_percent, tilt_percent, climb_percent: of the full command, 1..100.
        gimbal_percent: of the gimbal's full speed, 1..100.
    """

    yaw_percent: int = 20
    tilt_percent: int = 20
    climb_percent: int = 20
    gimbal_percent: int = 20

    @classmethod
    def of_share(cls, share: float) -> PilotingLimits:
        """The same share of full, 0..1, for everything that the follow controller moves."""
        percent = min(max(round(100 * share), 1), 100)
        return cls(yaw_percent=percent, tilt_percent=percent, gimbal_percent=percent)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ControlError: names the limit and what was expected.
        """
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100:
                raise ControlError(f"{name} is {value!r}: expected a whole number, 1..100")


@dataclass(frozen=True)
class FullScale:
    """What a command of 100 % does, as the drone reports it.

    Attributes:
        yaw_deg_s: turning rate.
        up_m_s: climbing rate.
        gimbal_deg_s: the gimbal's rate.
        speed_m_s: horizontal speed. The drone takes a tilt, not a speed: this is an estimate that
            a test flight should correct.
    """

    yaw_deg_s: float = 40.0
    up_m_s: float = 2.0
    gimbal_deg_s: float = 30.0
    speed_m_s: float = 8.0


@dataclass(frozen=True)
class PilotingCommand:
    """What goes on the wire.

    Attributes:
        roll, pitch, yaw, gaz: signed percent; right, forward, clockwise and up are positive.
        gimbal: -1..1 of the gimbal's full speed; up is positive.
    """

    roll: int = 0
    pitch: int = 0
    yaw: int = 0
    gaz: int = 0
    gimbal: float = 0.0

    @property
    def flag(self) -> int:
        """1 where roll and pitch count."""
        return 1 if self.roll or self.pitch else 0


NEUTRAL = PilotingCommand()


def piloting_command(
    command: RateCommand, limits: PilotingLimits, full: FullScale
) -> PilotingCommand:
    """Convert, round and clamp.

    The SDK checks nothing: 150 arrives as -106, and a float is refused. A rate that is not finite
    makes the whole command neutral.
    """
    yaw = _share(command.yaw_deg_s, full.yaw_deg_s)
    pitch = _share(command.forward_m_s, full.speed_m_s)
    roll = _share(command.right_m_s, full.speed_m_s)
    gaz = _share(command.up_m_s, full.up_m_s)
    gimbal = _share(command.gimbal_pitch_deg_s, full.gimbal_deg_s)
    if not all(math.isfinite(share) for share in (yaw, pitch, roll, gaz, gimbal)):
        return NEUTRAL
    gimbal_most = limits.gimbal_percent / 100
    return PilotingCommand(
        roll=_percent(roll, limits.tilt_percent),
        pitch=_percent(pitch, limits.tilt_percent),
        yaw=_percent(yaw, limits.yaw_percent),
        gaz=_percent(gaz, limits.climb_percent),
        gimbal=min(max(gimbal, -gimbal_most), gimbal_most),
    )


def _share(rate: float, full_rate: float) -> float:
    return rate / full_rate if full_rate > 0 else math.nan


def _percent(share: float, most: int) -> int:
    return round(min(max(100 * share, -most), most))
