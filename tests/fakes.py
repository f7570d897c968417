"""Fakes of the contracts: source, backend, control and clock."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np

from drone.control import RateCommand
from drone.errors import FrameTimeoutError, SourceError
from drone.frame import Frame, TruthBox
from model.anchors import make_anchors
from model.backend import Template
from model.config import TrackerConfig
from model.errors import BackendError
from model.geometry import Float, Image

NS = 1_000_000_000


class FakeClock:
    """A clock that moves only when told."""

    def __init__(self, now_ns: int = 10 * NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS)


def draw_scene(
    cx: float, cy: float, size: tuple[int, int] = (320, 240), side: int = 24, visible: bool = True
) -> Image:
    """A dark picture with one bright square around (cx, cy)."""
    width, height = size
    image = np.full((height, width, 3), 20, np.uint8)
    if visible:
        x, y = round(cx - side / 2), round(cy - side / 2)
        cv2.rectangle(image, (x, y), (x + side - 1, y + side - 1), (230, 240, 250), -1)
    return image


def make_frame(
    number: int,
    captured_ns: int = 0,
    at: tuple[float, float] = (160, 120),
    size: tuple[int, int] = (320, 240),
    visible: bool = True,
) -> Frame:
    """A numbered frame of the scene, with the truth of target `square`."""
    truth: dict[str, TruthBox | None] = {
        "square": (at[0] - 12, at[1] - 12, 24, 24) if visible else None
    }
    image = draw_scene(*at, size=size, visible=visible)
    return Frame(number, image, captured_ns, truth=truth)


class QueueSource:
    """Delivers what the test pushes, in order: frames, errors, or None for the end."""

    def __init__(self, live: bool = False, name: str = "queue") -> None:
        self.name = name
        self.live = live
        self.items: queue.Queue[Frame | Exception | None] = queue.Queue()
        self.opened = 0
        self.closed = 0
        self.open_error: Exception | None = None

    def push(self, *items: Frame | Exception | None) -> None:
        for item in items:
            self.items.put(item)

    def open(self) -> None:
        self.opened += 1
        if self.open_error is not None:
            raise self.open_error

    def read(self, timeout_s: float) -> Frame | None:
        try:
            item = self.items.get(timeout=min(timeout_s, 0.02))
        except queue.Empty:
            raise FrameTimeoutError("queue: no frame") from None
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        self.closed += 1


class MovingSource:
    """A live source of a square that circles; newest wins; can be frozen."""

    def __init__(self, fps: float = 60.0, size: tuple[int, int] = (320, 240)) -> None:
        self.name = "moving"
        self.live = True
        self.frozen = threading.Event()
        self.broken = threading.Event()
        self._period_s = 1 / fps
        self._size = size
        self._began = time.monotonic()
        self._number = -1

    def open(self) -> None:
        self._began = time.monotonic() - (self._number + 1) * self._period_s

    def place(self, number: int) -> tuple[float, float]:
        width, height = self._size
        angle = number * self._period_s * 0.8
        return width / 2 + 0.25 * width * np.cos(angle), height / 2 + 0.25 * height * np.sin(angle)

    def read(self, timeout_s: float) -> Frame | None:
        if self.broken.is_set():
            raise SourceError("moving: unplugged")
        if self.frozen.is_set():
            time.sleep(timeout_s)
            raise FrameTimeoutError("moving: frozen")
        now = time.monotonic()
        number = max(self._number + 1, int((now - self._began) / self._period_s))
        wait_s = self._began + number * self._period_s - now
        if wait_s > 0:
            time.sleep(wait_s)
        self._number = number
        return make_frame(number, time.monotonic_ns(), self.place(number), self._size)

    def close(self) -> None:
        pass


class BrightnessBackend:
    """Scores each anchor by the brightness under its centre: tracks a bright square for real.

    `failure` raises, and `poison` makes it answer NaN.
    """

    def __init__(self) -> None:
        self.name = "fake (brightness)"
        self.config = TrackerConfig()
        self.failure: str | None = None
        self.poison = False
        self.calls = 0
        self.closed = 0
        self.before_predict: Callable[[], None] | None = None
        self.before_encode: Callable[[], None] | None = None
        anchors = make_anchors(self.config)
        side = self.config.search_px
        self._columns = np.clip(anchors[:, 0] + side / 2, 0, side - 1).astype(int)
        self._rows = np.clip(anchors[:, 1] + side / 2, 0, side - 1).astype(int)
        square = self.config.anchor_ratios.index(1.0)
        self._square = np.zeros(len(anchors), bool)
        per = len(anchors) // self.config.anchors_per_cell
        self._square[square * per : (square + 1) * per] = True

    def encode_template(self, z: Image) -> Template:
        if self.before_encode is not None:
            self.before_encode()
        if self.failure:
            raise BackendError(self.failure)
        empty = np.zeros((1, 1, 1, 1), np.float32)
        return Template(empty, empty)

    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        self.calls += 1
        if self.before_predict is not None:
            self.before_predict()
        if self.failure:
            raise BackendError(self.failure)
        grey = cv2.blur(cv2.cvtColor(x, cv2.COLOR_BGR2GRAY), (63, 63)).astype(np.float32)
        brightness = grey[self._rows, self._columns] / 255.0
        logit = np.where(self._square, 16.0 * brightness - 10.0, -10.0).astype(np.float32)
        count = len(logit)
        cls = np.stack([np.zeros(count, np.float32), logit])
        if self.poison:
            cls[1, 7] = np.nan
        loc = np.zeros((4, count), np.float32)
        size = self.config.score_size
        k = self.config.anchors_per_cell
        return cls.reshape(2 * k, size, size), loc.reshape(4 * k, size, size)

    def close(self) -> None:
        self.closed += 1


class FakeControl:
    """Remembers what was commanded."""

    def __init__(self) -> None:
        self.expiry_s = 0.2
        self.sent: list[RateCommand] = []
        self.neutrals = 0

    def send(self, command: RateCommand) -> None:
        self.sent.append(command)

    def neutral(self) -> None:
        self.neutrals += 1
