from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcs.kalman import Motion, begin, correct, predict

START_NS = 10**12
DENSITY = 120.0


def matrix_filter(
    measures: list[tuple[float, float]], first: float, sd: float, velocity_sd: float
) -> tuple[np.ndarray, np.ndarray]:
    """The textbook filter with matrices, as an independent oracle."""
    x = np.array([first, 0.0])
    p = np.diag([sd**2, velocity_sd**2])
    h = np.array([[1.0, 0.0]])
    for dt, z in measures:
        f = np.array([[1.0, dt], [0.0, 1.0]])
        q = DENSITY * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        x, p = f @ x, f @ p @ f.T + q
        k = p @ h.T / (h @ p @ h.T + sd**2)
        x = x + (k @ (z - h @ x)).ravel()
        p = (np.eye(2) - k @ h) @ p
    return x, p


def test_agrees_with_the_matrix_form() -> None:
    rng = np.random.default_rng(1)
    measures = [(float(rng.uniform(0.02, 0.2)), float(rng.normal(5, 3))) for _ in range(40)]
    motion, now_ns = begin(2.0, START_NS, 0.7, 9.0), START_NS
    for dt, z in measures:
        now_ns += round(dt * 1e9)
        motion = correct(predict(motion, now_ns, DENSITY), z, 0.7)
    x, p = matrix_filter(measures, 2.0, 0.7, 9.0)
    assert motion.position == pytest.approx(x[0], abs=1e-5)
    assert motion.velocity == pytest.approx(x[1], abs=1e-4)
    assert motion.var_position == pytest.approx(p[0, 0], rel=1e-5)
    assert motion.covariance == pytest.approx(p[0, 1], rel=1e-5)
    assert motion.var_velocity == pytest.approx(p[1, 1], rel=1e-5)


def test_learns_a_constant_velocity_and_carries_it_to_now() -> None:
    motion = begin(0.0, START_NS, 0.1, 20.0)
    for frame in range(1, 60):
        at_ns = START_NS + round(frame / 30 * 1e9)
        motion = correct(predict(motion, at_ns, DENSITY), 6.0 * frame / 30, 0.1)
    assert motion.velocity == pytest.approx(6.0, abs=0.05)
    later = predict(motion, motion.at_ns + 150_000_000, DENSITY)
    assert later.position == pytest.approx(6.0 * (59 / 30 + 0.15), abs=0.05)
    assert later.var_position > motion.var_position


def test_an_earlier_time_changes_nothing() -> None:
    motion = begin(3.0, START_NS, 1.0, 1.0)
    assert predict(motion, START_NS - 1, DENSITY) == motion


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_measurement(value: float) -> None:
    motion = begin(3.0, START_NS, 1.0, 1.0)
    assert correct(motion, value, 1.0) == motion


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_two_steps_are_one_long_step(first_ns: int, second_ns: int) -> None:
    motion = Motion(1.0, -4.0, 0.5, 0.2, 3.0, START_NS)
    whole = predict(motion, START_NS + first_ns + second_ns, DENSITY)
    halves = predict(
        predict(motion, START_NS + first_ns, DENSITY), START_NS + first_ns + second_ns, DENSITY
    )
    for name in ("position", "velocity", "var_position", "covariance", "var_velocity"):
        assert getattr(halves, name) == pytest.approx(getattr(whole, name), rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(-1e4, 1e4)), max_size=40))
def test_the_covariance_stays_one(history: list[tuple[int, float]]) -> None:
    motion = begin(0.0, START_NS, 0.5, 15.0)
    for gap_ns, z in history:
        motion = correct(predict(motion, motion.at_ns + gap_ns, DENSITY), z, 0.5)
        assert math.isfinite(motion.position)
        assert math.isfinite(motion.velocity)
        assert 0 < motion.var_position <= 0.25 + 1e-9
        assert motion.var_velocity > 0
        assert motion.covariance**2 <= motion.var_position * motion.var_velocity * (1 + 1e-6)
