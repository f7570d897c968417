from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from model.backend import Template
from model.confidence import ConfidenceConfig
from model.crop import Region
from model.geometry import Box, Image
from model.redetect import (
    PROBES_PER_FRAME,
    REACH,
    SPIRAL_LENGTH,
    Search,
    probe_centres,
    search_frame,
    spiral_offset,
)
from model.tracker import TrackResult, TrackState

CONFIG = ConfidenceConfig(found_score=0.7, found_frames=3)
SIDE = 200.0
IMAGE = np.zeros((720, 1280, 3), np.uint8)


def state_at(cx: float, cy: float) -> TrackState:
    empty = np.zeros((1, 1, 1, 1), np.float32)
    return TrackState(Template(empty, empty), Box.from_centre(cx, cy, 40, 30), (0.0, 0.0, 0.0))


class FakeProber:
    """Sees the target when it lies within the window; `scores` overrides what it says."""

    def __init__(self, cx: float, cy: float, score: float = 0.95) -> None:
        self.cx, self.cy, self.score = cx, cy, score
        self.looked: list[tuple[float, float]] = []
        self.otherwise = 0

    def look_otherwise(self, state: TrackState) -> TrackState:
        self.otherwise += 1
        return state

    def search(
        self, state: TrackState, image: Image, cx: float, cy: float
    ) -> tuple[TrackState, TrackResult]:
        self.looked.append((cx, cy))
        seen = max(abs(cx - self.cx), abs(cy - self.cy)) <= SIDE / 2
        box = Box.from_centre(self.cx, self.cy, 40, 30) if seen else Box.from_centre(cx, cy, 40, 30)
        result = TrackResult(box, self.score if seen else 0.05, Region(0, 0, int(SIDE)))
        return replace(state, box=box), result


def test_the_spiral_reaches_out_and_covers_its_disc() -> None:
    places = [spiral_offset(i) for i in range(SPIRAL_LENGTH)]
    radii = [math.hypot(*p) for p in places]
    assert radii == sorted(radii)
    assert math.isclose(radii[-1], REACH)
    assert spiral_offset(SPIRAL_LENGTH) == places[0]
    rng = np.random.default_rng(0)
    for _ in range(500):
        angle, radius = rng.uniform(0, 2 * math.pi), REACH * math.sqrt(rng.uniform())
        x, y = radius * math.cos(angle), radius * math.sin(angle)
        nearest = min(max(abs(x - px), abs(y - py)) for px, py in [*places, (0.0, 0.0)])
        assert nearest < 0.5, "every place of the disc lies in a window"


def test_every_frame_looks_at_the_last_place_and_stays_in_the_frame() -> None:
    box = Box.from_centre(10, 10, 40, 30)
    for probe in range(SPIRAL_LENGTH):
        centres = probe_centres(box, SIDE, probe, 1280, 720)
        assert len(centres) == PROBES_PER_FRAME
        assert centres[0] == (10, 10)
        assert all(0 <= cx <= 1280 and 0 <= cy <= 720 for cx, cy in centres)


def test_found_after_three_sightings_of_one_place() -> None:
    prober = FakeProber(640 + 1.2 * SIDE, 360)
    search = Search(state_at(640, 360))
    frames = 0
    while search.confidence.lost and frames < 2 * SPIRAL_LENGTH:
        search, _ = search_frame(search, prober, IMAGE, SIDE, CONFIG)
        frames += 1
    assert not search.confidence.lost
    assert search.candidate is not None
    assert abs(search.candidate.box.cx - prober.cx) < 1
    seen = [look for look in prober.looked if abs(look[0] - prober.cx) <= SIDE / 2]
    assert len(seen) >= 3


def test_one_convincing_frame_is_not_enough() -> None:
    prober = FakeProber(640, 360)
    search, sighting = search_frame(Search(state_at(640, 360)), prober, IMAGE, SIDE, CONFIG)
    assert sighting is not None
    assert search.confidence.lost
    prober.score = 0.2
    search, sighting = search_frame(search, prober, IMAGE, SIDE, CONFIG)
    assert sighting is None
    assert search.confidence.streak == 0
    assert search.candidate is None


def test_a_sighting_that_jumps_starts_the_count_anew() -> None:
    prober = FakeProber(640, 360)
    search, _ = search_frame(Search(state_at(640, 360)), prober, IMAGE, SIDE, CONFIG)
    for step in range(6):
        prober.cx = 640 + 60 * (step % 2)
        search, _ = search_frame(search, prober, IMAGE, SIDE, CONFIG)
        assert search.confidence.lost


def test_an_absent_target_is_never_found() -> None:
    prober = FakeProber(640, 360, score=0.69)
    search = Search(state_at(640, 360))
    for _ in range(100):
        search, sighting = search_frame(search, prober, IMAGE, SIDE, CONFIG)
        assert sighting is None
    assert search.confidence.lost
    assert search.held == state_at(640, 360) or search.held.box == Box.from_centre(640, 360, 40, 30)
    assert len(prober.looked) == 100 * PROBES_PER_FRAME
    assert prober.otherwise == 100, "each frame looks for another mixture of first and late looks"
