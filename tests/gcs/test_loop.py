from __future__ import annotations

import pytest

from gcs.beginning import NoVideoError
from gcs.feed import INTERVALS_KEPT
from gcs.hub import Publication
from gcs.requests import HoldOrder
from gcs.schemas import StartRequest
from gcs.session import SessionError
from tests.fakes import make_frame
from tests.rig import Rig
from tests.serving import wait_until


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
