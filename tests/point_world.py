"""A point target seen by a camera that yaws and pitches with lag and dead time: no pixels."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from drone.control import RateCommand
from drone.frame import Telemetry
from gcs.servo import Sighting
from model.geometry import Box

WIDTH_PX, HEIGHT_PX, FOV_DEG = 1280, 720, 69.0
FOCAL_PX = WIDTH_PX / 2 / math.tan(math.radians(FOV_DEG / 2))
START_NS = 10**12

Place = Callable[[float], tuple[float, float, float]]
"""Time s → target's azimuth deg, elevation deg, distance m."""


@dataclass
class PointWorld:
    """Steps at 5 ms; `see` gives the target as a box with noise."""

    place: Place
    pitch_deg: float = -40.0
    lag_s: float = 0.15
    dead_time_s: float = 0.05
    noise_px: float = 3.0
    size_m: float = 4.0
    told: bool = True
    yaw_deg: float = 0.0
    time_s: float = 0.0
    flown_m: float = 0.0
    rates: tuple[float, float, float] = (0.0, 0.0, 0.0)
    _sent: deque[tuple[float, RateCommand]] = field(default_factory=deque)
    _now: RateCommand = field(default_factory=RateCommand)
    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    @property
    def now_ns(self) -> int:
        return START_NS + round(self.time_s * 1e9)

    def send(self, command: RateCommand) -> None:
        self._sent.append((self.time_s + self.dead_time_s, command))

    def advance(self, until_s: float, step_s: float = 0.005) -> None:
        while self.time_s < until_s - 1e-9:
            while self._sent and self._sent[0][0] <= self.time_s:
                self._now = self._sent.popleft()[1]
            wanted = (self._now.yaw_deg_s, self._now.gimbal_pitch_deg_s, self._now.forward_m_s)
            share = 1 - math.exp(-step_s / self.lag_s)
            self.rates = tuple(  # type: ignore[assignment]
                r + share * (w - r) for r, w in zip(self.rates, wanted, strict=True)
            )
            self.yaw_deg += self.rates[0] * step_s
            self.pitch_deg += self.rates[1] * step_s
            self.flown_m += self.rates[2] * step_s
            self.time_s += step_s

    def project(self) -> tuple[float, float, float]:
        """Exact centre of the target, px, and its distance, m."""
        azimuth, elevation, distance = self.place(self.time_s)
        a = math.radians(azimuth - self.yaw_deg)
        e, p = math.radians(elevation), math.radians(self.pitch_deg)
        right = math.cos(e) * math.sin(a)
        forward, up = math.cos(e) * math.cos(a), math.sin(e)
        depth = forward * math.cos(p) + up * math.sin(p)
        down = forward * math.sin(p) - up * math.cos(p)
        x = WIDTH_PX / 2 + FOCAL_PX * right / depth
        y = HEIGHT_PX / 2 + FOCAL_PX * down / depth
        return x, y, distance - self.flown_m

    def error_share(self) -> float:
        """Distance of the target from the frame's centre, fraction of the width."""
        x, y, _ = self.project()
        return math.hypot(x - WIDTH_PX / 2, y - HEIGHT_PX / 2) / WIDTH_PX

    def see(self) -> Sighting:
        x, y, distance = self.project()
        side = FOCAL_PX * self.size_m / distance
        dx, dy = self._rng.normal(0, self.noise_px, 2)
        telemetry = Telemetry(
            yaw_deg=(self.yaw_deg + 180) % 360 - 180 if self.told else None,
            gimbal_pitch_deg=self.pitch_deg if self.told else None,
            horizontal_fov_deg=FOV_DEG,
        )
        box = Box.from_centre(x + dx, y + dy, side, side)
        return Sighting(box, WIDTH_PX, HEIGHT_PX, self.now_ns, telemetry)
