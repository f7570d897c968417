"""Search for a lost target: windows around the last trusted place, in a growing spiral."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from model.confidence import Confidence, ConfidenceConfig, Level, judge
from model.geometry import Box, Image, iou
from model.tracker import TrackResult, TrackState

PROBES_PER_FRAME = 2
"""Engine passes a frame while lost: the last place, and one step of the spiral."""

REACH = 1.5
"""How far the spiral goes from the last place, in window sides."""

SPIRAL_LENGTH = 36
"""Places of the spiral before it starts anew: about 0.45 window sides from one to the next."""

SAME_PLACE_IOU = 0.3
"""Two sightings are of one target where their boxes overlap by this or more."""

SEARCHING = Confidence(Level.LOST)
"""No sighting convinced yet."""

_GOLDEN_RAD = math.pi * (3.0 - math.sqrt(5.0))


class Prober(Protocol):
    """The part of the tracker that looks at a place (see `Tracker.search`)."""

    def search(
        self, state: TrackState, image: Image, cx: float, cy: float
    ) -> tuple[TrackState, TrackResult]:
        """Look for the target around a centre, full-frame px."""
        ...

    def look_otherwise(self, state: TrackState) -> TrackState:
        """Look for another mixture of how the target looked at first and lately."""
        ...


@dataclass(frozen=True)
class Search:
    """Where a search stands; a value.

    Attributes:
        held: the target at its last trusted place: template, box and size.
        confidence: the verdict; LOST until enough frames in a row convince.
        probe: next place of the spiral.
        candidate: the last convincing sighting, looked at first in the next frame.
    """

    held: TrackState
    confidence: Confidence = SEARCHING
    probe: int = 0
    candidate: TrackState | None = None


@dataclass(frozen=True)
class Sighting:
    """The best answer of one frame of a search."""

    state: TrackState
    result: TrackResult


def spiral_offset(index: int) -> tuple[float, float]:
    """Place number `index` of a sunflower spiral: even cover without a favoured direction.

    Returns:
        dx, dy in window sides; index 0 is the first step off the centre. The spiral repeats.
    """
    turn = index % SPIRAL_LENGTH + 1
    radius = REACH * math.sqrt(turn / SPIRAL_LENGTH)
    return radius * math.cos(turn * _GOLDEN_RAD), radius * math.sin(turn * _GOLDEN_RAD)


def probe_centres(
    box: Box, side_px: float, probe: int, width_px: int, height_px: int
) -> list[tuple[float, float]]:
    """Centres to look at in one frame: the last place and the next of the spiral.

    Args:
        box: last trusted box, full-frame px.
        side_px: side of the search window.
        probe: place of the spiral.
        width_px, height_px: the frame; centres stay inside it.

    Returns:
        `PROBES_PER_FRAME` centres cx, cy.
    """
    centres = [(box.cx, box.cy)]
    for step in range(PROBES_PER_FRAME - 1):
        dx, dy = spiral_offset(probe + step)
        cx = min(max(box.cx + dx * side_px, 0.0), float(width_px))
        cy = min(max(box.cy + dy * side_px, 0.0), float(height_px))
        centres.append((cx, cy))
    return centres


def search_frame(
    search: Search, tracker: Prober, image: Image, side_px: float, config: ConfidenceConfig
) -> tuple[Search, Sighting | None]:
    """Look for the target in one more frame.

    A sighting that convinced in the last frame is confirmed at its own place first; only
    `found_frames` sightings in a row of one place find the target.

    Args:
        search: where the search stands.
        tracker: looks at one place.
        image: (H, W, 3) BGR uint8.
        side_px: side of the search window in the frame.
        config: thresholds.

    Returns:
        the search (found when its confidence is not lost) and the convincing sighting of this
        frame, or None.

    Raises:
        BackendError: the engine failed.
    """
    height, width = image.shape[:2]
    if search.candidate is not None:
        place = search.candidate.box
        state, result = tracker.search(search.candidate, image, place.cx, place.cy)
        if result.score >= config.found_score and iou(result.box, place) >= SAME_PLACE_IOU:
            confidence = judge(search.confidence, result.score, config)
            return replace(search, confidence=confidence, candidate=state), Sighting(state, result)
    best: Sighting | None = None
    for cx, cy in probe_centres(search.held.box, side_px, search.probe, width, height):
        seen = Sighting(*tracker.search(search.held, image, cx, cy))
        if best is None or seen.result.score > best.result.score:
            best = seen
    score = None if best is None else best.result.score
    confidence = judge(SEARCHING, score, config)
    convincing = best if score is not None and score >= config.found_score else None
    following = replace(
        search,
        held=tracker.look_otherwise(search.held),
        confidence=confidence,
        probe=search.probe + PROBES_PER_FRAME - 1,
        candidate=convincing.state if convincing else None,
    )
    return following, convincing
