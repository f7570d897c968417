from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from drone.control import RateCommand
from drone.errors import SourceError
from drone.frame import Frame
from gcs import loop as module
from gcs.beginning import NoVideoError
from gcs.feed import INTERVALS_KEPT
from gcs.follow import Decision
from gcs.hub import Publication
from gcs.requests import HoldOrder, ReopenOrder, StartOrder, StopOrder
from gcs.schemas import Started, StartRequest, Stopped
from gcs.session import Phase, SessionError
from gcs.station import Station
from gcs.target import Answer
from tests.fakes import BrightnessBackend, FakeControl, QueueSource, make_frame
from tests.serving import make_station, wait_until

START = StartRequest(box=[148, 108, 24, 24])


class Rig:
    """A station fed by hand, and everything it published."""

    def __init__(self, folder: Path, **parts: Any) -> None:
        self.source = QueueSource()
        self.backend = parts.pop("backend", None) or BrightnessBackend()
        self.station: Station = make_station(folder, self.source, self.backend, **parts)
        self.published: list[Publication] = []
        publish = self.station.hub.publish

        def keep(publication: Publication) -> None:
            self.published.append(publication)
            publish(publication)

        self.station.hub.publish = keep  # type: ignore[method-assign]
        self.station.start()

    def push(self, number: int, x: float = 160, visible: bool = True) -> None:
        frame = make_frame(number, self.station.clock(), (x, 120), visible=visible)
        self.source.push(frame)

    def push_and_wait(self, number: int, x: float = 160, visible: bool = True) -> Publication:
        self.push(number, x, visible)
        wait_until(lambda: any(p.status.frame_id == number for p in self.published))
        return next(p for p in self.published if p.status.frame_id == number)

    def start_track(self, request: StartRequest = START) -> Started:
        order = StartOrder(request)
        self.station.loop.orders.put(order)
        return order.answer.result(10)

    def stop_track(self) -> Stopped:
        order = StopOrder()
        self.station.loop.orders.put(order)
        return order.answer.result(10)

    def pictures(self) -> list[int]:
        return [p.status.frame_id for p in self.published if p.status.frame_id is not None]

    def kinds(self) -> list[str]:
        return [notice.kind for notice in self.station.journal.events]

    def flight(self) -> list[dict[str, Any]]:
        (folder,) = self.station.settings.flights_dir.iterdir()
        return [json.loads(line) for line in (folder / "track.jsonl").read_text().splitlines()]


@pytest.fixture
def rig(tmp_path: Path) -> Any:
    made = Rig(tmp_path)
    yield made
    made.station.stop()
    assert not made.station.loop.alive


@pytest.fixture
def impatient(tmp_path: Path) -> Any:
    made = Rig(tmp_path, stall_s=0.4)
    yield made
    made.station.stop()
    assert not made.station.loop.alive


def test_500_numbered_frames_with_gaps_in_order_with_age_and_drops(rig: Rig) -> None:
    numbers = [n for n in range(500) if n % 7 != 3]
    rig.push_and_wait(numbers[0])
    rig.start_track()
    for number in numbers[1:]:
        rig.push(number)
    wait_until(lambda: rig.pictures()[-1:] == [numbers[-1]])
    assert rig.pictures() == numbers
    newest = rig.published[-1].status
    assert newest.dropped == numbers[-1] + 1 - len(numbers)
    sequences = [p.status.sequence for p in rig.published]
    assert sequences == sorted(set(sequences))
    for publication in rig.published:
        latency = publication.status.latency
        if publication.status.frame_id is not None:
            assert latency.receive_ms is not None
            assert latency.publish_ms is not None
            assert 0 <= latency.receive_ms <= latency.publish_ms
    rig.stop_track()
    lines = rig.flight()
    assert [line["frame_id"] for line in lines] == numbers[1:]
    assert sum(line["dropped"] for line in lines) == newest.dropped
    for line in lines:
        assert line["captured_ns"] <= line["inferred_ns"] <= line["published_ns"]
        assert line["state"] == "TRACKING"
        assert line["cle_px"] < 8
        assert line["truth"] == [148, 108, 24, 24]


def test_a_frame_older_than_two_intervals_is_shown_and_not_tracked(rig: Rig) -> None:
    rig.source.live = True

    def push(number: int, age_s: float) -> Publication:
        captured_ns = rig.station.clock() - round(age_s * 1e9)
        rig.source.push(make_frame(number, captured_ns, (160, 120)))
        wait_until(lambda: any(p.status.frame_id == number for p in rig.published))
        return next(p for p in rig.published if p.status.frame_id == number)

    # One every 2 s; so much slower than any machine that only the ages decide.
    for number in range(INTERVALS_KEPT + 1):
        push(number, 11 + 2 * (INTERVALS_KEPT - number))
    rig.start_track()
    held = push(INTERVALS_KEPT + 1, 5.0).status
    assert (held.state, held.score) == ("TRACKING", None)
    assert held.box is not None
    fresh = push(INTERVALS_KEPT + 2, 0.0).status
    assert fresh.score is not None
    assert [line["inferred_ns"] is None for line in rig.flight()] == [True, False]


