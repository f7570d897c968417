from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from gcs.app import create_app
from gcs.beginning import NoVideoError
from gcs.feed import INTERVALS_KEPT
from gcs.history import FrameGoneError
from gcs.hub import Publication
from gcs.requests import GivenUpError, HoldOrder, StartOrder, StopOrder
from gcs.schemas import StartRequest
from gcs.session import SessionError
from model.errors import BoxError
from tests.fakes import make_frame
from tests.rig import Rig
from tests.serving import MemoryClient, wait_until


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


def test_a_damaged_picture_is_shown_and_not_tracked(rig: Rig) -> None:
    rig.push_and_wait(0)
    rig.start_track()
    rig.source.push(replace(make_frame(1, rig.station.clock()), damaged=True))
    wait_until(lambda: rig.pictures()[-1] == 1)
    held = next(p.status for p in rig.published if p.status.frame_id == 1)
    assert (held.state, held.score) == ("TRACKING", None)
    assert rig.push_and_wait(2).status.score is not None
    assert [line["inferred_ns"] is None for line in rig.flight()] == [True, False]


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


def test_a_stop_ends_a_start_that_is_still_being_made_ready(rig: Rig) -> None:
    for number in range(12):
        rig.push_and_wait(number)
    replaying, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        replaying.set()
        assert go_on.wait(10)

    rig.backend.before_predict = wait
    start, stop = StartOrder(StartRequest(box=[148, 108, 24, 24], frame_id=0)), StopOrder()
    rig.station.loop.orders.put(start)
    assert replaying.wait(10)
    rig.station.loop.orders.put(stop)
    go_on.set()
    with pytest.raises(GivenUpError):
        start.answer.result(10)
    with pytest.raises(SessionError):
        stop.answer.result(10)
    assert rig.backend.calls == 1
    rig.backend.before_predict = None
    assert rig.push_and_wait(12).status.state == "IDLE"
    assert "track_started" not in rig.kinds()
    assert rig.start_track().frame_id == 12, "the next start is not held back"


def test_a_start_that_was_refused_never_begins(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is stuck in the first update for longer than the asker waits."""
    monkeypatch.setattr("gcs.station.ANSWER_TIMEOUT_S", 0.2)
    for number in range(12):
        rig.push_and_wait(number)
    go_on = threading.Event()
    rig.backend.before_predict = lambda: None if go_on.wait(10) else pytest.fail("never released")
    client = MemoryClient(create_app(rig.station))
    body = {"box": [148, 108, 24, 24], "frame_id": 0}
    refused = client.post("/api/tracking/start", json=body)
    assert refused.status_code == 503
    assert "nothing was started" in refused.json()["detail"]
    go_on.set()
    rig.backend.before_predict = None
    assert rig.push_and_wait(12).status.state == "IDLE"
    assert "track_started" not in rig.kinds(), "no stop was needed for that"


def test_a_stop_that_came_too_late_for_its_answer_stops_all_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gcs.station.ANSWER_TIMEOUT_S", 0.2)
    rig.push_and_wait(0)
    rig.start_track()
    go_on, stuck = threading.Event(), threading.Event()

    def wait() -> None:
        stuck.set()
        assert go_on.wait(10)

    rig.backend.before_predict = wait
    rig.push(1)
    assert stuck.wait(10)
    unheard = MemoryClient(create_app(rig.station)).post("/api/tracking/stop")
    assert unheard.status_code == 503
    assert "the track stops as soon as it does" in unheard.json()["detail"]
    go_on.set()
    rig.backend.before_predict = None
    wait_until(lambda: "track_stopped" in rig.kinds())
    assert rig.push_and_wait(2).status.state == "IDLE"


def test_a_stop_that_was_cancelled_holds_no_later_start_back(rig: Rig) -> None:
    rig.push_and_wait(0)
    stop = StopOrder()
    assert stop.answer.cancel()
    rig.station.loop.orders.put(stop)
    rig.push_and_wait(1)
    assert rig.start_track().frame_id == 1


def test_a_new_box_that_is_refused_leaves_the_track_as_it_was(rig: Rig) -> None:
    rig.push_and_wait(0)
    first = rig.start_track()
    for request, error in (
        (StartRequest(box=[148, 108, 24, 24], frame_id=99, replace=True), FrameGoneError),
        (StartRequest(box=[1, 1, 2, 2], replace=True), BoxError),
        (StartRequest(box=[148, 108, 24, 24]), SessionError),
    ):
        with pytest.raises(error):
            rig.start_track(request)
        assert rig.station.output.flight_id == first.flight_id
    assert rig.push_and_wait(1).status.state == "TRACKING"
    second = rig.start_track(StartRequest(box=[150, 110, 20, 20], replace=True))
    assert second.flight_id != first.flight_id
    assert rig.kinds().count("track_started") == 2
    assert rig.kinds().count("track_stopped") == 1
    status = rig.push_and_wait(2).status
    assert (status.state, status.recording) == ("TRACKING", second.flight_id)
    rig.stop_track()
    third = rig.start_track(StartRequest(box=[150, 110, 20, 20], replace=True))
    assert third.frame_id == 2, "with nothing to replace it is a start"
