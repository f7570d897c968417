"""The loop when a part of it fails."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from drone.errors import SourceError
from drone.frame import Frame
from gcs import loop as module
from gcs.beginning import NoVideoError
from gcs.requests import ReopenOrder
from gcs.session import Phase
from model.errors import BackendError
from tests.fakes import BrightnessBackend, FakeControl
from tests.rig import Rig
from tests.serving import flight_folder, wait_until


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


def test_it_learns_once_the_box_is_out_and_tells_once_of_an_engine_that_fails_then(
    tmp_path: Path,
) -> None:
    backend = BrightnessBackend()
    backend.config = replace(backend.config, template_memory=0.5, memory_frames=2, memory_score=0.5)
    rig = Rig(tmp_path, backend=backend)
    try:
        rig.push_and_wait(0)
        rig.start_track()
        out = list[int]()
        backend.before_encode = lambda: out.append(max(rig.pictures()))
        for number in range(1, 5):
            rig.push_and_wait(number)
        wait_until(lambda: len(out) == 2)
        assert out == [2, 4], "each time the frame just answered was out"

        def fail() -> None:
            raise BackendError("device removed")

        backend.before_encode = fail
        for number in range(5, 13):
            status = rig.push_and_wait(number).status
        assert (status.refused, status.level, status.state) == (0, "SURE", "TRACKING")
        assert rig.station.health().healthy, "the engine answers"
        assert rig.kinds().count("learning_failed") == 1
    finally:
        rig.station.stop()


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = FakeControl()
    rig = Rig(tmp_path, control=control)
    rig.push_and_wait(0)
    broken = threading.Event()
    broken.set()
    read = rig.source.read

    def fail(timeout_s: float) -> Frame | None:
        if broken.is_set():
            raise ZeroDivisionError("a bug")
        return read(timeout_s)

    monkeypatch.setattr(rig.source, "read", fail)
    before = control.neutrals
    wait_until(lambda: "loop_error" in rig.kinds())
    assert control.neutrals > before, "it hovers first"
    broken.clear()
    rig.push_and_wait(1)
    assert rig.kinds().count("loop_error") == 1
    rig.station.stop()


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
    folder = flight_folder(rig.station)
    assert json.loads((folder / "manifest.json").read_text())["ended_at"]
    rig.station.stop()


def test_stopping_the_station_ends_the_flight(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.push_and_wait(0)
    rig.start_track()
    rig.push_and_wait(1)
    rig.station.stop()
    folder = flight_folder(rig.station)
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


def test_a_frozen_video_does_not_keep_a_stop_waiting(impatient: Rig) -> None:
    impatient.push_and_wait(0)
    impatient.start_track()
    impatient.push_and_wait(1)
    wait_until(lambda: impatient.published[-1].status.video == "STALLED")
    assert impatient.stop_track().frames == 1
    wait_until(lambda: impatient.published[-1].status.state == "IDLE")
