from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.backend import Template
from model.config import TrackerConfig
from model.errors import ConfigError
from model.geometry import Box, Image, iou
from model.memory import Memory, is_due, look_otherwise, take_in
from model.tracker import Tracker
from tests.model.test_tracker import CorrelationBackend

CONFIG = TrackerConfig(template_memory=0.5, memory_rate=0.25, memory_frames=3, memory_score=0.8)
BOX = Box(10, 10, 40, 40)
SIZE = (320, 240)


def template(value: float) -> Template:
    return Template(np.full((1, 2, 3, 3), value, np.float32), np.full((1, 2, 3, 3), -value, "f4"))


def test_half_of_the_first_frame_stays_whatever_is_learned() -> None:
    memory, used = take_in(Memory(template(0.0)), template(8.0), CONFIG)
    assert used.kernel_cls[0, 0, 0, 0] == 4.0
    assert used.kernel_loc[0, 0, 0, 0] == -4.0
    memory, used = take_in(memory, template(16.0), CONFIG)
    # lately is 8 · 0.75 + 16 · 0.25
    assert used.kernel_cls[0, 0, 0, 0] == 5.0
    for _ in range(100):
        memory, used = take_in(memory, template(16.0), CONFIG)
    assert used.kernel_cls[0, 0, 0, 0] == pytest.approx(8.0)
    assert used.kernel_cls.dtype == np.float32
    assert memory.first.kernel_cls.max() == 0.0


@pytest.mark.parametrize(
    ("box", "score", "frames", "due"),
    [
        (BOX, 0.8, 3, True),
        (BOX, 0.79, 3, False),
        (BOX, 1.0, 2, False),
        (Box(-1, 10, 40, 40), 1.0, 9, False),
        (Box(290, 10, 40, 40), 1.0, 9, False),
        (Box(10, 201, 40, 40), 1.0, 9, False),
    ],
)
def test_only_sure_answers_inside_the_frame_are_learned(
    box: Box, score: float, frames: int, due: bool
) -> None:
    assert is_due(Memory(template(0.0), None, frames), box, score, SIZE, CONFIG) is due


def test_a_search_looks_for_the_mixture_the_late_look_and_the_first_by_turns() -> None:
    memory, mixed = take_in(Memory(template(0.0)), template(8.0), CONFIG)
    looks = [mixed.kernel_cls.max()]
    for _ in range(3):
        memory, used = look_otherwise(memory, CONFIG)
        looks.append(used.kernel_cls.max())
    assert looks == [4.0, 8.0, 0.0, 4.0]


def test_before_anything_was_learned_there_is_only_the_first_look() -> None:
    first = template(2.0)
    assert look_otherwise(Memory(first), CONFIG)[1] is first
    tracker = Tracker(CorrelationBackend())
    state = tracker.init(*changing_scene(0))
    assert tracker.look_otherwise(state) is state


def changing_scene(step: int) -> tuple[Image, Box]:
    """A target whose pattern turns into another one over 60 frames, while it moves."""
    rng = np.random.default_rng(1)
    image = rng.integers(20, 60, (240, 320, 3), np.uint8)
    first, last = (rng.integers(60, 255, (8, 8, 3)).astype(np.float32) for _ in range(2))
    share = min(step / 60, 1.0)
    patch = ((1 - share) * first + share * last).astype(np.uint8)
    cx = 60 + 2 * step
    image[80:120, cx - 20 : cx + 20] = cv2.resize(patch, (40, 40), interpolation=0)
    return image, Box(cx - 20, 80, 40, 40)


def followed(config: TrackerConfig) -> tuple[float, float]:
    """Score and IoU at the end of the changing scene."""
    backend = CorrelationBackend()
    tracker = Tracker(backend, config)
    state = tracker.init(*changing_scene(0))
    for step in range(1, 90):
        image, truth = changing_scene(step)
        state, result = tracker.update(state, image)
    return result.score, iou(result.box, truth)


def test_a_target_that_changes_is_held_by_what_was_learned() -> None:
    score, overlap = followed(CONFIG)
    assert score > 0.9
    assert overlap > 0.5
    published, _ = followed(replace(CONFIG, template_memory=0.0))
    assert published < score - 0.1


def test_a_state_that_was_kept_does_not_learn_with_its_successors() -> None:
    tracker = Tracker(CorrelationBackend(), replace(CONFIG, memory_frames=1))
    kept = state = tracker.init(*changing_scene(0))
    for step in range(1, 20):
        state, _ = tracker.update(state, changing_scene(step)[0])
    assert kept.memory is not None
    assert state.memory is not None
    assert state.memory.first is kept.template
    assert kept.memory.lately is None
    assert not np.array_equal(kept.template.kernel_cls, state.template.kernel_cls)


def test_an_answer_does_not_learn_and_an_update_is_both() -> None:
    tracker = Tracker(CorrelationBackend(), replace(CONFIG, memory_frames=1, memory_score=0.0))
    start = tracker.init(*changing_scene(0))
    image = changing_scene(1)[0]
    answered, result = tracker.answer(start, image)
    assert answered.template is start.template
    learned = tracker.learn(answered, result.score, image)
    assert not np.array_equal(learned.template.kernel_cls, start.template.kernel_cls)
    updated, same = tracker.update(start, image)
    assert same == result
    assert np.array_equal(updated.template.kernel_cls, learned.template.kernel_cls)


def test_without_memory_the_first_frame_s_template_is_used_for_ever() -> None:
    tracker = Tracker(CorrelationBackend())
    first = state = tracker.init(*changing_scene(0))
    for step in range(1, 20):
        state, _ = tracker.update(state, changing_scene(step)[0])
    assert state.template is first.template


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"template_memory": 1.0}, "template_memory is 1.0: expected 0 or above and below 1"),
        ({"memory_rate": 1.5}, "memory_rate is 1.5"),
        ({"memory_score": -0.1}, "memory_score is -0.1"),
        ({"memory_frames": 0}, "memory_frames is 0"),
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        TrackerConfig.from_mapping(wrong)
