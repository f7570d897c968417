"""The benchmark of the whole loop: it measures what flew, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drone.errors import FrameTimeoutError
from exporter.scene import draw_clip
from gcs import cli
from gcs.cli_bench_loop import ClipSource, make_station, measure, summarise
from tests.fakes import BrightnessBackend


def test_the_source_goes_to_and_fro_and_drops_what_is_late() -> None:
    source = ClipSource(draw_clip(4), 0)
    assert [source.place(n) for n in range(8)] == [0, 1, 2, 3, 2, 1, 0, 1]
    source.open()
    numbers = [frame.number for frame in (source.read(1.0), source.read(1.0)) if frame]
    assert numbers == [0, 1]
    slow = ClipSource(draw_clip(4), 2.0)
    slow.open()
    first = slow.read(1.0)
    assert first is not None
    with pytest.raises(FrameTimeoutError):
        slow.read(0.01)
    slow._started_ns -= 3_000_000_000  # three seconds in which nobody asked
    later = slow.read(1.0)
    assert later is not None
    assert later.number == 6
    assert slow.dropped == 5


@pytest.mark.parametrize("view", [False, True])
def test_every_counted_frame_was_tracked_and_logged(tmp_path: Path, view: bool) -> None:
    source = ClipSource(draw_clip(4), 0)
    station = make_station(source, BrightnessBackend(), tmp_path)
    records = measure(station, source, 20, view)
    assert len(records) >= 20
    tracked = [r for r in records if r["inferred_ns"] is not None]  # a busy machine skips some
    assert tracked
    assert all(r["inferred_ns"] >= r["captured_ns"] for r in tracked)
    assert any(r["command"] is not None for r in records)
    report = summarise(records, 1.0, len(records))
    whole, parts = report["capture to publication"], report["capture to answer"]
    assert whole["p50_ms"] >= parts["p50_ms"] > 0


def test_summary_by_hand() -> None:
    ms = 1_000_000
    records = [
        {"captured_ns": t * ms, "inferred_ns": (t + 4) * ms, "published_ns": (t + 5) * ms,
         "update_ms": 3.0, "dropped": 1}
        for t in (0, 10, 20)
    ]  # fmt: skip
    skipped = {"captured_ns": 0, "inferred_ns": None, "published_ns": 900 * ms, "update_ms": None}
    report = summarise([*records, {**skipped, "dropped": 0}], 2.0, 3)
    assert report["untracked"] == 1
    assert report["capture to answer"]["p99_ms"] == 4.0
    assert report["answer to publication"]["p50_ms"] == 1.0
    assert report["update"]["p95_ms"] == 3.0
    assert (report["fps"], report["dropped"]) == (100.0, 3)


def test_the_command_with_the_shipped_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench-loop", "--frames", "5", "--fps", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["frames"] >= 5
    assert report["update"]["p50_ms"] > 0


def test_a_wrong_pace_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench-loop", "--fps", "-1"]) == 2
    assert "--fps -1" in capsys.readouterr().err
