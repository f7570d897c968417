"""What the ground station asks of a vehicle: rates, never positions, and neutral at any doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Told = Callable[[str], None]
"""Takes a line for the operator; must not block."""


@dataclass(frozen=True)
class RateCommand:
    """A rate command in the body frame; zeros are neutral (hover, gimbal still).

    Attributes:
        yaw_deg_s: clockwise from above is positive.
        gimbal_pitch_deg_s: up is positive.
        forward_m_s: forward is positive.
        right_m_s: right is positive.
        up_m_s: up is positive.
        issued_ns: the host's monotonic clock when it was decided; it expires from there.
    """

    yaw_deg_s: float = 0.0
    gimbal_pitch_deg_s: float = 0.0
    forward_m_s: float = 0.0
    right_m_s: float = 0.0
    up_m_s: float = 0.0
    issued_ns: int = 0

    @property
    def is_neutral(self) -> bool:
        """True when every rate is zero."""
        rates = (self.yaw_deg_s, self.gimbal_pitch_deg_s)
        return not any((*rates, self.forward_m_s, self.right_m_s, self.up_m_s))


class VehicleControl(Protocol):
    """Takes rate commands. A command that is not renewed within `expiry_s` turns neutral."""

    @property
    def expiry_s(self) -> float:
        """Age at which a command turns neutral by itself."""
        ...

    def send(self, command: RateCommand) -> None:
        """Replace the current command; thread-safe, never blocks.

        Raises:
            ControlError: the vehicle is not connected.
        """
        ...

    def neutral(self) -> None:
        """Hover and hold the gimbal at once; safe to call at any time, from any thread."""
        ...


class StationVehicle(VehicleControl, Protocol):
    """A vehicle that a ground station opens and closes; it reconnects by itself."""

    def open(self, overruled: Callable[[], None], told: Told) -> None:
        """Begin to connect, in the background.

        Args:
            overruled: called when the pilot took the sticks back; must not block.
            told: takes a line for the operator at each change.
        """
        ...

    def close(self) -> None:
        """Zeros, sticks back, connection closed; calling it twice is allowed."""
        ...
