"""What stands in the night world: lamps, buildings, trees, parked cars; all from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drone.simulator.scenarios import Scenario
from drone.simulator.sprites import CAR_MODELS, PAINTS
from drone.simulator.streets import ROAD_HALF_M, SIDEWALK_M, STREETS_M, WORLD_M

Colour = tuple[float, float, float]
"""Linear B, G, R."""

SODIUM: Colour = (0.16, 0.52, 1.0)
LED: Colour = (0.92, 0.98, 0.95)
WARM: Colour = (0.35, 0.72, 1.0)
_KERB_M = ROAD_HALF_M + SIDEWALK_M


@dataclass(frozen=True)
class Lamp:
    """A street lamp; `along_x` tells the direction of its street."""

    x_m: float
    y_m: float
    height_m: float
    colour: Colour
    power: float
    along_x: bool


@dataclass(frozen=True)
class Window:
    """A lit window: side 0 … 3 (south, east, north, west), span along the side, m, and light."""

    side: int
    start_m: float
    end_m: float
    bottom_m: float
    top_m: float
    light: Colour


@dataclass(frozen=True)
class Building:
    """An upright box."""

    x0_m: float
    y0_m: float
    x1_m: float
    y1_m: float
    height_m: float
    albedo: float
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Tree:
    """A crown on a trunk; `street` trees overhang the road and hide what drives under them."""

    x_m: float
    y_m: float
    radius_m: float
    height_m: float
    look: int


@dataclass(frozen=True)
class ParkedCar:
    """A car at the kerb; heading in radians clockwise from north."""

    x_m: float
    y_m: float
    heading: float
    model: str
    paint: str


@dataclass(frozen=True)
class World:
    """Everything that does not move."""

    lamps: tuple[Lamp, ...]
    buildings: tuple[Building, ...]
    street_trees: tuple[Tree, ...]
    garden_trees: tuple[Tree, ...]
    parked: tuple[ParkedCar, ...]


def build_world(scenario: Scenario) -> World:
    """Lay the world out; the same scenario gives the same world."""
    rng = np.random.default_rng(scenario.seed)
    lamps = _lamps(rng)
    buildings, garden_trees = _blocks(rng)
    return World(
        lamps=tuple(lamps),
        buildings=tuple(buildings),
        street_trees=tuple(_street_trees(rng, scenario)),
        garden_trees=tuple(garden_trees),
        parked=tuple(_parked(rng)),
    )


def _near_crossing(along_m: float, clear_m: float) -> bool:
    return any(abs(along_m - s) < clear_m for s in STREETS_M)


def _lamps(rng: np.random.Generator) -> list[Lamp]:
    lamps = []
    for along_x in (False, True):
        for street in STREETS_M:
            colour = SODIUM if rng.random() < 0.55 else LED
            for k, along in enumerate(np.arange(10.0, WORLD_M - 5, 25.0)):
                if rng.random() < 0.1:
                    continue  # out of order
                side = (1 if k % 2 else -1) * (ROAD_HALF_M + 0.5)
                place = float(along) + float(rng.uniform(-1, 1))
                if _near_crossing(place, ROAD_HALF_M + 1):
                    continue
                x, y = (place, street + side) if along_x else (street + side, place)
                power = float(rng.uniform(0.75, 1.2))
                lamps.append(Lamp(x, y, 7.5, colour, power, along_x))
    return lamps


def _street_trees(rng: np.random.Generator, scenario: Scenario) -> list[Tree]:
    trees = []
    for along_x in (False, True):
        for street in STREETS_M:
            for sign in (-1, 1):
                start = float(rng.uniform(6, 6 + scenario.tree_gap_m))
                for along in np.arange(start, WORLD_M - 4, scenario.tree_gap_m):
                    if _near_crossing(float(along), 11.0) or rng.random() < 0.25:
                        continue
                    across = street + sign * (ROAD_HALF_M + 1.1 + rng.uniform(-0.3, 0.3))
                    x, y = (float(along), across) if along_x else (across, float(along))
                    radius = scenario.tree_radius_m * float(rng.uniform(0.8, 1.25))
                    height = 3.0 + 0.9 * radius + float(rng.uniform(-0.4, 0.6))
                    trees.append(Tree(x, y, radius, height, int(rng.integers(6))))
    return trees


def _blocks(rng: np.random.Generator) -> tuple[list[Building], list[Tree]]:
    edges = [0.0, *STREETS_M, WORLD_M]
    buildings: list[Building] = []
    trees: list[Tree] = []
    for i in range(len(edges) - 1):
        for j in range(len(edges) - 1):
            x0 = edges[i] + (_KERB_M if i else 1.0)
            x1 = edges[i + 1] - (_KERB_M if i < len(STREETS_M) else 1.0)
            y0 = edges[j] + (_KERB_M if j else 1.0)
            y1 = edges[j + 1] - (_KERB_M if j < len(STREETS_M) else 1.0)
            built, green = _fill_block(rng, x0, y0, x1, y1)
            buildings += built
            trees += green
    return buildings, trees


def _fill_block(
    rng: np.random.Generator, x0: float, y0: float, x1: float, y1: float
) -> tuple[list[Building], list[Tree]]:
    """Divide a block into lots of about 20 m; a lot holds a building, a garden or nothing."""
    buildings: list[Building] = []
    trees: list[Tree] = []
    columns, rows = max(1, round((x1 - x0) / 21)), max(1, round((y1 - y0) / 21))
    w, h = (x1 - x0) / columns, (y1 - y0) / rows
    for i in range(columns):
        for j in range(rows):
            lx, ly = x0 + i * w, y0 + j * h
            kind = rng.random()
            if kind < 0.5:
                buildings.append(_building(rng, lx, ly, w, h))
            elif kind < 0.8:
                for _ in range(int(rng.integers(2, 7))):
                    r = float(rng.uniform(1.4, 3.2))
                    x, y = lx + rng.uniform(r, w - r), ly + rng.uniform(r, h - r)
                    trees.append(Tree(float(x), float(y), r, 5.0, int(rng.integers(6))))
    return buildings, trees


def _building(rng: np.random.Generator, lx: float, ly: float, w: float, h: float) -> Building:
    gaps = rng.uniform(1.2, 3.5, 4)
    x0, y0, x1, y1 = lx + gaps[0], ly + gaps[1], lx + w - gaps[2], ly + h - gaps[3]
    floors = int(rng.integers(1, 4))
    height = 3.1 * floors + 0.8
    shop = rng.random() < 0.3
    windows = []
    for side, length in enumerate((x1 - x0, y1 - y0, x1 - x0, y1 - y0)):
        for floor in range(floors):
            for start in np.arange(1.0, length - 1.6, 2.4):
                bright = shop and floor == 0
                if rng.random() > (0.55 if bright else 0.14):
                    continue
                tint = np.array(WARM if rng.random() < 0.7 else LED)
                light = tint * rng.uniform(0.25, 0.9) * (1.4 if bright else 0.5)
                bottom = 3.1 * floor + (0.3 if bright else 1.0)
                windows.append(
                    Window(
                        side,
                        float(start),
                        float(start) + (2.0 if bright else 1.2),
                        bottom,
                        bottom + (2.2 if bright else 1.3),
                        (float(light[0]), float(light[1]), float(light[2])),
                    )
                )
    albedo = float(rng.uniform(0.05, 0.16))
    return Building(float(x0), float(y0), float(x1), float(y1), height, albedo, tuple(windows))


def _parked(rng: np.random.Generator) -> list[ParkedCar]:
    cars = []
    models = [m for m in CAR_MODELS if m not in ("bus", "truck")]
    for along_x in (False, True):
        for street in STREETS_M:
            for sign in (-1, 1):
                for along in np.arange(8.0, WORLD_M - 6, 6.4):
                    if _near_crossing(float(along), 12.0) or rng.random() > 0.28:
                        continue
                    across = street + sign * (ROAD_HALF_M - 0.75)
                    x, y = (float(along), across) if along_x else (across, float(along))
                    heading = (np.pi / 2 if along_x else 0.0) + (np.pi if sign < 0 else 0.0)
                    heading += float(rng.normal(0, 0.02))
                    cars.append(
                        ParkedCar(
                            x,
                            y,
                            heading,
                            str(rng.choice(models)),
                            str(rng.choice(list(PAINTS))),
                        )
                    )
    return cars
