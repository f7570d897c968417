"""What the loopback ANAFI says of itself inside its video."""

from __future__ import annotations

GROUND_DISTANCE_M = 12.5
BATTERY_PERCENT = 87
HORIZONTAL_FOV_DEG = 69.0
GIMBAL_PITCH_DEG = -20.0
YAW_DEG = 90.0
SPEED_NORTH_M_S = 3.0
