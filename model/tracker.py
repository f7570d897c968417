"""The tracker: one target, one value of state, one network pass a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from model.backend import Backend, Template
from model.calibration import UNCORRECTED, Calibration, calibrate
from model.config import TrackerConfig
from model.crop import (
    Colour,
    Region,
    crop_region,
    mean_colour,
    place_region,
    region_of,
    search_side_px,
    template_side_px,
)
from model.decode import Candidate, Decoder
from model.errors import ShapeError
from model.flow import Flow, Motion, first_patch, follow, renew
from model.geometry import Box, Image, check_target
from model.memory import Memory, is_due, look_otherwise, take_in
from model.scale import Glance, even, glance, next_factor, settle


@dataclass(frozen=True)
class TrackState:
    """What is known of the target; a value: keep it, copy it, go back to it.

    Attributes:
        template: the target as it is looked for.
        box: last answer, full-frame px.
        padding: colour beyond the border, taken from the first frame.
        calibration: what the first frame told of the network's answers for this target.
        memory: what the template is made of; None where it is the first frame's alone.
        glance: what the last frame saw at its scale; None where none was looked at yet.
        flow: the target's pixels in the last frame; None where the box is not followed by them.
    """

    template: Template
    box: Box
    padding: Colour
    calibration: Calibration = UNCORRECTED
    memory: Memory | None = None
    glance: Glance | None = None
    flow: Flow | None = None


@dataclass(frozen=True)
class TrackResult:
    """The answer for one frame.

    Attributes:
        box: full-frame px; its centre lies in the frame, its sides are at most the frame's.
        score: soft-max score of the chosen anchor, 0..1. It ranks frames of one target; it is no
            probability.
        region: the search region that was looked at, full-frame px.
    """

    box: Box
    score: float
    region: Region


def check_image(image: Image) -> None:
    """Refuse anything but a non-empty (H, W, 3) uint8 array.

    Raises:
        ShapeError: another shape or dtype.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ShapeError(f"image is {image.shape} {image.dtype}: expected (H, W, 3) uint8 BGR")


