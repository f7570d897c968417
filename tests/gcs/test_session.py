from __future__ import annotations

import itertools

import pytest

from gcs.session import Phase, Session, SessionError

ALLOWED = {
    ("start", Phase.IDLE): Phase.TRACKING,
    ("lose", Phase.TRACKING): Phase.LOST,
    ("regain", Phase.LOST): Phase.TRACKING,
    ("stop", Phase.TRACKING): Phase.IDLE,
    ("stop", Phase.LOST): Phase.IDLE,
}


@pytest.mark.parametrize(
    ("move", "phase"), list(itertools.product(("start", "lose", "regain", "stop"), Phase))
)
def test_every_move_from_every_state(move: str, phase: Phase) -> None:
    session = Session(phase, since_ns=5)
    target = ALLOWED.get((move, phase))
    if target is None:
        with pytest.raises(SessionError, match=rf"cannot {move} while {phase.value}: expected"):
            getattr(session, move)(9)
        return
    moved = getattr(session, move)(9)
    assert moved == Session(target, 9)
    assert session == Session(phase, 5), "the session is a value"


def test_active_from_start_to_stop() -> None:
    assert not Session().active
    assert Session(Phase.TRACKING).active
    assert Session(Phase.LOST).active


def test_a_refusal_says_how_to_mend_it() -> None:
    with pytest.raises(SessionError, match="stop the running track first"):
        Session(Phase.TRACKING).start(0)
    with pytest.raises(SessionError, match="TRACKING or LOST; nothing is tracked"):
        Session().stop(0)