def test_a_frozen_video_does_not_keep_a_stop_waiting(impatient: Rig) -> None:
    impatient.push_and_wait(0)
    impatient.start_track()
    impatient.push_and_wait(1)
    wait_until(lambda: impatient.published[-1].status.video == "STALLED")
    assert impatient.stop_track().frames == 1
    wait_until(lambda: impatient.published[-1].status.state == "IDLE")


def test_start_on_the_frame_that_was_seen_catches_up(rig: Rig) -> None:
    for number in range(60):
        rig.push_and_wait(number, 60 + 3 * number)
    started = rig.start_track(StartRequest(box=[60 + 3 * 20 - 12, 108, 24, 24], frame_id=20))
    assert started.frame_id == 20
    assert 10 < started.replayed <= 38, "frames 21 to 58, thinned where the machine is slow"
    assert started.truth == "square"
    after = rig.push_and_wait(60, 60 + 3 * 60).status
    assert after.box is not None
    assert after.state == "TRACKING"
    assert abs(after.box[0] + after.box[2] / 2 - 240) < 12
    assert after.truth is not None
    assert after.truth.cle_px is not None
    assert after.truth.cle_px < 12


def test_without_the_replay_the_target_would_be_out_of_reach(rig: Rig) -> None:
    for number in range(60):
        rig.push_and_wait(number, 60 + 3 * number)
    stale = rig.start_track(StartRequest(box=[60 + 3 * 20 - 12, 108, 24, 24]))
    assert stale.replayed == 0
    states = [rig.push_and_wait(60 + n, 240).status.state for n in range(10)]
    assert states[-1] == "LOST"


def test_a_held_frame_can_be_started_on_much_later(rig: Rig) -> None:
    rig.push_and_wait(7)
    rig.station.loop.orders.put(HoldOrder(7))
    for number in range(8, 30):
        rig.push_and_wait(number)
    assert rig.start_track(StartRequest(point=[160, 120], frame_id=7)).frame_id == 7


def test_refused_moves_leave_the_state_alone(rig: Rig) -> None:
    with pytest.raises(NoVideoError, match="no picture"):
        rig.start_track()
    with pytest.raises(SessionError, match="cannot stop while IDLE"):
        rig.stop_track()
    rig.push_and_wait(0)
    rig.start_track()
    with pytest.raises(SessionError, match="cannot start while TRACKING"):
        rig.start_track()
    assert rig.push_and_wait(1).status.state == "TRACKING"


def test_lost_and_found_again(rig: Rig) -> None:
    rig.push_and_wait(0)
    rig.start_track()
    held = rig.push_and_wait(1).status.box
    for number in range(2, 20):
        lost = rig.push_and_wait(number, visible=False).status
    assert lost.state == "LOST"
    assert lost.box == held
    assert lost.truth is not None
    assert (lost.truth.box, lost.truth.cle_px) == (None, None)
    for number in range(20, 30):
        found = rig.push_and_wait(number, 180).status
    assert found.state == "TRACKING"
    assert rig.kinds().count("lost") == rig.kinds().count("found") == 1
    rig.stop_track()
    states = [line["state"] for line in rig.flight()]
    assert states[0] == states[-1] == "TRACKING"
    assert all(line["box"] is None for line in rig.flight() if line["state"] == "LOST")


def test_a_frame_the_engine_fails_on_is_refused_and_counted(rig: Rig) -> None:
    rig.push_and_wait(0)
    rig.start_track()
    rig.backend.poison = True
    refused = rig.push_and_wait(1).status
    assert (refused.refused, refused.state, refused.score) == (1, "TRACKING", None)
    assert rig.station.health().problems == ["the engine does not answer"]
    rig.backend.poison = False
    recovered = rig.push_and_wait(2).status
    assert (recovered.refused, recovered.level) == (1, "SURE")
    assert rig.station.health().healthy
    assert rig.kinds().count("frame_refused") == rig.kinds().count("engine_recovered") == 1


