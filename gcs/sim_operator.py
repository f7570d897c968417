"""The simulated operator of the closed loop: draws, grants and confirms as a careful one would."""

from __future__ import annotations

import enum
from dataclasses import dataclass

REACTION_S = 1.0
"""He takes this long to confirm, and to grant anew what was released."""

REDRAW_S = 2.0
"""He takes this long to see that the target is not held, and to draw its box anew."""

ON_TARGET_IOU = 0.1
"""Below it a box is on something else, as anybody sees."""


class Wish(enum.Enum):
    """What he does now."""

    NOTHING = "nothing"
    DRAW = "draw"
    GRANT = "grant"
    CONFIRM = "confirm"


@dataclass(frozen=True)
class View:
    """What his screen shows.

    Attributes:
        now_s: simulated time.
        visible: the target is in the picture and not hidden.
        held: a box is on the target; where it is hidden, that one is tracked at all.
        off: the level has fallen to OFF.
        unconfirmed: forward flight waits for his confirmation.
    """

    now_s: float
    visible: bool
    held: bool
    off: bool
    unconfirmed: bool


class Operator:
    """Acts after his reaction time; never confirms a box that is not on the target."""

    def __init__(self) -> None:
        """Nothing has been asked of him yet."""
        self._missed_s: float | None = None
        self._asked_s: float | None = None

    def act(self, view: View) -> Wish:
        """Choose what to do; called once a frame."""
        missed = view.visible and not view.held
        self._missed_s = _since(self._missed_s, missed, view.now_s)
        if self._missed_s is not None and view.now_s - self._missed_s >= REDRAW_S:
            self._missed_s = None
            return Wish.DRAW
        asked = view.held and (view.off or view.unconfirmed)
        self._asked_s = _since(self._asked_s, asked, view.now_s)
        if self._asked_s is None or view.now_s - self._asked_s < REACTION_S:
            return Wish.NOTHING
        self._asked_s = None
        return Wish.GRANT if view.off else Wish.CONFIRM


def _since(since_s: float | None, holds: bool, now_s: float) -> float | None:
    """Since when something holds; None while it does not."""
    if not holds:
        return None
    return now_s if since_s is None else since_s
