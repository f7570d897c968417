from __future__ import annotations

import cv2
import numpy as np
import pytest

from model.backend import Template
from model.calibration import Calibration, calibrate
from model.config import TrackerConfig
from model.errors import BackendError, BoxError, ShapeError
from model.geometry import Box, Float, Image, iou
from model.tracker import Tracker


class CorrelationBackend:
    """Finds the template by normalised cross-correlation: a real, weightless engine."""

    name = "correlation"

    def __init__(self) -> None:
        self.config = TrackerConfig()
        self.broken = False
        self.searches: list[Image] = []

    def encode_template(self, z: Image) -> Template:
        # The middle of the template crop is the target itself without its context.
        middle = z[32:95, 32:95].astype(np.float32)[None]
        return Template(middle, middle)

    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        self.searches.append(x.copy())
        target = template.kernel_cls[0].astype(np.uint8)
        match = cv2.matchTemplate(x, target, cv2.TM_CCOEFF_NORMED)
        half = (x.shape[0] - match.shape[0]) / 2
        centres = (x.shape[0] / 2 - half + (np.arange(21) - 10) * 8).round().astype(int)
        cls = np.full((10, 21, 21), -4, np.float32)
        cls[7] = 12 * match[np.ix_(centres, centres)] - 4
        cls[:5] = 0
        loc = np.zeros((20, 21, 21), np.float32)
        if self.broken:
            cls[:] = np.nan
        return cls, loc

    def close(self) -> None:
        pass


class WideBackend(CorrelationBackend):
    """Answers every box 1.4 times too wide; sees the target in a corner when told to."""

    def __init__(self, shape_calibration: float, elsewhere: bool = False) -> None:
        super().__init__()
        self.config = TrackerConfig(shape_calibration=shape_calibration)
        self._elsewhere = elsewhere

    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        cls, loc = super().predict(template, x)
        loc[10:15] = np.log(1.4)
        if self._elsewhere:
            cls[7] = -8.0
            cls[7, 2, 2] = 8.0
        return cls, loc


def scene(cx: int, cy: int, size: tuple[int, int] = (240, 320)) -> Image:
    rng = np.random.default_rng(1)
    image = rng.integers(20, 60, (*size, 3), np.uint8)
    patch = rng.integers(60, 255, (8, 8, 3), np.uint8)
    sprite = cv2.resize(patch, (40, 40), interpolation=cv2.INTER_NEAREST)
    image[cy - 20 : cy + 20, cx - 20 : cx + 20] = sprite
    return image


def test_a_moving_target_is_followed() -> None:
    tracker = Tracker(CorrelationBackend())
    state = tracker.init(scene(100, 100), Box(80, 80, 40, 40))
    for step in range(1, 25):
        cx, cy = 100 + 6 * step, 100 + 2 * step
        state, result = tracker.update(state, scene(cx, cy))
        assert iou(result.box, Box(cx - 20, cy - 20, 40, 40)) > 0.6
        assert result.box == state.box


def followed_width_px(power: float) -> float:
    tracker = Tracker(WideBackend(power))
    state = tracker.init(scene(100, 100), Box(80, 80, 40, 40))
    fit = state.calibration
    assert (fit.grow_x, fit.grow_y) == pytest.approx((1.4**-power, 1.0), abs=0.02)
    for step in range(1, 30):
        state, _ = tracker.update(state, scene(100 + step, 100))
    assert state.box.h == pytest.approx(40.0, abs=8.0)
    return state.box.w


def test_the_first_frame_tells_how_much_too_wide_the_network_answers() -> None:
    never, half, wholly = (followed_width_px(power) for power in (0.0, 0.5, 1.0))
    assert never > 56 > half > 44 > wholly
    assert wholly == pytest.approx(40.0, abs=1.5)


def test_an_answer_elsewhere_on_the_first_frame_corrects_nothing() -> None:
    tracker = Tracker(WideBackend(1.0, elsewhere=True))
    assert tracker.init(scene(100, 100), Box(80, 80, 40, 40)).calibration == Calibration()


class BesideBackend(CorrelationBackend):
    """Answers every box a quarter of the anchor's width too far to the right."""

    def __init__(self, centre_calibration: float) -> None:
        super().__init__()
        self.config = TrackerConfig(centre_calibration=centre_calibration)

    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        cls, loc = super().predict(template, x)
        loc[:5] = 0.25
        return cls, loc


