"""What the loop asks of a follow controller; without one nothing is ever commanded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from drone.control import RateCommand
from drone.frame import Frame
from gcs.session import Phase
from gcs.target import Answer


@dataclass(frozen=True)
class Decision:
    """A command for the vehicle and why it was chosen.

    Attributes:
        command: rates; None leaves the vehicle to the operator.
        reason: one line for the flight log.
    """

    command: RateCommand | None
    reason: str


class Follow(Protocol):
    """Turns what is known of the target into a rate command. Called from the loop's thread."""

    @property
    def refusal(self) -> str | None:
        """Why the newest command did not go out; None where it did."""
        ...

    def decide(self, frame: Frame, answer: Answer, phase: Phase) -> Decision:
        """Decide on one processed frame; the age is that of `frame.captured_ns`."""
        ...

    def reset(self) -> None:
        """Forget what was held, as at start, stop, loss and stale video."""
        ...
