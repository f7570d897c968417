"""The street graph and the closed routes over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

WORLD_M = 240.0
"""Side of the square world."""
STREETS_M = (26.0, 88.0, 152.0, 214.0)
"""Centre lines of the streets, in both directions."""
ROAD_HALF_M = 4.6
SIDEWALK_M = 2.6
LANE_OFFSET_M = 1.75
_STEP_M = 0.25
_LATERAL_M_S2 = 2.2


@dataclass(frozen=True)
class Route:
    """A closed path, sampled every 0.25 m.

    Attributes:
        points: (N, 2) x, y in m.
        headings: (N,) radians clockwise from north.
        limits: (N,) speed in m/s at which its bends can be driven.
        length_m: once around.
    """

    points: Float
    headings: Float
    limits: Float
    length_m: float

    def at(self, s_m: float) -> tuple[float, float, float]:
        """Give x, y in m and the heading in radians at a distance along the route."""
        n = len(self.points)
        place = (s_m % self.length_m) / self.length_m * n
        i = int(place) % n
        j = (i + 1) % n
        f = place - int(place)
        x, y = self.points[i] * (1 - f) + self.points[j] * f
        turn = (self.headings[j] - self.headings[i] + np.pi) % (2 * np.pi) - np.pi
        return float(x), float(y), float(self.headings[i] + f * turn)

    def limit_m_s(self, s_m: float) -> float:
        """Give the speed that the bend at `s_m` allows."""
        n = len(self.points)
        return float(self.limits[int((s_m % self.length_m) / self.length_m * n) % n])

    def nearest_m(self, x_m: float, y_m: float) -> float:
        """Give the distance along the route of the point nearest to (x, y)."""
        gap = np.hypot(self.points[:, 0] - x_m, self.points[:, 1] - y_m)
        return float(np.argmin(gap)) / len(self.points) * self.length_m


def drive_route(corners: Sequence[tuple[int, int]]) -> Route:
    """Make the route of a vehicle through crossings, given as (column, row) of the street grid.

    Consecutive crossings must share a street. The vehicle keeps to the right-hand lane.
    """
    points = np.array([(STREETS_M[i], STREETS_M[j]) for i, j in corners])
    return _closed_route(points, LANE_OFFSET_M, 6.0)


def walk_route(column: int, row: int, clockwise: bool) -> Route:
    """Make the route of a person around the block between `column`, `row` and the next ones."""
    x0, x1 = STREETS_M[column], STREETS_M[column + 1]
    y0, y1 = STREETS_M[row], STREETS_M[row + 1]
    points = np.array([(x0, y0), (x0, y1), (x1, y1), (x1, y0)])
    inset = ROAD_HALF_M + SIDEWALK_M * 0.55
    if clockwise:
        return _closed_route(points, inset, 1.5)
    return _closed_route(points[::-1], -inset, 1.5)


def rectangle(
    columns: tuple[int, int], rows: tuple[int, int], clockwise: bool
) -> list[tuple[int, int]]:
    """Give the four corners of a loop over the street grid."""
    (i0, i1), (j0, j1) = columns, rows
    loop = [(i0, j0), (i0, j1), (i1, j1), (i1, j0)]
    return loop if clockwise else loop[::-1]


def random_loop(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw a rectangular loop over the street grid."""
    last = len(STREETS_M)
    i0, i1 = sorted(int(v) for v in rng.choice(last, 2, replace=False))
    j0, j1 = sorted(int(v) for v in rng.choice(last, 2, replace=False))
    return rectangle((i0, i1), (j0, j1), bool(rng.integers(2)))


def _closed_route(corners: Float, right_m: float, bend_m: float) -> Route:
    """Shift a closed polygon to its right and round its corners with quadratic curves."""
    ahead = np.roll(corners, -1, axis=0) - corners
    ahead = ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
    behind = np.roll(ahead, 1, axis=0)
    right = np.column_stack([ahead[:, 1], -ahead[:, 0]])
    right_behind = np.roll(right, 1, axis=0)
    # At a right-angled corner the shifted lines meet at the sum of both shifts.
    straight = np.abs((ahead * behind).sum(1)) > 0.99
    shift = np.where(straight[:, None], right, right + right_behind) * right_m
    apex = corners + shift
    pieces: list[Float] = []
    for k in range(len(apex)):
        a, b = apex[k] - behind[k] * bend_m, apex[k] + ahead[k] * bend_m
        t = np.linspace(0, 1, 40)[:, None]
        pieces.append((1 - t) ** 2 * a + 2 * t * (1 - t) * apex[k] + t**2 * b)
    line = np.concatenate([*pieces, pieces[0][:1]])
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    total = float(lengths[-1])
    n = max(8, int(total / _STEP_M))
    s = np.arange(n) * total / n
    points = np.column_stack([np.interp(s, lengths, line[:, 0]), np.interp(s, lengths, line[:, 1])])
    step = np.roll(points, -2, axis=0) - np.roll(points, 2, axis=0)
    headings = np.arctan2(step[:, 0], step[:, 1])
    return Route(points, headings, _bend_limits(headings, total / n), total)


def _bend_limits(headings: Float, step_m: float) -> Float:
    """Give the speed that each point allows, looking ahead far enough to brake."""
    span = max(1, int(1.5 / step_m))
    turn = np.roll(headings, -span) - np.roll(headings, span)
    turn = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    bend = np.sqrt(_LATERAL_M_S2 / np.maximum(turn / (2 * span * step_m), 1e-4))
    limits = np.asarray(np.minimum(bend, 30.0), np.float64)
    # Braking at 2 m/s² may start only so late: v² ≤ v_next² + 2 a ds; twice around closes the loop.
    for _ in range(2):
        for k in range(len(limits) - 1, -1, -1):
            follow = limits[(k + 1) % len(limits)]
            limits[k] = min(limits[k], np.sqrt(follow**2 + 4.0 * step_m))
    return limits