def test_a_dead_engine_loses_the_target_and_the_loop_lives(rig: Rig) -> None:
    rig.push_and_wait(0)
    rig.start_track()
    rig.backend.failure = "device removed"
    for number in range(1, 30):
        status = rig.push_and_wait(number).status
    assert status.state == "LOST"
    assert status.refused == 29
    assert rig.stop_track().frames == 29
    assert rig.push_and_wait(30).status.state == "IDLE"
    with pytest.raises(Exception, match="device removed"):
        rig.start_track()
    assert rig.station.loop.alive


def test_a_stalled_video_loses_the_target_and_finds_it_when_it_returns(impatient: Rig) -> None:
    impatient.push_and_wait(0)
    impatient.start_track()
    impatient.push_and_wait(1)
    wait_until(lambda: impatient.published[-1].status.video == "STALLED")
    wait_until(lambda: impatient.published[-1].status.state == "LOST")
    assert impatient.published[-1].status.box is not None, "the page still knows where it was"
    assert not impatient.station.health().healthy
    found = (Phase.TRACKING, "LIVE")
    for number in range(2, 200):
        impatient.push_and_wait(number)
        if (impatient.station.loop.session.phase, impatient.station.feed.video.value) == found:
            return
    raise AssertionError("it was not found again")


def test_the_end_of_a_file_ends_the_flight(rig: Rig) -> None:
    rig.push_and_wait(0)
    rig.start_track()
    rig.push_and_wait(1)
    rig.source.push(None)
    wait_until(lambda: rig.published[-1].status.video == "ENDED")
    wait_until(lambda: rig.published[-1].status.state == "IDLE")
    assert rig.station.loop.session.phase is Phase.IDLE
    assert len(rig.flight()) == 1
    with pytest.raises(NoVideoError, match="ended"):
        rig.start_track()


def test_an_ended_file_can_be_seen_again(rig: Rig) -> None:
    rig.push_and_wait(0)
    rig.source.push(None)
    wait_until(lambda: rig.published[-1].status.video == "ENDED")
    rig.station.loop.orders.put(ReopenOrder())
    rig.push(0)
    wait_until(lambda: rig.pictures()[-1] == 1)
    assert rig.source.opened == 2
    assert rig.start_track().frame_id == 1


def test_a_broken_source_comes_back(rig: Rig) -> None:
    rig.push_and_wait(3)
    rig.source.push(SourceError("unplugged"))
    wait_until(lambda: rig.station.feed.video.value == "STALLED")
    assert rig.station.feed.message is not None
    rig.push(0)
    wait_until(lambda: rig.pictures()[-1] == 4)
    assert rig.source.opened == 2


def test_an_error_nobody_foresaw_is_survived_and_noted_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.push_and_wait(0)
    broken = threading.Event()
    broken.set()
    read = rig.source.read

    def fail(timeout_s: float) -> Frame | None:
        if broken.is_set():
            raise ZeroDivisionError("a bug")
        return read(timeout_s)

    monkeypatch.setattr(rig.source, "read", fail)
    wait_until(lambda: "loop_error" in rig.kinds())
    broken.clear()
    rig.push_and_wait(1)
    assert rig.kinds().count("loop_error") == 1


def test_a_loop_that_cannot_go_on_dies_visibly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FAILURES", 3)
    rig = Rig(tmp_path)
    rig.push_and_wait(0)
    rig.start_track()

    def fail(_timeout_s: float) -> None:
        raise ZeroDivisionError("a bug that stays")

    monkeypatch.setattr(rig.source, "read", fail)
    wait_until(lambda: not rig.station.loop.alive)
    health = rig.station.health()
    assert not health.healthy
    assert health.loop == "dead"
    assert "a bug that stays" in health.problems[0]
    (folder,) = rig.station.settings.flights_dir.iterdir()
    assert json.loads((folder / "manifest.json").read_text())["ended_at"]
    rig.station.stop()


def test_stopping_the_station_ends_the_flight(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.push_and_wait(0)
    rig.start_track()
    rig.push_and_wait(1)
    rig.station.stop()
    (folder,) = rig.station.settings.flights_dir.iterdir()
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in events] == ["track_started", "track_stopped"]
    assert events[-1]["message"] == "the station stops"
    assert rig.backend.closed == 1


def test_a_full_disk_does_not_stop_the_flight(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from gcs import recorder

    rig.push_and_wait(0)
    started = rig.start_track()
    monkeypatch.setattr(recorder.os, "write", lambda _fd, _data: 0)
    status = rig.push_and_wait(1).status
    monkeypatch.undo()
    after = rig.push_and_wait(2).status
    assert status.state == after.state == "TRACKING"
    assert after.recording is None
    assert after.log_error is not None
    assert "log_failed" in rig.kinds()
    assert rig.stop_track().flight_id == started.flight_id


class FakeFollow:
    """Turns right whenever it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Phase]] = []
        self.resets = 0

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
