"""A night town drawn by code, seen from a drone that obeys commands; with ground truth."""

from __future__ import annotations

from drone.simulator.night import NightSimulator
from drone.simulator.scenarios import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "NightSimulator", "Scenario"]
