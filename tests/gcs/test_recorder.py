from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from gcs import recorder as module
from gcs.recorder import Recorder, create_folder, encode_line

REPO = Path(__file__).resolve().parents[2]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_flight_from_begin_to_end(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "flights")
    assert not (tmp_path / "flights").exists(), "nothing is made before the first flight"
    recorder.record({"lost": True})
    flight_id = recorder.begin({"source": "s", "frame_size": [4, 3]}, 77)
    assert flight_id is not None
    assert recorder.recording
    for number in range(5):
        recorder.record({"frame_id": number})
    recorder.event({"kind": "found", "monotonic_ns": 1, "message": "m"})
    assert recorder.end() == flight_id
    assert not recorder.recording
    folder = tmp_path / "flights" / flight_id
    assert [line["frame_id"] for line in lines(folder / "track.jsonl")] == list(range(5))
    assert lines(folder / "events.jsonl")[0]["kind"] == "found"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["flight_id"] == flight_id
    assert manifest["clock"]["monotonic_ns"] == 77
    assert manifest["lines"] == 5
    assert datetime.fromisoformat(manifest["started_at"]).tzinfo is not None
    assert datetime.fromisoformat(manifest["ended_at"]) >= datetime.fromisoformat(
        manifest["started_at"]
    )


def test_every_line_is_on_disk_before_the_next(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    flight_id = recorder.begin({}, 0)
    assert flight_id is not None
    for number in range(3):
        recorder.record({"frame_id": number})
        assert len(lines(tmp_path / flight_id / "track.jsonl")) == number + 1
    recorder.end()


def test_two_flights_of_one_moment_get_two_folders(tmp_path: Path) -> None:
    now = datetime(2024, 5, 6, 7, 8, 9, 123000, timezone.utc)
    first, second = create_folder(tmp_path, now), create_folder(tmp_path, now)
    assert first.name == "20240506T070809123Z"
    assert second.name == "20240506T070809123Z-1"


def test_no_number_is_no_json() -> None:
    line = encode_line({"a": math.nan, "b": [1.5, math.inf], "c": {"d": -math.inf}, "e": None})
    assert json.loads(line) == {"a": None, "b": [1.5, None], "c": {"d": None}, "e": None}


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    recorder = Recorder(blocked)
    assert recorder.begin({}, 0) is None
    assert recorder.error is not None
    assert "the flight is not logged" in recorder.error
    recorder.record({"frame_id": 1})
    recorder.event({"kind": "k"})
    assert recorder.end() is None


def test_a_full_disk_ends_the_log_with_a_whole_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path)
    flight_id = recorder.begin({}, 0)
    assert flight_id is not None
    recorder.record({"frame_id": 0})
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    recorder.record({"frame_id": 1, "note": "half of this is written"})
    monkeypatch.undo()
    assert not recorder.recording
    assert recorder.error is not None
    assert "No space left" in recorder.error
    recorder.record({"frame_id": 2})
    assert [line["frame_id"] for line in lines(tmp_path / flight_id / "track.jsonl")] == [0]
    assert recorder.end() == flight_id


def test_a_disk_that_fails_at_the_end_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path)
    flight_id = recorder.begin({"source": "s"}, 0)
    assert flight_id is not None
    recorder.record({"frame_id": 0})

    def refuse(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_json", refuse)
    assert recorder.end() == flight_id
    assert recorder.error is not None
    manifest = json.loads((tmp_path / flight_id / "manifest.json").read_text())
    assert manifest["source"] == "s", "the manifest of the start is still whole"


CHILD = """
import sys
from pathlib import Path
from gcs.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]))
print(recorder.begin({"source": "child"}, 1), flush=True)
recorder.event({"kind": "track_started", "monotonic_ns": 1, "message": ""})
number = 0
while True:
    recorder.record({"frame_id": number, "box": [1.5, 2.5, 3.5, 4.5], "score": 0.5})
    print(number, flush=True)
    number += 1
"""


def test_kill_9_loses_no_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO) as child:
        assert child.stdout is not None
        flight_id = child.stdout.readline().strip()
        told = -1
        while told < 500:
            told = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().splitlines()
        told = int(rest[-1]) if rest and rest[-1].isdigit() else told
    folder = tmp_path / flight_id
    numbers = [line["frame_id"] for line in lines(folder / "track.jsonl")]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > told, "every line that was reported is there"
    assert json.loads((folder / "manifest.json").read_text())["source"] == "child"
    assert len(lines(folder / "events.jsonl")) == 1


def test_events_between_flights_go_to_the_stations_file_over_all_starts(tmp_path: Path) -> None:
    for start in range(2):
        recorder = Recorder(tmp_path)
        recorder.event({"kind": "override", "start": start})
        recorder.begin({}, 1)
        recorder.event({"kind": "found", "start": start})
        recorder.end()
        recorder.event({"kind": "control_level", "start": start})
        recorder.close()
    noted = lines(tmp_path / module.STATION_FILE)
    assert [(event["kind"], event["start"]) for event in noted] == [
        ("override", 0), ("control_level", 0), ("override", 1), ("control_level", 1),
    ]  # fmt: skip
    assert all(event["wall"] for event in noted)


def test_the_stations_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STATION_BYTES", 1000)
    recorder = Recorder(tmp_path)
    for number in range(100):
        recorder.event({"number": number})
    recorder.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["station.1.jsonl", "station.jsonl"]
    kept = [e["number"] for name in files for e in lines(tmp_path / name)]
    assert kept == list(range(kept[0], 100))
    assert all((tmp_path / name).stat().st_size < 1200 for name in files)


def test_a_disk_that_takes_no_events_is_told_once_and_hinders_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    recorder = Recorder(tmp_path / "file" / "flights")
    for _ in range(3):
        recorder.event({"kind": "override"})
    assert len([r for r in caplog.records if "events are not logged" in r.message]) == 1
    assert recorder.error is None
