from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.backend import Template
from model.config import TrackerConfig
from model.crop import Colour
from model.errors import ConfigError
from model.flow import LOOSENESS_RATE, LOOSEST, MOST_GROWTH, REST, RIGID, first_patch, follow, renew
from model.geometry import Box, Float, Image, centre_error_px, iou
from model.tracker import Tracker
from tests.model.test_scale import overlap_after
from tests.model.test_tracker import CorrelationBackend, scene

CONFIG = TrackerConfig(flow_looseness=0.02, flow_centre=0.7)
BLACK: Colour = (0.0, 0.0, 0.0)
BOX = Box(120, 90, 80, 60)


def texture(grey: float = 1.0, seed: int = 3) -> Image:
    """A picture with something to hold on to everywhere; `grey` darkens it."""
    coarse = np.random.default_rng(seed).integers(0, 255, (40, 54, 3), np.uint8)
    large = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(large * grey, 0, 255), np.uint8)


def moved(image: Image, factor: float, dx: float, dy: float) -> Image:
    """The picture grown about the middle of `BOX`, then shifted, px."""
    matrix = np.array(
        [
            [factor, 0.0, BOX.cx * (1 - factor) + dx],
            [0.0, factor, BOX.cy * (1 - factor) + dy],
        ]
    )
    return np.asarray(cv2.warpAffine(image, matrix, (320, 240)), np.uint8)


@pytest.mark.parametrize("grey", [1.0, 0.06], ids=["by day", "in the dark"])
@pytest.mark.parametrize(("factor", "dx", "dy"), [(1.03, 0, 0), (0.97, 4, -3), (1.0, -6, 5)])
def test_growth_and_shift_are_measured(grey: float, factor: float, dx: float, dy: float) -> None:
    before = texture(grey)
    last = first_patch(before, BOX, BLACK)
    # The network saw no movement: the flow says where the target went.
    now, motion = follow(last, BOX, BOX, moved(before, factor, dx, dy), BLACK, CONFIG)
    assert motion.trust > 0.7
    assert math.log(motion.factor) / motion.trust == pytest.approx(math.log(factor), abs=0.004)
    assert motion.shift_x / motion.trust == pytest.approx(dx, abs=0.5)
    assert motion.shift_y / motion.trust == pytest.approx(dy, abs=0.5)
    assert motion.rest == pytest.approx(1 - motion.trust * (1 - REST))
    assert now.looseness < RIGID  # a rigid target: looser was assumed of one not known yet


def test_a_lamp_that_is_switched_on_moves_nothing() -> None:
    last = first_patch(texture(0.2), BOX, BLACK)
    _, motion = follow(last, BOX, BOX, texture(0.9), BLACK, CONFIG)
    assert motion.trust > 0.7
    assert motion.factor == pytest.approx(1.0, abs=0.003)
    assert math.hypot(motion.shift_x, motion.shift_y) < 0.3


def test_a_target_between_patch_and_box_is_found() -> None:
    before = texture()
    aside = first_patch(before, BOX._replace(x=BOX.x - 5), BLACK)
    here = BOX._replace(x=BOX.x + 3)
    _, motion = follow(aside, BOX, here, before, BLACK, CONFIG)
    assert motion.shift_x / motion.trust == pytest.approx(-3.0, abs=0.5)


def test_another_picture_tells_nothing_and_costs_trust() -> None:
    last = first_patch(texture(), BOX, BLACK)
    now, motion = follow(last, BOX, BOX, texture(seed=4), BLACK, CONFIG)
    assert (motion.factor, motion.shift_x, motion.shift_y, motion.trust) == (1.0, 0.0, 0.0, 0.0)
    assert motion.rest == 1.0
    assert now.looseness == pytest.approx(RIGID + LOOSENESS_RATE * (LOOSEST - RIGID))


