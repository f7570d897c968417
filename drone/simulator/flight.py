"""How the simulated drone moves: rate commands with delay, expiry, inertia and wind."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from drone.control import RateCommand
from drone.errors import ControlError
from drone.simulator.camera import CameraPose


@dataclass(frozen=True)
class FlightDynamics:
    """Limits and first-order time constants of the drone and its gimbal.

    Attributes:
        delay_s: from `send` until the vehicle begins to obey.
        expiry_s: age at which a command turns neutral.
        yaw_lag_s, gimbal_lag_s, velocity_lag_s: time constants of the three loops.
        most_yaw_deg_s, most_gimbal_deg_s, most_speed_m_s, most_climb_m_s: limits.
        pitch_range_deg: travel of the gimbal. Nothing is drawn above the horizon. Higher than this,
            or below 20 m, the picture would show ground from behind the camera there.
        height_range_m: lowest and highest flight.
        margin_m: the drone stays this far inside the edge of the world.
    """

    delay_s: float = 0.05
    expiry_s: float = 0.3
    yaw_lag_s: float = 0.15
    gimbal_lag_s: float = 0.10
    velocity_lag_s: float = 0.45
    most_yaw_deg_s: float = 90.0
    most_gimbal_deg_s: float = 60.0
    most_speed_m_s: float = 14.0
    most_climb_m_s: float = 4.0
    pitch_range_deg: tuple[float, float] = (-90.0, -18.0)
    height_range_m: tuple[float, float] = (8.0, 110.0)
    margin_m: float = 6.0


class CommandQueue:
    """Holds sent commands until their delay has passed, and forgets those that expired.

    `send` may be called from any thread.
    """

    def __init__(self, dynamics: FlightDynamics) -> None:
        """Start with no command."""
        self._dynamics = dynamics
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, RateCommand]] = deque(maxlen=1000)
        self._current = RateCommand()

    def send(self, command: RateCommand, now_ns: int) -> None:
        """Queue a command that takes effect `delay_s` from now.

        Raises:
            ControlError: a rate is not finite.
        """
        rates = (
            command.yaw_deg_s,
            command.gimbal_pitch_deg_s,
            command.forward_m_s,
            command.right_m_s,
            command.up_m_s,
        )
        if not all(math.isfinite(rate) for rate in rates):
            raise ControlError(f"simulator: {command} refused: expected finite rates")
        with self._lock:
            self._waiting.append((now_ns + int(self._dynamics.delay_s * 1e9), command))

    def neutral(self, now_ns: int) -> None:
        """Drop every command at once, without delay."""
        with self._lock:
            self._waiting.clear()
            self._current = RateCommand(issued_ns=now_ns)

    def current(self, now_ns: int) -> RateCommand:
        """Give the command in force: neutral when none came or the last one expired."""
        with self._lock:
            while self._waiting and self._waiting[0][0] <= now_ns:
                self._current = self._waiting.popleft()[1]
            age_s = (now_ns - self._current.issued_ns) / 1e9
            if age_s > self._dynamics.expiry_s:
                self._current = RateCommand(issued_ns=self._current.issued_ns)
            return self._current


@dataclass(frozen=True)
class FlightState:
    """Pose and rates of the camera drone; rates in the body frame."""

    pose: CameraPose
    yaw_deg_s: float = 0.0
    gimbal_deg_s: float = 0.0
    forward_m_s: float = 0.0
    right_m_s: float = 0.0
    up_m_s: float = 0.0

    @property
    def speed_m_s(self) -> float:
        """Speed over ground."""
        return math.hypot(self.forward_m_s, self.right_m_s)


def fly(
    state: FlightState,
    command: RateCommand,
    dt_s: float,
    dynamics: FlightDynamics,
    world_size_m: float,
) -> FlightState:
    """Integrate one step: the rates approach the command, the pose follows the rates."""
    d = dynamics
    yaw_rate = _approach(state.yaw_deg_s, command.yaw_deg_s, d.most_yaw_deg_s, dt_s, d.yaw_lag_s)
    gimbal_rate = _approach(
        state.gimbal_deg_s, command.gimbal_pitch_deg_s, d.most_gimbal_deg_s, dt_s, d.gimbal_lag_s
    )
    forward, right = command.forward_m_s, command.right_m_s
    cut = min(1.0, d.most_speed_m_s / max(math.hypot(forward, right), 1e-9))
    lag_s = d.velocity_lag_s
    forward = _approach(state.forward_m_s, forward * cut, d.most_speed_m_s, dt_s, lag_s)
    right = _approach(state.right_m_s, right * cut, d.most_speed_m_s, dt_s, lag_s)
    up = _approach(state.up_m_s, command.up_m_s, d.most_climb_m_s, dt_s, lag_s)
    pose = state.pose
    yaw = math.radians(pose.yaw_deg + yaw_rate * dt_s / 2)
    low, high = d.margin_m, world_size_m - d.margin_m
    pitch = pose.pitch_deg + gimbal_rate * dt_s
    moved = replace(
        pose,
        x_m=_clamp(pose.x_m + (forward * math.sin(yaw) + right * math.cos(yaw)) * dt_s, low, high),
        y_m=_clamp(pose.y_m + (forward * math.cos(yaw) - right * math.sin(yaw)) * dt_s, low, high),
        height_m=_clamp(pose.height_m + up * dt_s, *d.height_range_m),
        yaw_deg=(pose.yaw_deg + yaw_rate * dt_s + 180.0) % 360.0 - 180.0,
        pitch_deg=_clamp(pitch, *d.pitch_range_deg),
    )
    if moved.pitch_deg != pitch:
        gimbal_rate = 0.0
    return FlightState(moved, yaw_rate, gimbal_rate, forward, right, up)


class Wind:
    """Gusts as an Ornstein-Uhlenbeck process: a drift in m/s and a roll in degrees."""

    def __init__(self, mean_m_s: float, seed: int) -> None:
        """Choose the direction from the seed."""
        self._rng = np.random.default_rng(seed)
        self._mean_m_s = mean_m_s
        angle = self._rng.uniform(0, 2 * math.pi)
        self._direction = (math.sin(angle), math.cos(angle))
        self._gust = np.zeros(3)

    def blow(self, pose: CameraPose, dt_s: float) -> CameraPose:
        """Push the camera: a position hold leaves a tenth of the wind as drift."""
        if self._mean_m_s <= 0:
            return pose
        tau_s = np.array([1.6, 1.6, 0.5])
        spread = np.array([0.25, 0.25, 0.35]) * self._mean_m_s
        pull = np.sqrt(2 * dt_s / tau_s) * spread
        self._gust += -self._gust * dt_s / tau_s + pull * self._rng.standard_normal(3)
        drift = 0.1 * self._mean_m_s
        return replace(
            pose,
            x_m=pose.x_m + (0.5 * self._gust[0] + drift * self._direction[0]) * dt_s,
            y_m=pose.y_m + (0.5 * self._gust[1] + drift * self._direction[1]) * dt_s,
            roll_deg=float(0.6 * self._gust[2]),
        )


def _approach(value: float, wanted: float, most: float, dt_s: float, lag_s: float) -> float:
    wanted = _clamp(wanted, -most, most)
    return wanted + (value - wanted) * math.exp(-dt_s / max(lag_s, 1e-6))


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
