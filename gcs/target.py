"""One target from start to stop: the tracker, its confidence and the search when it is lost."""

from __future__ import annotations

from dataclasses import dataclass

from model.confidence import Confidence, ConfidenceConfig, Level, judge
from model.crop import search_side_px, template_side_px
from model.errors import BackendError, ShapeError
from model.geometry import Box, Image
from model.redetect import Search, search_frame
from model.tracker import Tracker


@dataclass(frozen=True)
class Answer:
    """What one frame said of the target.

    Attributes:
        box: full-frame px; while lost, the last one above the lost score.
        score: 0..1; None where the frame was refused or a search saw nothing.
        level: how far to trust it.
        refused: why the engine's answer could not be used, else None.
    """

    box: Box
    score: float | None
    level: Level
    refused: str | None = None


class Target:
    """Tracks one target and searches for it when it is lost. Not thread-safe: one caller."""

    def __init__(self, tracker: Tracker, config: ConfidenceConfig, frame: Image, box: Box) -> None:
        """Learn the target.

        Args:
            tracker: shared with later targets, one at a time.
            config: lost / found thresholds.
            frame: (H, W, 3) BGR uint8.
            box: full-frame px.

        Raises:
            BoxError: the box cannot be a target.
            BackendError: the engine failed.
        """
        self._tracker = tracker
        self._config = config
        self._state = tracker.init(frame, box)
        self._confidence = Confidence()
        self._search: Search | None = None
        self._unlearned: tuple[float, Image] | None = None

    @property
    def box(self) -> Box:
        """The last answer; while lost, the last one above the lost score."""
        return self._state.box

    def suspect(self) -> None:
        """Treat the target as lost, as after a gap in the video."""
        if self._search is None:
            self._lose()

    def update(self, image: Image) -> Answer:
        """Find the target in the next frame; an engine's failure is an answer, not an error."""
        self.learn()
        try:
            if self._search is not None:
                return self._seek(self._search, image)
            state, result = self._tracker.answer(self._state, image)
        except (BackendError, ShapeError) as error:
            return self._refuse(str(error))
        self._confidence = judge(self._confidence, result.score, self._config)
        if self._confidence.lost:
            self._lose()
        elif not self._confidence.streak:
            # A miss moves nothing: its box is noise, and the target is likelier near the last one.
            self._state = state
            self._unlearned = result.score, image
        return Answer(self.box, result.score, self._confidence.level)

    def learn(self) -> str | None:
        """Learn from the last answer, once it is out: now and then one more pass of the engine.

        The next `update` does it where nobody did, and drops such a failure.

        Returns:
            why the engine failed, else None; the target is followed as before.
        """
        if self._unlearned is None:
            return None
        (score, image), self._unlearned = self._unlearned, None
        try:
            self._state = self._tracker.learn(self._state, score, image)
        except BackendError as error:
            self._state = self._tracker.skip_learning(self._state)
            return str(error)
        return None

    def _lose(self) -> None:
        # From the last answer above the lost score, sure or not: a target that turned is LOW for
        # seconds, and its last sure place is then far behind it.
        self._unlearned = None
        self._confidence = Confidence(Level.LOST)
        self._search = Search(self._state)

    def _refuse(self, reason: str) -> Answer:
        if self._search is None:
            self._confidence = judge(self._confidence, None, self._config)
            if self._confidence.lost:
                self._lose()
        return Answer(self.box, None, self._confidence.level, reason)

    def _seek(self, search: Search, image: Image) -> Answer:
        geometry = self._tracker.config
        held = search.held.box
        side = search_side_px(template_side_px(held.w, held.h, geometry), geometry)
        found, sighting = search_frame(search, self._tracker, image, side, self._config)
        score = sighting.result.score if sighting else None
        if sighting is None or found.confidence.lost:
            self._search = found
            return Answer(self.box, score, Level.LOST)
        self._search = None
        self._confidence = Confidence()
        self._state = sighting.state
        return Answer(self.box, score, Level.SURE)
