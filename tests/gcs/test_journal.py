from __future__ import annotations

import json
from pathlib import Path

from gcs.journal import KEPT, Journal
from gcs.recorder import Recorder
from tests.fakes import FakeClock


def test_events_are_numbered_bounded_and_written_to_the_flight(tmp_path: Path) -> None:
    clock = FakeClock(5)
    recorder = Recorder(tmp_path)
    journal = Journal(recorder, clock)
    assert journal.newest is None
    journal.note("before", "no flight yet")
    flight_id = recorder.begin({}, 0)
    assert flight_id is not None
    journal.note("found", "again", frame_id=7)
    recorder.end()
    journal.note("after", "no flight any more")
    assert journal.newest is not None
    assert (journal.newest.number, journal.newest.kind) == (3, "after")
    (line,) = (tmp_path / flight_id / "events.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "monotonic_ns": 5,
        "kind": "found",
        "message": "again",
        "frame_id": 7,
    }
    for _ in range(2 * KEPT):
        journal.note("many", "")
    assert len(journal.events) == KEPT
    assert journal.newest.number == 3 + 2 * KEPT


def test_what_is_posted_waits_and_keeps_its_time(tmp_path: Path) -> None:
    clock = FakeClock(5)
    recorder = Recorder(tmp_path)
    journal = Journal(recorder, clock)
    flight_id = recorder.begin({}, 0)
    assert flight_id is not None
    journal.post("override", "the operator took over (key)")
    assert list(journal.events) == []
    clock.now_ns = 9
    journal.collect()
    journal.collect()
    recorder.end()
    (line,) = (tmp_path / flight_id / "events.jsonl").read_text().splitlines()
    assert json.loads(line)["monotonic_ns"] == 5
    assert [event.kind for event in journal.events] == ["override"]


def test_routine_decisions_do_not_hide_other_events(tmp_path: Path) -> None:
    journal = Journal(Recorder(tmp_path), FakeClock(5))
    journal.note("lost", "the target is lost")
    journal.note("control", "tracker_lost: the tracker lost the target")
    assert journal.newest is not None
    assert journal.newest.kind == "lost"
    assert len(journal.events) == 2
