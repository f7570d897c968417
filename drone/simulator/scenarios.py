"""Scenes by name: what drives, what the camera does, how dark it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drone.errors import SourceError

Flight = Literal["escort", "hover"]


@dataclass(frozen=True)
class Scenario:
    """Settings of one simulated night.

    Attributes:
        name: as the user gives it.
        description: one line for help texts.
        seed: everything random follows from it.
        width_px: frame width.
        height_px: frame height.
        fps: frames per second.
        horizontal_fov_deg: of the camera.
        height_m: of the camera above the street.
        gimbal_pitch_deg: at the start; -90 looks straight down.
        flight: what the camera does while nobody commands it: `escort`, a scripted pilot flies
            along with the target, which wanders over the frame; `hover`, it stands still.
        pan_deg_s: peak yaw rate of the scripted pilot's sweeps.
        target: model and colour of the target, as `suv/white`.
        target_speed_m_s: cruising speed.
        stop_every_s: the target stops at this period; 0: never.
        twin: a car like the target drives beside it.
        vehicles: number of moving vehicles besides the target.
        pedestrians: number of people.
        tree_gap_m: distance between the trees along a street.
        tree_radius_m: mean radius of their crowns.
        glare: strength of the halos around lamps and headlights; 1 is a clean lens.
        exposure: linear gain of the sensor.
        noise: amplitude of the sensor noise; 1 is about 2 grey levels.
        wind_m_s: mean wind; gusts push the camera and roll it.
    """

    name: str = "default"
    description: str = "a light car through lit streets, well visible; the camera flies along"
    seed: int = 7
    width_px: int = 1280
    height_px: int = 720
    fps: float = 30.0
    horizontal_fov_deg: float = 69.0
    height_m: float = 40.0
    gimbal_pitch_deg: float = -60.0
    flight: Flight = "escort"
    pan_deg_s: float = 6.0
    target: str = "suv/white"
    target_speed_m_s: float = 7.0
    stop_every_s: float = 0.0
    twin: bool = False
    vehicles: int = 14
    pedestrians: int = 18
    tree_gap_m: float = 26.0
    tree_radius_m: float = 2.0
    glare: float = 1.0
    exposure: float = 1.0
    noise: float = 1.0
    wind_m_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes and rates that cannot be drawn."""
        if not (64 <= self.width_px <= 4096 and 64 <= self.height_px <= 4096):
            raise SourceError(
                f"simulator: frame of {self.width_px} x {self.height_px} px: expected 64 … 4096"
            )
        if self.seed < 0:
            raise SourceError(f"simulator: seed {self.seed}: expected 0 or more")
        if not 1.0 <= self.fps <= 240.0:
            raise SourceError(f"simulator: {self.fps:g} frames a second: expected 1 … 240")


_ALL = (
    Scenario(),
    Scenario(
        name="crossing",
        description="the camera hovers while the target crosses its view among dense traffic",
        seed=11,
        flight="hover",
        vehicles=26,
    ),
    Scenario(
        name="stop_and_go",
        description="the target stops and drives on every eight seconds",
        seed=13,
        stop_every_s=8.0,
    ),
    Scenario(
        name="occlusion",
        description="large trees hide the target again and again",
        seed=17,
        tree_gap_m=16.0,
        tree_radius_m=5.6,
    ),
    Scenario(
        name="alike",
        description="a car of the same model and colour drives close to the target",
        seed=19,
        target="sedan/silver",
        twin=True,
    ),
    Scenario(
        name="glare",
        description="wide halos around lamps and headlights over a dark street",
        seed=23,
        glare=3.5,
        exposure=0.8,
        vehicles=20,
    ),
    Scenario(
        name="pan",
        description="the camera sweeps from side to side at up to 30 degrees a second",
        seed=29,
        pan_deg_s=30.0,
    ),
    Scenario(
        name="wind",
        description="gusts push and roll the camera",
        seed=31,
        wind_m_s=7.0,
    ),
)
SCENARIOS = {s.name: s for s in _ALL}
"""Every scenario by name."""


def scenario_by_name(name: str) -> Scenario:
    """Look a scenario up.

    Raises:
        SourceError: unknown; the message lists those there are.
    """
    try:
        return SCENARIOS[name]
    except KeyError:
        raise SourceError(
            f"simulator scenario {name!r} is unknown: expected one of {', '.join(SCENARIOS)}"
        ) from None
