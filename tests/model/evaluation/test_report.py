from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.evaluation.analysis import (
    attribute_scores,
    cle_px,
    delta_percent,
    worst_frames,
)
from model.evaluation.box_files import Float64
from model.evaluation.calibration import calibrate
from model.evaluation.darkened import darken_sequence
from model.evaluation.document import Cell, Heading, Table, render_markdown, slug, write_report
from model.evaluation.metrics import score_sequence
from model.evaluation.paper import measured_rows, paper_tables, printed_blocks, recomputed_deltas
from model.evaluation.pictures import draw_boxes, frame_pictures
from model.evaluation.plots import plot_cle, plot_curves
from model.evaluation.report import ReportOptions, make_report
from model.evaluation.runs import TrackRun
from model.evaluation.sequences import NIGHT, Sequence, read_video_sequence
from model.evaluation.table import ScoredRun

MakeVideo = Callable[[Path, int], Float64]


def scored_run(
    tracker: str, sequence: Sequence, boxes: Float64, scores: Float64 | None = None
) -> ScoredRun:
    count = len(boxes)
    filled = np.full(count, np.nan) if scores is None else scores
    run = TrackRun(boxes, np.full(count, 0.01), filled, f"engine of {tracker}", "this machine")
    return ScoredRun(tracker, sequence, run, score_sequence(sequence.truth, boxes))


@pytest.fixture
def sequence(tmp_path: Path, make_video: MakeVideo) -> Sequence:
    make_video(tmp_path / "DTB70" / "Car2", 10)
    found = read_video_sequence(tmp_path / "DTB70" / "Car2")
    return replace(found, attributes=frozenset({"SV", "OCC"}))


@pytest.fixture
def lost(sequence: Sequence) -> Float64:
    """Boxes that drift away from frame 7 on."""
    boxes = sequence.truth.copy()
    boxes[6:, 0] += [10, 40, 90, 60]
    return boxes


def test_errors_and_worst_frames(sequence: Sequence, lost: Float64) -> None:
    run = scored_run("x", sequence, lost).run
    assert cle_px(sequence, run).tolist() == [0] * 6 + [10, 40, 90, 60]
    assert worst_frames(sequence, run, 2) == [8, 9]
    absent = replace(sequence, truth=np.where(np.arange(10)[:, None] == 8, np.nan, sequence.truth))
    assert np.isnan(cle_px(absent, run)[8])
    assert worst_frames(absent, run, 1) == [9]
    assert worst_frames(sequence, run, 0) == []


def test_attributes_average_their_subset(sequence: Sequence, lost: Float64) -> None:
    plain = replace(sequence, name="Other", attributes=frozenset({"SV"}))
    runs = [scored_run("x", sequence, lost), scored_run("x", plain, sequence.truth)]
    occ, sv = attribute_scores(runs)
    assert (occ.attribute, occ.sequences, sv.sequences) == ("OCC", 1, 2)
    assert occ.scores["x"].precision_at_20 == pytest.approx(0.7)
    assert sv.scores["x"].precision_at_20 == pytest.approx(0.85)
    assert attribute_scores([scored_run("x", replace(plain, attributes=frozenset()), lost)]) == []


def test_delta() -> None:
    assert delta_percent(0.588, [0.471, 0.461]) == pytest.approx(24.84, abs=0.01)
    assert delta_percent(0.4, [0.5]) == pytest.approx(-20)
    assert np.isnan(delta_percent(0.4, []))


def test_calibration_by_hand(sequence: Sequence) -> None:
    boxes = sequence.truth.copy()
    boxes[5:, 0] += 100
    good = np.array([np.nan, 0.95, 0.9, 0.92, 0.91, 0.1, 0.2, 0.12, 0.15, 0.05])
    found = calibrate([scored_run("x", sequence, boxes, good)])
    assert found is not None
    assert found.frames == 9
    assert found.separation == 1
    assert found.rank_correlation > 0.8
    assert sum(count for _, _, count in found.bins) == 9
    assert found.bins[9] == (pytest.approx(0.95), 1.0, 4)
    assert found.bins[0][1] == 0
    assert np.isnan(found.bins[5][1])
    assert [(t.name, t.missed, t.held) for t in found.thresholds] == [
        ("lost_score", 0.0, 0.2),
        ("low_score", 0.0, 0.0),
        ("found_score", 0.0, 0.0),
    ]
    blind = calibrate([scored_run("x", sequence, boxes, np.full(10, 0.5))])
    assert blind is not None
    assert blind.separation == 0.5
    assert np.isnan(blind.rank_correlation)
    assert [(t.missed, t.held) for t in blind.thresholds] == [(0.0, 1.0), (1.0, 0.0), (1.0, 0.0)]
    right = calibrate([scored_run("x", sequence, sequence.truth, np.full(10, 0.5))])
    assert right is not None
    assert np.isnan(right.thresholds[0].held)
    assert calibrate([scored_run("x", sequence, boxes)]) is None


def test_pictures_show_truth_and_answers(sequence: Sequence, lost: Float64) -> None:
    frame = next(iter(sequence.frames))
    before = frame.copy()
    drawn = draw_boxes(frame, sequence.truth[0], {"x": lost[0]})
    assert np.array_equal(frame, before)
    assert drawn.shape == frame.shape
    assert (drawn != frame).any()
    wide = np.zeros((720, 1280, 3), np.uint8)
    assert draw_boxes(wide, np.full(4, np.nan), {}).shape == (360, 640, 3)
    pictures = frame_pictures(sequence, [2, 8], {"x": lost})
    assert sorted(pictures) == [2, 8]
    assert pictures[2][:2] == b"\xff\xd8"
    dark = darken_sequence(sequence, 1)
    third = list(dark.frames)[2]
    drawn = draw_boxes(third, sequence.truth[2], {})
    _, data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert frame_pictures(dark, [2], {}) == {2: data.tobytes()}


