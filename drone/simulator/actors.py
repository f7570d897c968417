"""Vehicles and people that move along their routes, yielding to what is ahead of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from drone.simulator.scenarios import Scenario
from drone.simulator.sprites import CAR_MODELS, PAINTS, Sprite, person_sprite, vehicle_sprite
from drone.simulator.streets import (
    STREETS_M,
    Route,
    drive_route,
    random_loop,
    rectangle,
    walk_route,
)

_ACCEL_M_S2 = 2.4
_BRAKE_M_S2 = 4.5
_PATIENCE_S = 5.0
_STRIDES = (0, 1, 2, 1, 0, -1, -2, -1)
_MODELS = ("sedan", "sedan", "hatch", "hatch", "suv", "van", "truck", "bus")


@dataclass
class Actor:
    """Something that moves.

    Attributes:
        name: key of its truth box.
        look: model/paint of a vehicle, or cloth of a person.
        s_m: distance along its route.
        cruise_m_s: speed it wishes.
        waited_s: how long it has stood in another's way.
    """

    name: str
    look: str
    vehicle: bool
    route: Route
    s_m: float
    cruise_m_s: float
    speed_m_s: float = 0.0
    waited_s: float = 0.0
    x_m: float = 0.0
    y_m: float = 0.0
    heading: float = 0.0
    side_m: float = 0.0

    def __post_init__(self) -> None:
        """Stand on the route at cruising speed."""
        self.speed_m_s = min(self.cruise_m_s, self.route.limit_m_s(self.s_m))
        self.place()

    def place(self) -> None:
        """Take the pose that belongs to `s_m`."""
        x, y, self.heading = self.route.at(self.s_m)
        self.x_m = x + self.side_m * math.cos(self.heading)
        self.y_m = y - self.side_m * math.sin(self.heading)

    def sprite(self) -> Sprite:
        """Give the body as it looks now."""
        if self.vehicle:
            model, _, paint = self.look.partition("/")
            return vehicle_sprite(model, paint)
        return person_sprite(self.look, _STRIDES[int(self.s_m / 0.19) % len(_STRIDES)])


@dataclass
class Traffic:
    """All actors; the first is the target."""

    actors: list[Actor]
    stop_every_s: float = 0.0
    time_s: float = 0.0
    _vehicles: list[Actor] = field(init=False)

    def __post_init__(self) -> None:
        """Tell vehicles from people."""
        self._vehicles = [a for a in self.actors if a.vehicle]

    @property
    def target(self) -> Actor:
        """The actor that a tracker is meant to follow."""
        return self.actors[0]

    def step(self, dt_s: float) -> None:
        """Move everything by `dt_s`."""
        self.time_s += dt_s
        wanted = self._wanted_speeds()
        for actor, speed in zip(self._vehicles, wanted, strict=True):
            change = speed - actor.speed_m_s
            actor.speed_m_s += min(max(change, -_BRAKE_M_S2 * dt_s), _ACCEL_M_S2 * dt_s)
            blocked = actor.speed_m_s < 0.3
            actor.waited_s = actor.waited_s + dt_s if blocked else max(0.0, actor.waited_s - dt_s)
        for actor in self.actors:
            actor.s_m += actor.speed_m_s * dt_s
            actor.place()

    def _wanted_speeds(self) -> list[float]:
        """Give each vehicle's speed: its cruise, its bend, and the gap to what is ahead.

        The earlier in the list, the higher the priority where two ways cross; the target is first.
        """
        x = np.array([a.x_m for a in self._vehicles])
        y = np.array([a.y_m for a in self._vehicles])
        h = np.array([a.heading for a in self._vehicles])
        length = np.array([CAR_MODELS[a.look.partition("/")[0]].length_m for a in self._vehicles])
        sin, cos = np.sin(h), np.cos(h)
        dx, dy = x[None] - x[:, None], y[None] - y[:, None]
        ahead = dx * sin[:, None] + dy * cos[:, None]
        beside = np.abs(dx * cos[:, None] - dy * sin[:, None])
        same_way = np.cos(h[None] - h[:, None]) > 0.5
        gap = ahead - (length[None] + length[:, None]) / 2
        order = np.arange(len(x))
        impatient = np.array([a.waited_s > _PATIENCE_S for a in self._vehicles])
        yields = same_way | ((order[None] < order[:, None]) & ~impatient[:, None])
        in_way = (ahead > 0.5) & (ahead < 22) & (beside < 1.9) & yields
        np.fill_diagonal(in_way, False)
        room = np.where(in_way, gap, 1e3).min(1)
        speeds = []
        for k, actor in enumerate(self._vehicles):
            speed = min(actor.cruise_m_s, actor.route.limit_m_s(actor.s_m))
            if k == 0 and self._target_stands():
                speed = 0.0
            speeds.append(max(0.0, min(speed, 1.1 * (float(room[k]) - 1.5))))
        return speeds

    def _target_stands(self) -> bool:
        if self.stop_every_s <= 0:
            return False
        return self.time_s % self.stop_every_s > 0.6 * self.stop_every_s


def build_traffic(scenario: Scenario) -> Traffic:
    """Set out the target, the other vehicles and the people; all follows from the seed."""
    rng = np.random.default_rng(scenario.seed + 2)
    route = drive_route(rectangle((1, 2), (0, 2), clockwise=True))
    start_m = route.nearest_m(STREETS_M[1], 55.0)
    speed = scenario.target_speed_m_s
    actors = [Actor("target", scenario.target, True, route, start_m, speed)]
    if scenario.twin:
        actors.append(
            Actor("twin", scenario.target, True, route, start_m - 8.5, speed * 1.05, side_m=0.25)
        )
    for k in range(scenario.vehicles):
        model = str(rng.choice(_MODELS))
        look = f"{model}/{rng.choice(list(PAINTS))}"
        lane = drive_route(random_loop(rng))
        place = _free_place(rng, lane, actors)
        actors.append(Actor(f"car_{k + 1}", look, True, lane, place, float(rng.uniform(5, 10))))
    for k in range(scenario.pedestrians):
        column, row = (int(v) for v in rng.integers(0, len(STREETS_M) - 1, 2))
        path = walk_route(column, row, bool(rng.integers(2)))
        cloth = str(rng.choice(["white", "grey", "black", "blue", "red", "silver"]))
        place = float(rng.uniform(0, path.length_m))
        side = float(rng.uniform(-0.6, 0.6))
        walk = float(rng.uniform(1.1, 1.7))
        actors.append(Actor(f"person_{k + 1}", cloth, False, path, place, walk, side_m=side))
    return Traffic(actors, scenario.stop_every_s)


def _free_place(rng: np.random.Generator, route: Route, actors: list[Actor]) -> float:
    """Draw a place on the route that keeps 12 m from everybody, or the last of 30 draws."""
    place = 0.0
    for _ in range(30):
        place = float(rng.uniform(0, route.length_m))
        x, y, _ = route.at(place)
        if all(math.hypot(a.x_m - x, a.y_m - y) > 12 for a in actors):
            break
    return place