class Tracker:
    """SiamRPN++ post-processing around a `Backend`. Not thread-safe: one caller."""

    def __init__(self, backend: Backend, config: TrackerConfig | None = None) -> None:
        """Prepare buffers.

        Args:
            backend: the engine; the caller closes it.
            config: replaces the engine's own, as in a search for hyper-parameters.
        """
        self.backend = backend
        self.config = backend.config if config is None else config
        self._decoder = Decoder(self.config)
        side = self.config.search_px
        self._search = np.empty((side, side, 3), np.uint8)

    def init(self, image: Image, box: Box) -> TrackState:
        """Learn the target.

        Args:
            image: (H, W, 3) BGR uint8.
            box: the target, full-frame px; cut to the frame.

        Raises:
            BoxError: the box cannot be a target.
            ShapeError: the image is not BGR uint8.
            BackendError: the engine failed.
        """
        check_image(image)
        height, width = image.shape[:2]
        cut = check_target(box, width, height)
        padding = mean_colour(image)
        template = self._encode(image, cut, padding)
        state = TrackState(template, cut, padding)
        if self.config.template_memory > 0:
            state = replace(state, memory=Memory(template))
        if self.config.flow_looseness > 0:
            state = replace(state, flow=first_patch(image, cut, padding))
        if self.config.shape_calibration == 0 and self.config.centre_calibration == 0:
            return state
        region = region_of(cut, self.config, search=True)
        chosen = self._look(state, image, region, windowed=True)
        seen = self._answer(state, chosen, region)
        return replace(state, calibration=calibrate(seen, cut, self.config))

    def update(self, state: TrackState, image: Image) -> tuple[TrackState, TrackResult]:
        """Find the target in the next frame and learn from it: `answer`, then `learn`.

        Raises:
            ShapeError: the image is not BGR uint8.
            BackendError: the engine failed or a value is not finite; `state` stays good.
        """
        state, result = self.answer(state, image)
        return self.learn(state, result.score, image), result

    def answer(self, state: TrackState, image: Image) -> tuple[TrackState, TrackResult]:
        """Find the target in the next frame: one pass of the search graph.

        Whoever waits for the box takes it from here and calls `learn` afterwards.

        Raises:
            ShapeError, BackendError: as `update`.
        """
        check_image(image)
        region = region_of(self._wanted(state), self.config, search=True)
        chosen = self._look(state, image, region, windowed=True)
        state = self._follow(state, chosen, region, image)
        return state, TrackResult(state.box, chosen.score, region)

    def learn(self, state: TrackState, score: float, image: Image) -> TrackState:
        """Take in how the target looks in a frame that was answered.

        One pass of the template graph every `memory_frames` frames, where the answer is sure; to be
        called once a frame, before the next `answer`.

        Args:
            state: as `answer` gave it.
            score: of that answer.
            image: the same frame.

        Raises:
            BackendError: the engine failed; `state` stays good.
        """
        if state.memory is None:
            return state
        memory = replace(state.memory, frames=state.memory.frames + 1)
        height, width = image.shape[:2]
        if not is_due(memory, state.box, score, (width, height), self.config):
            return replace(state, memory=memory)
        seen = self._encode(image, state.box, state.padding)
        memory, template = take_in(memory, seen, self.config)
        return replace(state, template=template, memory=memory)

    def search(
        self, state: TrackState, image: Image, cx: float, cy: float
    ) -> tuple[TrackState, TrackResult]:
        """Look for a lost target around another place, without favouring the middle.

        The answer is a proposal: the caller keeps the returned state only if the score convinces.

        Args:
            state: the target and its last size.
            image: (H, W, 3) BGR uint8.
            cx, cy: centre of the search region, full-frame continuous px.

        Raises:
            ShapeError, BackendError: as `update`.
        """
        check_image(image)
        side = search_side_px(template_side_px(state.box.w, state.box.h, self.config), self.config)
        region = place_region(cx, cy, side)
        chosen = self._look(state, image, region, windowed=False)
        box = self._place(state.box, self._answer(state, chosen, region), chosen, image)
        return replace(state, box=box, glance=None, flow=None), TrackResult(
            box, chosen.score, region
        )

    def skip_learning(self, state: TrackState) -> TrackState:
        """Leave out the look that is due, as after a failure; the next is due as ever."""
        if state.memory is None:
            return state
        return replace(state, memory=replace(state.memory, frames=0))

    def look_otherwise(self, state: TrackState) -> TrackState:
        """Look for another mixture of how the target looked at first and lately."""
        if state.memory is None:
            return state
        memory, template = look_otherwise(state.memory, self.config)
        return replace(state, template=template, memory=memory)

    def _encode(self, image: Image, box: Box, padding: Colour) -> Template:
        region = region_of(box, self.config, search=False)
        return self.backend.encode_template(
            crop_region(image, region, self.config.template_px, padding)
        )

    def _look(self, state: TrackState, image: Image, region: Region, windowed: bool) -> Candidate:
        scale = self.config.search_px / region.side
        x = crop_region(image, region, self.config.search_px, state.padding, self._search)
        cls, loc = self.backend.predict(state.template, x)
        return self._decoder.select(
            cls,
            loc,
            state.box.w * scale / state.calibration.grow_x,
            state.box.h * scale / state.calibration.grow_y,
            windowed=windowed,
        )

    def _wanted(self, state: TrackState) -> Box:
        """The box whose search region this frame looks at."""
        if self.config.scale_dither == 0:
            return state.box
        return state.box.grown(next_factor(state.glance, self.config))

    def _answer(self, state: TrackState, chosen: Candidate, region: Region) -> Box:
        """The candidate in the frame, corrected by what the first frame told."""
        scale, by = region.side / self.config.search_px, state.calibration
        w, h = chosen.w * scale * by.grow_x, chosen.h * scale * by.grow_y
        cx = region.cx + chosen.dx * scale + by.shift_x * w
        cy = region.cy + chosen.dy * scale + by.shift_y * h
        return Box.from_centre(cx, cy, w, h)

    def _follow(
        self, state: TrackState, chosen: Candidate, region: Region, image: Image
    ) -> TrackState:
        """Move the box to the candidate; optical flow and scores of two scales have their say."""
        answer = self._answer(state, chosen, region)
        state, motion = self._carry(state, answer, image)
        share = self.config.flow_centre
        cx, cy = answer.cx + motion.shift_x * share, answer.cy + motion.shift_y * share
        last, now, w, h, factor = state.box, None, answer.w, answer.h, 1.0
        if self.config.scale_dither > 0:
            now = glance(state.glance, w, h, chosen.score)
            w, h = last.w, last.h
            if state.glance is not None:
                w, h = even(state.glance, now)
                now, factor = settle(state.glance, now, self.config)
        factor **= motion.rest
        answer = Box.from_centre(cx, cy, w * factor, h * factor)
        box = self._place(last.grown(factor), answer, chosen, image, motion.rest)
        flow = None if state.flow is None else renew(state.flow, box, image, state.padding)
        return replace(state, box=box, glance=now, flow=flow)

    def _carry(self, state: TrackState, answer: Box, image: Image) -> tuple[TrackState, Motion]:
        """Let the last box, and what was answered for it, grow as the target's pixels did."""
        if self.config.flow_looseness == 0:
            return state, Motion()
        cx, cy = _held_in(image, answer.cx, answer.cy)
        here = Box.from_centre(cx, cy, state.box.w, state.box.h)
        if state.flow is None:
            return replace(state, flow=first_patch(image, here, state.padding)), Motion()
        flow, motion = follow(state.flow, state.box, here, image, state.padding, self.config)
        seen, by = state.glance, motion.factor
        if seen is not None:
            seen = replace(seen, w=seen.w * by, h=seen.h * by)
        return replace(state, box=state.box.grown(by), glance=seen, flow=flow), motion

    def _place(
        self, last: Box, answer: Box, chosen: Candidate, image: Image, share: float = 1.0
    ) -> Box:
        """Keep the answer's centre in the frame, and bring the size smoothly to the answer's."""
        height, width = image.shape[:2]
        rate = chosen.penalty * chosen.score * self.config.size_lr * share
        w = last.w * (1 - rate) + answer.w * rate
        h = last.h * (1 - rate) + answer.h * rate
        cx, cy = _held_in(image, answer.cx, answer.cy)
        smallest = self.config.min_size_px
        w = max(smallest, min(w, float(width)))
        h = max(smallest, min(h, float(height)))
        return Box.from_centre(cx, cy, w, h)


def _held_in(image: Image, cx: float, cy: float) -> tuple[float, float]:
    """The nearest place inside the frame."""
    height, width = image.shape[:2]
    return min(max(cx, 0.0), float(width)), min(max(cy, 0.0), float(height))
