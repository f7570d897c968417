"""Heat maps: the score map stands where the network answered."""

from __future__ import annotations

import numpy as np
import pytest

from model.backend import Template
from model.config import TrackerConfig
from model.errors import InputError
from model.evaluation.sequences import Sequence
from model.geometry import Box
from model.training.heatmaps import Moment, draw_row, overlay, read_moment, score_map


class OneCell:
    """A backend whose second anchor answers in one cell."""

    name = "one cell"

    def __init__(self, row: int, col: int) -> None:
        self.config = TrackerConfig()
        self.cell = row, col
        self.crops = []

    def encode_template(self, z):
        self.crops.append(z)
        return Template(np.zeros((1, 1, 1, 1), np.float32), np.zeros((1, 1, 1, 1), np.float32))

    def predict(self, template, x):
        self.crops.append(x)
        cls = np.zeros((10, 21, 21), np.float32)
        cls[:5] = 8.0
        cls[6, self.cell[0], self.cell[1]] = 16.0
        return cls, np.zeros((20, 21, 21), np.float32)

    def close(self):
        """Nothing to free."""


class Frames:
    source = "memory"

    def __init__(self, images):
        self.images = images

    def __iter__(self):
        return iter(self.images)


@pytest.fixture
def moment():
    frame = np.full((240, 320, 3), 20, np.uint8)
    return Moment(frame, Box(100, 80, 40, 30), frame, Box(110, 85, 40, 30))


def test_the_score_is_that_of_the_best_anchor(moment):
    backend = OneCell(3, 17)
    crop, score = score_map(backend, moment)
    assert crop.shape == (287, 287, 3)
    assert np.unravel_index(score.argmax(), score.shape) == (3, 17)
    assert score.max() == pytest.approx(1 / (1 + np.exp(-8)), rel=1e-4)
    assert [c.shape[0] for c in backend.crops] == [127, 287]


def test_the_heat_lies_over_the_cell():
    score = np.zeros((21, 21), np.float32)
    score[3, 17] = 1.0
    crop = np.full((287, 287, 3), 90, np.uint8)
    red = overlay(crop, score, 8)[..., 2].astype(int) - overlay(crop, score * 0, 8)[..., 2]
    row, col = np.unravel_index(red.argmax(), red.shape)
    centre = (287 - 1) / 2
    assert abs(row - (centre + (3 - 10) * 8)) <= 6
    assert abs(col - (centre + (17 - 10) * 8)) <= 6


def test_a_row_shows_every_network(moment):
    row = draw_row({"teacher": OneCell(2, 2), "student": OneCell(10, 10)}, moment)
    assert row.shape[1] == 3 * (287 + 4)


def test_frames_are_read_with_the_first():
    images = [np.full((60, 80, 3), i, np.uint8) for i in range(3)]
    truth = np.array([[10, 10, 20, 20], [11, 10, 20, 20], [np.nan] * 4])
    video = Sequence("a", "set", Frames(images), truth)
    moment = read_moment(video, 1)
    assert moment.first[0, 0, 0] == 0
    assert moment.frame[0, 0, 0] == 1
    assert moment.box.x == 11
    with pytest.raises(InputError, match=r"expected 0\.\.2"):
        read_moment(video, 3)
    with pytest.raises(InputError, match="absent"):
        read_moment(video, 2)