def test_the_paper_is_marked_as_printed() -> None:
    tables = paper_tables()
    assert len(tables["table_1"]) == 15
    text = render_markdown(printed_blocks(), "figures")
    assert "MLKD-Track (as printed)" in text
    assert "not measured here" in text
    printed, again = tables["printed_delta_percent"], recomputed_deltas()
    differ = [
        (a, k, p, round(q, 1))
        for a in printed
        for k, (p, q) in enumerate(zip(printed[a], again[a], strict=True))
        if abs(p - q) > 0.051
    ]
    assert differ == [("OCC", 2, 21.7, 18.8)]


def test_rows_measured_on_the_set_of_the_paper_stand_beside_its_rows(sequence: Sequence) -> None:
    other = scored_run("ours", sequence, sequence.truth)
    assert measured_rows([other]) == []
    assert "nothing here was measured on UAVDark135" in render_markdown(printed_blocks(), "f")
    night = replace(
        sequence, dataset="UAVDark135", condition=NIGHT, attributes=frozenset({"LR", "ARC"})
    )
    found = measured_rows([scored_run("ours", night, sequence.truth), other])
    text = render_markdown(printed_blocks(found), "f")
    row = next(
        x for x in text.splitlines() if x.startswith("| ours (measured, 1 of 135 sequences)")
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
    low_resolution = 3 * paper_tables()["attributes"].index("LR")
    assert cells[low_resolution : low_resolution + 3] == ["1.000", "1.000", "0.952"]
    assert cells.count("-") == 12  # the other four attributes
    assert "| ours (measured, 1 of 135 sequences) | 0.952 | 1.000 | 1.000 | 100.0 |" in text


def test_slugs_and_tables() -> None:
    assert slug("DTB70/Car2 (night-degraded)") == "dtb70-car2-night-degraded"
    table = Table(("a|b", "c"), ((Cell("x", link="y"), Cell("1", best=True)),), "caption")
    text = render_markdown([Heading("H", 3), table], "f")
    assert text.startswith("### H\n\ncaption\n\n| a\\|b | c |\n| --- | ---: |\n")
    assert "| [x](#y) | **1** |" in text


def test_the_report_is_whole(tmp_path: Path, sequence: Sequence, lost: Float64) -> None:
    pytest.importorskip("matplotlib")
    dark = darken_sequence(sequence, 1)
    scores = np.linspace(0.9, 0.1, 10)
    runs = [
        scored_run("ours", sequence, lost, scores),
        scored_run("KCF <old>", sequence, sequence.truth),
        scored_run("ours", dark, lost, scores),
        scored_run("KCF <old>", dark, lost),
    ]
    notes = ("ours was selected on the test set DTB70",)
    blocks = make_report(runs, ReportOptions("ours", notes=notes, paper=True))
    page, text = write_report(tmp_path / "report", "Title", blocks)
    html, markdown = page.read_text(), text.read_text()
    for wanted in (
        "Day: 1 sequences, 10 frames",
        "Night-degraded: 1 sequences",
        "selected on the test set DTB70",
        "Precision plot, day",
        "Δ % of ours",
        "engine of ours",
        "this machine",
        "the line is at 20 px",
        "rank correlation",
        "SR0.75",
        "frame 9: 90 px off",
        "as printed",
    ):
        assert wanted in html, wanted
        assert wanted in markdown, wanted
    assert "KCF &lt;old&gt;" in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    anchors = set(re.findall(r'href="#([^"]+)"', html))
    assert anchors
    assert anchors <= set(re.findall(r'id="([^"]+)"', html))
    for name in re.findall(r"\(figures/([^)]+)\)", markdown):
        assert (tmp_path / "report" / "figures" / name).stat().st_size > 500


def test_the_best_figures_are_marked(sequence: Sequence, lost: Float64) -> None:
    pytest.importorskip("matplotlib")
    runs = [scored_run("ours", sequence, lost), scored_run("KCF", sequence, sequence.truth)]
    table = next(b for b in make_report(runs, ReportOptions("ours")) if isinstance(b, Table))
    rows = {row[0].text: dict(zip(table.headings, row, strict=True)) for row in table.rows}
    for figure in ("success AUC", "prec@20", "AO", "SR0.5", "CLE px"):
        assert rows["KCF"][figure].best
        assert not rows["ours"][figure].best
    assert (rows["KCF"]["CLE px"].text, rows["ours"]["CLE px"].text) == ("0.0", "20.0")
    assert not rows["KCF"]["tracker"].best


def test_errors_of_a_tracker_without_any_answer_are_drawn(sequence: Sequence) -> None:
    pytest.importorskip("matplotlib")
    assert b"20 px" in plot_cle({"x": np.full(10, np.nan)}, "title")


def test_a_plot_is_the_same_each_time() -> None:
    pytest.importorskip("matplotlib")
    steps = np.linspace(0, 1, 5)
    curves = {"a": (1 - steps, 0.5), "b": (steps, 0.6)}
    first = plot_curves(curves, steps, ("Success", "x", "y"))
    assert first == plot_curves(curves, steps, ("Success", "x", "y"))
    assert first.index(b"b [0.600]") < first.index(b"a [0.500]")
