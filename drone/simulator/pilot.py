"""The scripted pilot that flies the camera while nobody commands it."""

from __future__ import annotations

import math

from drone.control import RateCommand
from drone.simulator.actors import Actor
from drone.simulator.camera import CameraPose
from drone.simulator.flight import FlightState
from drone.simulator.scenarios import Scenario

_SWAY_RIGHT_M, _SWAY_AHEAD_M = 14.0, 6.0
_SWAY_RIGHT_S, _SWAY_AHEAD_S = 23.0, 17.0


def start_pose(scenario: Scenario, target: Actor) -> CameraPose:
    """Give the pose that looks at the target, or for a hover at a place before it."""
    ahead_m = _distance_m(scenario.height_m, scenario.gimbal_pitch_deg)
    lead_m = 0.0 if scenario.flight == "escort" else 14.0
    x = target.x_m + lead_m * math.sin(target.heading)
    y = target.y_m + lead_m * math.cos(target.heading)
    return CameraPose(x, y - ahead_m, scenario.height_m, 0.0, scenario.gimbal_pitch_deg)


class Pilot:
    """Flies along with the target so that it wanders over the frame without leaving it."""

    def __init__(self, scenario: Scenario) -> None:
        """Take the scenario's flight, height and pan rate."""
        self._scenario = scenario

    def fly(self, flight: FlightState, target: Actor, time_s: float) -> RateCommand:
        """Give the pilot's command at a time of the scenario."""
        if self._scenario.flight == "hover":
            return RateCommand()
        pose = flight.pose
        yaw = math.radians(pose.yaw_deg)
        gap_m = _distance_m(pose.height_m, pose.pitch_deg)
        right_m = _SWAY_RIGHT_M * math.sin(2 * math.pi * time_s / _SWAY_RIGHT_S)
        ahead_m = _SWAY_AHEAD_M * math.sin(2 * math.pi * time_s / _SWAY_AHEAD_S)
        dx, dy = target.x_m - pose.x_m, target.y_m - pose.y_m
        error_right = dx * math.cos(yaw) - dy * math.sin(yaw) - right_m
        error_ahead = dx * math.sin(yaw) + dy * math.cos(yaw) - gap_m - ahead_m
        off = target.heading - yaw
        s = self._scenario
        pan_s = 26.0 if s.pan_deg_s <= 10 else 8.0
        return RateCommand(
            yaw_deg_s=self._pan(time_s, pan_s, pose.yaw_deg),
            gimbal_pitch_deg_s=0.8 * (s.gimbal_pitch_deg - pose.pitch_deg),
            forward_m_s=0.7 * error_ahead + 0.8 * target.speed_m_s * math.cos(off),
            right_m_s=0.7 * error_right + 0.8 * target.speed_m_s * math.sin(off),
            up_m_s=0.5 * (s.height_m - pose.height_m),
        )

    def _pan(self, time_s: float, period_s: float, yaw_deg: float) -> float:
        """Swing the camera around north; the peak rate is the scenario's."""
        w = 2 * math.pi / period_s
        peak = self._scenario.pan_deg_s
        wanted_deg = -peak / w * math.cos(w * time_s) + peak / w
        error_deg = (wanted_deg - peak / w - yaw_deg + 180) % 360 - 180
        return peak * math.sin(w * time_s) + 0.8 * error_deg


def _distance_m(height_m: float, pitch_deg: float) -> float:
    return height_m / math.tan(math.radians(min(max(-pitch_deg, 15.0), 89.9)))
