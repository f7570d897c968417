"""Pictures for the loopback ANAFI: each carries its number, so that a test knows what it sees."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

BLOCK_PX = 16
BITS = 16
# The number, then its complement: a picture damaged on the way does not read as another number.
WIDTH_NEEDED_PX = 2 * BITS * BLOCK_PX

Image = npt.NDArray[np.uint8]


def stamp(image: Image, number: int) -> None:
    """Write the low 16 bits of `number` into the top rows, as black and white blocks."""
    value = number & 0xFFFF
    value |= (~value & 0xFFFF) << BITS
    bits = np.array([value >> i & 1 for i in range(2 * BITS)], np.uint8) * 219 + 16
    image[:BLOCK_PX, :WIDTH_NEEDED_PX] = np.repeat(bits, BLOCK_PX)[None, :, None]


def read_number(image: Image) -> int | None:
    """Read what `stamp` wrote; None when the picture is damaged or carries no number."""
    middle = BLOCK_PX // 2
    row = image[middle, middle:WIDTH_NEEDED_PX:BLOCK_PX].mean(axis=1) > 128
    value = sum(int(bit) << i for i, bit in enumerate(row))
    number, complement = value & 0xFFFF, value >> BITS
    return number if number ^ complement == 0xFFFF else None


def numbered(width: int, height: int) -> Iterator[Image]:
    """A night scene that pans, each picture stamped with its number from 1 on."""
    rng = np.random.default_rng(1)
    cells = rng.integers(5, 60, (height // 24 + 2, (width + 512) // 24 + 2, 3), np.uint8)
    scene = np.kron(cells, np.ones((24, 24, 1), np.uint8))
    number = 0
    while True:
        number += 1
        offset = 2 * number % 256
        image = np.ascontiguousarray(scene[:height, offset : offset + width])
        stamp(image, number)
        yield image


def colours(width: int, height: int) -> Iterator[Image]:
    """Left half blue, right half red (BGR order), stamped: shows that no channel is swapped."""
    number = 0
    while True:
        number += 1
        image = np.zeros((height, width, 3), np.uint8)
        image[:, : width // 2, 0] = 220
        image[:, width // 2 :, 2] = 220
        stamp(image, number)
        yield image


def night(width: int, height: int) -> Iterator[Image]:
    """The night simulator, flown by its own pilot; stamped."""
    from drone.simulator import SCENARIOS, NightSimulator

    scenario = dataclasses.replace(SCENARIOS["default"], width_px=width, height_px=height)
    simulator = NightSimulator(scenario)
    number = 0
    while True:
        number += 1
        image = simulator.step().image.copy()
        stamp(image, number)
        yield image


def pictures_of(spec: str, width: int, height: int) -> Iterator[Image]:
    """Call `package.module:function(width, height)`: any iterator of BGR pictures will do."""
    module, _, function = spec.partition(":")
    made: Iterator[Image] = getattr(importlib.import_module(module), function)(width, height)
    return made


TARGET = (0.66, 0.42, 0.11, 0.13)
"""x, y, w, h of the car in `parked`, shares of the picture's sides."""


def parked(width: int, height: int) -> Iterator[Image]:
    """A car under a lamp, right of the middle, that stands still; stamped, with sensor noise."""
    rng = np.random.default_rng(2)
    scene = np.full((height, width, 3), 18, np.uint8)
    scene[::24] = 26
    x, y = round(TARGET[0] * width), round(TARGET[1] * height)
    w, h = round(TARGET[2] * width), round(TARGET[3] * height)
    scene[y : y + h, x : x + w] = (70, 90, 120)
    scene[y : y + h // 3, x + w // 4 : x + 3 * w // 4] = (150, 140, 110)
    scene[y + 2 * h // 3 : y + h, x : x + w // 6] = (40, 40, 230)
    scene[y + 2 * h // 3 : y + h, x + w - w // 6 : x + w] = (235, 240, 240)
    number = 0
    while True:
        number += 1
        noise = rng.integers(0, 6, scene.shape, np.uint8)
        image = scene + noise
        stamp(image, number)
        yield image
