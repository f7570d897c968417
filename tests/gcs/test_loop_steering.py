"""The loop and its follow controller."""

from __future__ import annotations

from pathlib import Path

from drone.control import RateCommand
from drone.frame import Frame
from gcs.follow import Decision
from gcs.session import Phase
from gcs.target import Answer
from tests.fakes import FakeControl
from tests.rig import Rig
from tests.serving import wait_until


class FakeFollow:
    """Turns right whenever it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Phase]] = []
        self.resets = 0
        self.refusal: str | None = None

    def decide(self, frame: Frame, answer: Answer, phase: Phase) -> Decision:
        self.asked.append((frame.number, phase))
        return Decision(RateCommand(yaw_deg_s=5.0, issued_ns=frame.captured_ns), "to the right")

    def reset(self) -> None:
        self.resets += 1


def test_the_controller_steers_only_while_tracking(tmp_path: Path) -> None:
    control, follow = FakeControl(), FakeFollow()
    rig = Rig(tmp_path, control=control, follow=follow)
    try:
        rig.push_and_wait(0)
        assert (control.sent, follow.asked) == ([], [])
        rig.start_track()
        rig.push_and_wait(1)
        assert len(control.sent) == 1
        for number in range(2, 20):
            rig.push_and_wait(number, visible=False)
        commanded, neutrals = len(control.sent), control.neutrals
        rig.push_and_wait(20, visible=False)
        assert len(control.sent) == commanded, "nothing is commanded while lost"
        assert control.neutrals > neutrals
        assert follow.asked[-1] == (20, Phase.LOST), "it is asked, but not obeyed"
        rig.stop_track()
        lines = rig.flight()
        assert lines[0]["command"]["yaw_deg_s"] == 5.0
        assert lines[0]["reason"] == "to the right"
        assert lines[-1]["command"] is None
        assert lines[-1]["reason"] == "neutral: LOST"
    finally:
        rig.station.stop()
    assert control.neutrals > 0


def test_the_log_tells_which_commands_were_held_back(tmp_path: Path) -> None:
    follow = FakeFollow()
    rig = Rig(tmp_path, control=FakeControl(), follow=follow)
    try:
        rig.push_and_wait(0)
        rig.start_track()
        rig.push_and_wait(1)
        follow.refusal = "the vehicle is out of reach"
        rig.push_and_wait(2)
        rig.stop_track()
        assert [(line["frame_id"], line["held"]) for line in rig.flight()[-2:]] == [
            (1, None), (2, "the vehicle is out of reach"),
        ]  # fmt: skip
    finally:
        rig.station.stop()


def test_a_controller_that_leaves_the_vehicle_alone_does_so_while_lost(tmp_path: Path) -> None:
    class Silent(FakeFollow):
        def decide(self, frame: Frame, answer: Answer, phase: Phase) -> Decision:
            super().decide(frame, answer, phase)
            return Decision(None, "the level is OFF")

    control, follow = FakeControl(), Silent()
    rig = Rig(tmp_path, control=control, follow=follow)
    try:
        rig.push_and_wait(0)
        rig.start_track()
        for number in range(1, 20):
            rig.push_and_wait(number, visible=False)
        assert rig.station.loop.session.phase is Phase.LOST
        neutrals = control.neutrals
        for number in range(20, 30):
            rig.push_and_wait(number, visible=False)
        assert follow.asked[-1] == (29, Phase.LOST)
        assert (control.sent, control.neutrals) == ([], neutrals)
    finally:
        rig.station.stop()


def test_at_level_off_nothing_is_ever_commanded(tmp_path: Path) -> None:
    control = FakeControl()
    rig = Rig(tmp_path, control=control)
    rig.push_and_wait(0)
    rig.start_track()
    rig.push_and_wait(1)
    rig.stop_track()
    rig.station.stop()
    assert control.sent == []
    assert control.neutrals >= 2, "stop, and the end of the station"


def test_stall_loss_stop_and_a_new_start_reset_the_controller_and_hover(tmp_path: Path) -> None:
    control, follow = FakeControl(), FakeFollow()
    rig = Rig(tmp_path, control=control, follow=follow, stall_s=0.5)

    def happened() -> tuple[bool, bool]:
        """Whether it was reset, and hovered, since the last call."""
        new = (follow.resets > seen[0], control.neutrals > seen[1])
        seen[:] = [follow.resets, control.neutrals]
        return new

    seen = [0, 0]
    try:
        rig.push_and_wait(0)
        happened()
        rig.start_track()
        assert happened()[0], "a new start"
        for number in range(1, 30):
            rig.push_and_wait(number, visible=False)
            if rig.station.loop.session.phase is Phase.LOST:
                break
        assert happened() == (True, True), "a loss"
        rig.push_and_wait(30)
        wait_until(lambda: rig.published[-1].status.video == "STALLED")
        assert happened() == (True, True), "a stall"
        rig.stop_track()
        assert happened() == (True, True), "a stop"
    finally:
        rig.station.stop()