def followed_error_px(share: float) -> float:
    tracker = Tracker(BesideBackend(share))
    state = tracker.init(scene(100, 100), Box(80, 80, 40, 40))
    for step in range(1, 20):
        state, _ = tracker.update(state, scene(100 + step, 100))
    assert state.box.cy == pytest.approx(100.0, abs=3.0)
    return state.box.cx - 119.0


def test_the_first_frame_tells_how_far_beside_the_network_answers() -> None:
    never, half, wholly = (followed_error_px(share) for share in (0.0, 0.5, 1.0))
    assert never > 6 > half > 3 > abs(wholly)


def test_a_calibration_moves_in_boxes_and_grows_by_a_power() -> None:
    config = TrackerConfig(shape_calibration=0.5, centre_calibration=0.5)
    fit = calibrate(Box(104, 96, 56, 40), Box(100, 100, 40, 40), config)
    assert fit.grow_x == pytest.approx((40 / 56) ** 0.5)
    assert fit.grow_y == 1.0
    assert (fit.shift_x, fit.shift_y) == pytest.approx((-12 / 40 / 2, 4 / 40 / 2))


def test_states_are_values_so_two_targets_share_a_tracker() -> None:
    tracker = Tracker(CorrelationBackend())
    image = scene(100, 100)
    first = tracker.init(image, Box(80, 80, 40, 40))
    before = first
    second = tracker.init(image, Box(200, 30, 40, 40))
    moved, _ = tracker.update(first, scene(110, 100))
    assert moved.box != first.box
    assert first is before
    assert second.box == Box(200, 30, 40, 40)


def test_a_found_target_far_away_is_reached_by_search_but_not_by_update() -> None:
    tracker = Tracker(CorrelationBackend())
    state = tracker.init(scene(60, 60), Box(40, 40, 40, 40))
    image = scene(260, 180)
    _, near = tracker.update(state, image)
    found, result = tracker.search(state, image, 255, 175)
    truth = Box(240, 160, 40, 40)
    assert iou(near.box, truth) == 0
    assert iou(result.box, truth) > 0.6
    assert found.box == result.box
    assert result.score > near.score


def test_the_centre_stays_in_the_frame_and_the_size_within_bounds() -> None:
    tracker = Tracker(CorrelationBackend())
    state = tracker.init(scene(60, 60), Box(0, 0, 319, 239))
    state, result = tracker.update(state, scene(200, 100))
    assert 0 <= result.box.cx <= 320
    assert 0 <= result.box.cy <= 240
    assert result.box.w <= 320
    tiny = tracker.init(scene(60, 60), Box(50, 50, 5, 5))
    _, result = tracker.update(tiny, scene(60, 60))
    assert min(result.box.w, result.box.h) >= 10


def test_a_refused_frame_leaves_the_state_good() -> None:
    backend = CorrelationBackend()
    tracker = Tracker(backend)
    state = tracker.init(scene(100, 100), Box(80, 80, 40, 40))
    backend.broken = True
    with pytest.raises(BackendError):
        tracker.update(state, scene(104, 100))
    backend.broken = False
    _, result = tracker.update(state, scene(104, 100))
    assert iou(result.box, Box(84, 80, 40, 40)) > 0.6


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_another_kind_of_image_is_refused(image: Image) -> None:
    tracker = Tracker(CorrelationBackend())
    with pytest.raises(ShapeError, match="expected"):
        tracker.init(image, Box(0, 0, 8, 8))


def test_a_box_that_is_no_target_is_refused() -> None:
    with pytest.raises(BoxError):
        Tracker(CorrelationBackend()).init(scene(100, 100), Box(400, 0, 20, 20))


def test_the_search_region_is_what_the_engine_sees() -> None:
    backend = CorrelationBackend()
    tracker = Tracker(backend)
    image = scene(160, 120)
    state = tracker.init(image, Box(140, 100, 40, 40))
    _, result = tracker.update(state, image)
    x, y, side = result.region
    expected = cv2.resize(image[y : y + side, x : x + side], (287, 287))
    assert np.array_equal(backend.searches[-1], expected)