def test_what_does_not_move_as_one_is_trusted_less() -> None:
    """Three parts of the target slide along each other, as arms and legs do."""
    before = texture()
    image = np.roll(before, 3, axis=1)
    middle = slice(int(BOX.y) + 20, int(BOX.y) + 40)
    image[middle] = np.roll(before[middle], -3, axis=1)
    loose, rigid = first_patch(before, BOX, BLACK), first_patch(before, BOX, BLACK)
    for _ in range(20):
        loose, slid = follow(replace(loose, grey=rigid.grey), BOX, BOX, image, BLACK, CONFIG)
        rigid, still = follow(rigid, BOX, BOX, before, BLACK, CONFIG)
    assert loose.looseness > 3 * rigid.looseness
    assert 0 < slid.trust < 0.6 * still.trust


def test_a_frame_changes_the_size_by_so_much_at_most() -> None:
    before = texture()
    last = first_patch(before, BOX, BLACK)
    _, motion = follow(last, BOX, BOX, moved(before, 1.12, 0, 0), BLACK, CONFIG)
    assert motion.trust > 0.5
    assert motion.factor == pytest.approx((1 + MOST_GROWTH) ** motion.trust)


def test_a_patch_that_was_outgrown_is_cut_anew() -> None:
    image = texture()
    last = replace(first_patch(image, BOX, BLACK), looseness=0.02)
    assert renew(last, BOX.grown(1.1), image, BLACK) is last
    for factor in (1.2, 0.8):
        new = renew(last, BOX.grown(factor), image, BLACK)
        assert new.region.side == pytest.approx(last.region.side * factor, abs=1)
        assert new.looseness == 0.02


def test_a_target_that_grows_is_followed_where_the_network_always_answers_one_size() -> None:
    assert overlap_after(TrackerConfig(size_lr=0.1)) < 0.55
    assert overlap_after(TrackerConfig(size_lr=0.1, flow_looseness=0.02)) > 0.75


class DrawnBackend(CorrelationBackend):
    """Its answers are drawn away from the target while `away` is set."""

    away = False

    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        cls, loc = super().predict(template, x)
        if self.away:
            loc[:5] = 0.1
        return cls, loc


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 2.2, 4.0), (0.8, 0.0, 1.2)])
def test_the_flow_holds_the_centre_against_answers_that_drift(
    share: float, least: float, most: float
) -> None:
    backend = DrawnBackend()
    tracker = Tracker(backend, TrackerConfig(flow_looseness=0.02, flow_centre=share))
    truth = Box(80, 80, 40, 40)
    state = tracker.init(scene(100, 100), truth)
    for step in range(12):
        backend.away = step >= 10
        state, _ = tracker.update(state, scene(100, 100))
    assert least < centre_error_px(state.box, truth) < most


def test_a_search_elsewhere_begins_a_new_comparison() -> None:
    tracker = Tracker(CorrelationBackend(), CONFIG)
    state = tracker.init(scene(100, 100), Box(80, 80, 40, 40))
    assert state.flow is not None
    found, _ = tracker.search(state, scene(150, 100), 150, 100)
    assert found.flow is None
    state, _ = tracker.update(found, scene(150, 100))
    assert state.flow is not None
    assert iou(state.box, Box(130, 80, 40, 40)) > 0.6


def test_without_it_nothing_is_compared() -> None:
    tracker = Tracker(CorrelationBackend(), TrackerConfig())
    state = tracker.init(scene(100, 100), Box(80, 80, 40, 40))
    state, _ = tracker.update(state, scene(102, 100))
    assert state.flow is None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"flow_looseness": -0.1}, "flow_looseness is -0.1: expected a number of 0 or above"),
        ({"flow_looseness": 0.02, "flow_centre": 1.5}, "flow_centre is 1.5: expected 0..1"),
        ({"flow_centre": 0.5}, "flow_centre is 0.5: expected 0 where flow_looseness is 0"),
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        TrackerConfig.from_mapping(wrong)
