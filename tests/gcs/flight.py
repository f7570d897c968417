"""A flight in which everything is well; the tests of pilot and supervisor spoil it."""

from __future__ import annotations

from drone.frame import Telemetry
from gcs.follow_config import FollowConfig
from model.geometry import Box

CONFIG = FollowConfig(regain_frames=3)  # three boxes keep the histories short
MS = 1_000_000
NOW_NS = 10**12
WIDTH, HEIGHT = 1280, 720
BOX = Box(600, 300, 80, 50)
WELL = Telemetry(
    yaw_deg=10.0,
    gimbal_pitch_deg=-40.0,
    height_m=40.0,
    home_distance_m=20.0,
    battery_percent=80.0,
    link_quality=0.9,
    flying_state="flying",
)
