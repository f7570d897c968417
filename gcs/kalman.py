"""A constant-velocity Kalman filter of one quantity, as a value.

The state is [position, velocity] with white acceleration of density q (Bar-Shalom, Li and
Kirubarajan, Estimation with Applications to Tracking and Navigation, 6.2.2). It is written out:
two states need no matrix library, and a value can be predicted to "now" without being changed,
which is how the age of a capture is made good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Motion:
    """Where a quantity is, how fast it changes and how sure that is.

    Attributes:
        position: in the caller's unit.
        velocity: unit/s.
        var_position: unit².
        covariance: of position and velocity, unit²/s.
        var_velocity: unit²/s².
        at_ns: host's monotonic clock that the state is of.
    """

    position: float
    velocity: float
    var_position: float
    covariance: float
    var_velocity: float
    at_ns: int


def begin(position: float, at_ns: int, position_sd: float, velocity_sd: float) -> Motion:
    """Start from one measurement, at rest as far as is known."""
    return Motion(position, 0.0, position_sd**2, 0.0, velocity_sd**2, at_ns)


def predict(motion: Motion, at_ns: int, density: float) -> Motion:
    """Carry the state forward to a later time.

    Args:
        motion: the state.
        at_ns: the time wanted; one before the state's own changes nothing.
        density: of the white acceleration, unit²/s³.
    """
    if at_ns <= motion.at_ns:
        return motion
    dt = (at_ns - motion.at_ns) * 1e-9
    return Motion(
        position=motion.position + motion.velocity * dt,
        velocity=motion.velocity,
        var_position=motion.var_position
        + dt * (2 * motion.covariance + dt * motion.var_velocity)
        + density * dt**3 / 3,
        covariance=motion.covariance + dt * motion.var_velocity + density * dt**2 / 2,
        var_velocity=motion.var_velocity + density * dt,
        at_ns=at_ns,
    )


def correct(motion: Motion, measured: float, measured_sd: float) -> Motion:
    """Weigh in a measurement of the position at the state's own time.

    A measurement that is not a finite number is no measurement: the state stays as it is.
    """
    if not math.isfinite(measured):
        return motion
    total = motion.var_position + measured_sd**2
    gain_position = motion.var_position / total
    gain_velocity = motion.covariance / total
    surprise = measured - motion.position
    return Motion(
        position=motion.position + gain_position * surprise,
        velocity=motion.velocity + gain_velocity * surprise,
        var_position=(1 - gain_position) * motion.var_position,
        covariance=(1 - gain_position) * motion.covariance,
        var_velocity=motion.var_velocity - gain_velocity * motion.covariance,
        at_ns=motion.at_ns,
    )
