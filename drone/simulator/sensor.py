"""From light to the numbers that a small night camera gives: exposure, smear, noise."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from drone.frame import Pixels
from drone.simulator.ground import MOST_LIGHT
from drone.simulator.scenarios import Scenario

_BANK = 4
_SLACK_PX = 64


class Sensor:
    """Turns square-root encoded light into BGR uint8 with noise.

    The square root makes shot noise alike at all brightnesses, so one bank of noise pictures,
    shifted differently for every frame, serves them all.
    """

    def __init__(self, scenario: Scenario) -> None:
        """Draw the noise bank."""
        rng = np.random.default_rng(scenario.seed + 3)
        self._seed = scenario.seed
        self._size = (scenario.width_px, scenario.height_px)
        self._alpha = 255.0 * float(np.sqrt(MOST_LIGHT * scenario.exposure)) / 65535.0
        shape = (scenario.height_px + _SLACK_PX, scenario.width_px + _SLACK_PX)
        self._bytes = np.zeros((scenario.height_px, scenario.width_px, 4), np.uint8)
        self._up: list[Pixels] = []
        self._down: list[Pixels] = []
        for _ in range(_BANK if scenario.noise > 0 else 0):
            noise = _noise(rng, shape) * np.float32(scenario.noise)
            self._up.append(np.clip(np.round(noise), 0, 255).astype(np.uint8))
            self._down.append(np.clip(np.round(-noise), 0, 255).astype(np.uint8))

    def expose(
        self, light: npt.NDArray[np.uint16], frame_number: int, smear_px: tuple[float, float]
    ) -> Pixels:
        """Give the frame (H, W, 3) BGR uint8 of encoded light (H, W, 4)."""
        cv2.convertScaleAbs(light, dst=self._bytes, alpha=self._alpha)
        image = cv2.cvtColor(self._bytes, cv2.COLOR_BGRA2BGR)
        kx, ky = (min(int(abs(s)), 31) for s in smear_px)
        if kx >= 2 or ky >= 2:
            image = cv2.blur(image, (max(kx, 1), max(ky, 1)))
        if self._up:
            # A hash of the number, so that a frame looks the same however it was reached.
            mixed = (frame_number * 2654435761 + self._seed * 97) & 0xFFFFFFFF
            k, dx, dy = mixed >> 8 & (_BANK - 1), mixed >> 12 & 63, mixed >> 20 & 63
            w, h = self._size
            view = (slice(dy, dy + h), slice(dx, dx + w))
            cv2.add(image, self._up[k][view], dst=image)
            cv2.subtract(image, self._down[k][view], dst=image)
        return np.asarray(image, np.uint8)


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Draw noise in grey levels: fine in brightness, coarser and bluish in colour."""
    fine = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 0.6)
    coarse = cv2.GaussianBlur(rng.standard_normal((*shape, 3), np.float32), (0, 0), 1.4)
    colour = coarse * np.array([7.5, 4.5, 6.0], np.float32)
    return np.asarray(3.4 * fine[..., None] + colour, np.float32)
