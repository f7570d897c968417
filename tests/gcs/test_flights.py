from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from gcs.cli import main
from gcs.flights import draw_cle_curve, list_flights, read_flight, summarise
from model.errors import InputError


def record(index: int, cle_px: float | None = 10.0, iou: float | None = 0.72) -> dict[str, Any]:
    captured = 1_000_000_000 + index * 40_000_000
    return {
        "frame_id": index,
        "captured_ns": captured,
        "published_ns": captured + 15_000_000,
        "state": "TRACKING",
        "cle_px": cle_px,
        "iou": iou,
        "update_ms": 5.0,
        "dropped": 1 if index == 3 else 0,
    }


def write_flight(
    root: Path, records: list[dict[str, Any]], name: str = "a", tail: str = ""
) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    manifest = {"flight_id": name, "started_at": f"2026-11-22T20:00:0{name}", "source": "file"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    text = "".join(json.dumps(r) + "\n" for r in records) + tail
    (folder / "track.jsonl").write_text(text)
    return folder


def test_figures_of_a_flight_with_ground_truth(tmp_path: Path) -> None:
    records = [record(0, 10, 0.72), record(1, 20, 0.5), record(2, 30, 0.0), record(3, None, None)]
    records[3]["state"] = "LOST"
    write_flight(tmp_path, records)
    figures = summarise(read_flight(tmp_path, "a"))
    assert figures.frames == 4
    assert figures.frames_with_truth == 3
    assert figures.mean_cle_px == pytest.approx(20)
    assert figures.precision_at_20px == pytest.approx(2 / 3)
    # IoU 0.72 exceeds 15 of the 21 thresholds, 0.5 exceeds 10, 0 exceeds none.
    assert figures.success_auc == pytest.approx((15 + 10 + 0) / 63)
    assert figures.lost_share == pytest.approx(0.25)
    assert figures.fps == pytest.approx(25)
    assert figures.latency_p50_ms == pytest.approx(15)
    assert figures.update_p99_ms == pytest.approx(5)
    assert figures.dropped == 1


def test_without_ground_truth_nothing_is_estimated(tmp_path: Path) -> None:
    write_flight(tmp_path, [record(i, None, None) for i in range(3)])
    figures = summarise(read_flight(tmp_path, "a"))
    assert figures.mean_cle_px is None
    assert figures.precision_at_20px is None
    assert figures.success_auc is None
    assert any("no ground truth" in line for line in figures.lines())


def test_a_log_torn_by_a_kill_is_read_up_to_the_tear(tmp_path: Path) -> None:
    write_flight(tmp_path, [record(0), record(1)], tail='{"frame_id": 2, "capt')
    flight = read_flight(tmp_path, "a")
    assert [r["frame_id"] for r in flight.records] == [0, 1]
    assert flight.torn_lines == 1


def test_an_empty_flight_has_no_figures_but_does_not_fail(tmp_path: Path) -> None:
    write_flight(tmp_path, [])
    figures = summarise(read_flight(tmp_path, "a"))
    assert figures.frames == 0
    assert figures.fps is None
    assert figures.lines()


def test_the_newest_flight_is_first_and_answers_to_last(tmp_path: Path) -> None:
    write_flight(tmp_path, [record(0)], "1")
    write_flight(tmp_path, [record(0)], "2")
    assert [f.flight_id for f in list_flights(tmp_path)] == ["2", "1"]
    assert read_flight(tmp_path, "last").flight_id == "2"


def test_an_unknown_flight_names_those_there_are(tmp_path: Path) -> None:
    write_flight(tmp_path, [record(0)], "1")
    with pytest.raises(InputError, match="it holds 1"):
        read_flight(tmp_path, "../1")
    with pytest.raises(InputError, match="no flight yet"):
        read_flight(tmp_path / "none", "last")


def test_the_curve_breaks_where_truth_is_absent(tmp_path: Path) -> None:
    write_flight(tmp_path, [record(0), record(1), record(2, None), record(3), record(4, 90)])
    root = ET.fromstring(draw_cle_curve(read_flight(tmp_path, "a")))
    lines = root.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 2]


def test_show_prints_figures_and_draws_the_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_flight(tmp_path, [record(0), record(1)])
    assert main(["flights", "show", "a", "--flights-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "mean CLE            10.00 px" in shown
    assert "precision@20 px     1.000" in shown
    assert (folder / "cle.svg").is_file()


def test_show_as_json_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_flight(tmp_path, [record(0), record(1)])
    assert main(["flights", "show", "last", "--json", "--flights-dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["mean_cle_px"] == 10


def test_an_empty_list_says_so_and_a_file_is_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flights", "list", "--flights-dir", str(tmp_path / "none")]) == 0
    assert f"no flight in {tmp_path / 'none'}" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert main(["flights", "list", "--flights-dir", str(tmp_path / "file")]) == 2
    assert "is a file: expected a folder of flights" in capsys.readouterr().err


def test_a_missing_flight_ends_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flights", "show", "x", "--flights-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no flight 'x'" in error
