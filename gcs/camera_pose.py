"""Where the camera points: angles of a pixel, and the turn since a picture was taken."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from drone.control import RateCommand

KEPT_NS = 2_000_000_000
"""How long turns are remembered; older pictures do not command."""


@dataclass(frozen=True)
class Turn:
    """The modelled camera at one time; only differences of the angles mean something.

    Attributes:
        at_ns: host's monotonic clock.
        yaw_deg, pitch_deg: summed since the start.
        yaw_deg_s, pitch_deg_s: modelled rates.
    """

    at_ns: int
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    yaw_deg_s: float = 0.0
    pitch_deg_s: float = 0.0


@dataclass(frozen=True)
class Turns:
    """What the commands of the last seconds have made of the camera; a value.

    A picture tells where the camera pointed when it was taken. Since then it has turned by what
    was commanded, and that is known without waiting for the next picture (Smith predictor).

    Attributes:
        past: oldest first; never empty after the first command.
        yaw_deg_s, pitch_deg_s: commanded now.
    """

    past: tuple[Turn, ...] = ()
    yaw_deg_s: float = 0.0
    pitch_deg_s: float = 0.0

    def commanded(self, command: RateCommand, now_ns: int, response_s: float) -> Turns:
        """Remember a command that goes out now."""
        past = self.past
        if not past:
            past = (Turn(now_ns),)
        elif now_ns > past[-1].at_ns:
            kept = tuple(turn for turn in past if turn.at_ns >= now_ns - KEPT_NS)
            past = (*kept, self._at(now_ns, response_s))
        return Turns(past, command.yaw_deg_s, command.gimbal_pitch_deg_s)

    def turned(self, at_ns: int, response_s: float, dead_time_s: float) -> tuple[float, float]:
        """Yaw and pitch summed since the first command, deg."""
        turn = self._at(at_ns - round(dead_time_s * 1e9), response_s)
        return turn.yaw_deg, turn.pitch_deg

    def between(
        self, from_ns: int, to_ns: int, response_s: float, dead_time_s: float
    ) -> tuple[float, float]:
        """How far the camera turned from one time to a later one.

        Returns:
            yaw and pitch, deg.
        """
        yaw_from, pitch_from = self.turned(from_ns, response_s, dead_time_s)
        yaw_to, pitch_to = self.turned(to_ns, response_s, dead_time_s)
        return yaw_to - yaw_from, pitch_to - pitch_from

    def _at(self, at_ns: int, response_s: float) -> Turn:
        """The modelled camera at a time: on record, or carried on from the last record."""
        if not self.past:
            return Turn(at_ns)
        last = self.past[-1]
        if at_ns >= last.at_ns:
            dt = (at_ns - last.at_ns) * 1e-9
            decay = math.exp(-dt / response_s)
            yaw_gap = last.yaw_deg_s - self.yaw_deg_s
            pitch_gap = last.pitch_deg_s - self.pitch_deg_s
            lag_s = response_s * (1 - decay)
            return Turn(
                at_ns,
                last.yaw_deg + self.yaw_deg_s * dt + yaw_gap * lag_s,
                last.pitch_deg + self.pitch_deg_s * dt + pitch_gap * lag_s,
                self.yaw_deg_s + yaw_gap * decay,
                self.pitch_deg_s + pitch_gap * decay,
            )
        if at_ns <= self.past[0].at_ns:
            return replace(self.past[0], at_ns=at_ns)
        later = next(i for i, turn in enumerate(self.past) if turn.at_ns >= at_ns)
        a, b = self.past[later - 1], self.past[later]
        share = (at_ns - a.at_ns) / (b.at_ns - a.at_ns)
        return Turn(
            at_ns,
            a.yaw_deg + share * (b.yaw_deg - a.yaw_deg),
            a.pitch_deg + share * (b.pitch_deg - a.pitch_deg),
            a.yaw_deg_s + share * (b.yaw_deg_s - a.yaw_deg_s),
            a.pitch_deg_s + share * (b.pitch_deg_s - a.pitch_deg_s),
        )


def bearing_deg(
    x_px: float, y_px: float, width_px: int, height_px: int, fov_deg: float, pitch_deg: float
) -> tuple[float, float]:
    """Direction of a pixel for a level pinhole camera that is pitched about its own axis.

    Args:
        x_px, y_px: place in the frame.
        width_px, height_px: the frame; the optical axis goes through its middle.
        fov_deg: horizontal field of view.
        pitch_deg: of the camera, up is positive.

    Returns:
        azimuth from the camera's own, clockwise from above, -180..180; elevation from the
        horizon, up is positive. deg.
    """
    focal_px = width_px / 2 / math.tan(math.radians(fov_deg) / 2)
    right = (x_px - width_px / 2) / focal_px
    down = (y_px - height_px / 2) / focal_px
    pitch = math.radians(pitch_deg)
    forward = math.cos(pitch) + down * math.sin(pitch)
    up = math.sin(pitch) - down * math.cos(pitch)
    azimuth = math.atan2(right, forward)
    elevation = math.atan2(up, math.hypot(right, forward))
    return math.degrees(azimuth), math.degrees(elevation)


def nearest_turn_deg(angle_deg: float, near_deg: float) -> float:
    """The same direction as `angle_deg`, within half a turn of `near_deg`."""
    return near_deg + (angle_deg - near_deg + 180.0) % 360.0 - 180.0
