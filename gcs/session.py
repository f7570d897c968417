"""The tracking session: a pure state machine."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from model.errors import MlkdError


class Phase(enum.Enum):
    """What the operator is told about the target."""

    IDLE = "IDLE"
    TRACKING = "TRACKING"
    LOST = "LOST"


class SessionError(MlkdError, RuntimeError):
    """A move that the state does not allow; says what was expected."""


_MOVES: dict[str, tuple[tuple[Phase, ...], Phase, str]] = {
    "start": ((Phase.IDLE,), Phase.TRACKING, "stop the running track first"),
    "lose": ((Phase.TRACKING,), Phase.LOST, "only a tracked target can be lost"),
    "regain": ((Phase.LOST,), Phase.TRACKING, "only a lost target can be found again"),
    "stop": ((Phase.TRACKING, Phase.LOST), Phase.IDLE, "nothing is tracked; draw a box first"),
}


@dataclass(frozen=True)
class Session:
    """The state and since when it holds; a value.

    Attributes:
        phase: the state.
        since_ns: host's monotonic clock at the last move.
    """

    phase: Phase = Phase.IDLE
    since_ns: int = 0

    @property
    def active(self) -> bool:
        """True from start to stop, whether the target is seen or lost."""
        return self.phase is not Phase.IDLE

    def start(self, now_ns: int) -> Session:
        """IDLE → TRACKING."""
        return self._move("start", now_ns)

    def lose(self, now_ns: int) -> Session:
        """TRACKING → LOST."""
        return self._move("lose", now_ns)

    def regain(self, now_ns: int) -> Session:
        """LOST → TRACKING."""
        return self._move("regain", now_ns)

    def stop(self, now_ns: int) -> Session:
        """TRACKING or LOST → IDLE."""
        return self._move("stop", now_ns)

    def _move(self, name: str, now_ns: int) -> Session:
        allowed, target, mend = _MOVES[name]
        if self.phase not in allowed:
            expected = " or ".join(phase.value for phase in allowed)
            raise SessionError(
                f"cannot {name} while {self.phase.value}: expected {expected}; {mend}"
            )
        return replace(self, phase=target, since_ns=now_ns)
