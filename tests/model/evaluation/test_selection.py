from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from model import cli_eval
from model.backend import Backend
from model.config import TrackerConfig
from model.errors import InputError
from model.evaluation.box_files import Float64, write_boxes
from model.evaluation.cli_data import find_known
from model.evaluation.data_check import Known
from model.evaluation.peers import TrackerSpec
from model.evaluation.selection import (
    RANGES,
    check_hygiene,
    grid_configs,
    parse_grid,
    random_configs,
    trial_specs,
)
from tests.fakes import BrightnessBackend

MakeVideo = Callable[[Path, int], Float64]


def open_fake(path: Path, engine: str) -> Backend:
    if engine == "nosuch":
        raise InputError(f"engine is {engine!r}: expected auto")
    return BrightnessBackend()


def mlkd(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    cli_eval.add_parser(parser.add_subparsers(), open_backend=open_fake)
    arguments = parser.parse_args([str(w) for w in words])
    return int(arguments.run(arguments))


@pytest.fixture
def data(tmp_path: Path, make_video: MakeVideo) -> Path:
    make_video(tmp_path / "data" / "set" / "a", 6)
    make_video(tmp_path / "data" / "set" / "b", 5)
    return tmp_path / "data"


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "engine"
    path.mkdir()
    return path


def test_hygiene() -> None:
    assert check_hygiene(["videos"], False) == "selected on a validation list"
    assert check_hygiene(["NAT2021-train"], False) == "selected on a validation list"
    with pytest.raises(InputError, match="UAVDark135 is a test set: expected a validation list"):
        check_hygiene(["UAVDark135"], False)
    assert check_hygiene(["UAVDark135"], True) == "selected on the test set UAVDark135"


def test_configurations() -> None:
    base = TrackerConfig()
    grid = parse_grid(["penalty_k=0.05,0.1", "size_lr=0.3,0.4"])
    configs = grid_configs(base, grid)
    assert configs[0] == base
    assert len(configs) == 5
    assert {c.penalty_k for c in configs[1:]} == {0.05, 0.1}
    drawn = random_configs(base, 9, 3)
    assert drawn[0] == base
    assert drawn == random_configs(base, 9, 3)
    assert drawn != random_configs(base, 9, 4)
    for config in drawn[1:]:
        for name, (low, high) in RANGES.items():
            assert low <= getattr(config, name) <= high
    names = [s.name for s in trial_specs(TrackerSpec("engine", "e"), drawn)]
    assert len(set(names)) == 9


@pytest.mark.parametrize("text", ["stride=8", "penalty_k", "penalty_k=a,b"])
def test_bad_grids(text: str) -> None:
    with pytest.raises(InputError, match="--grid"):
        parse_grid([text])
    with pytest.raises(InputError, match="trials is 0"):
        random_configs(TrackerConfig(), 0, 0)


def test_run_prints_and_writes(
    tmp_path: Path, data: Path, engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("eval", "run", "--tracker", f"ours={engine}", "--tracker", "kcf", "--data", data)
    assert mlkd(*words, "--night", "1", "--out", out, "--json", "--formats", "got10k") == 0
    text = capsys.readouterr().out
    assert "night-degraded (2 sequences, 11 frames)" in text
    rows = json.loads(text.splitlines()[-1])["rows"]
    assert {(r["tracker"], r["condition"]) for r in rows} == {
        (t, c) for t in ("ours", "KCF") for c in ("day", "night-degraded")
    }
    assert (tmp_path / "out-got10k" / "set" / "ours" / "a" / "a_001.txt").is_file()
    assert (out / "set.night1" / "KCF" / "b.txt").is_file()
    assert mlkd(*words, "--night", "1", "--out", out) == 0


def test_choosing_sequences(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("eval", "run", "--tracker", "kcf", "--data", data, "--out", tmp_path / "out")
    mlkd(*words, "--only", "b", "--frames", "3")
    assert "day (1 sequences, 3 frames)" in capsys.readouterr().out
    (tmp_path / "list.txt").write_text("set/a\n")
    mlkd(*words, "--list", tmp_path / "list.txt", "--night", "2", "--night-only")
    assert "night-degraded (1 sequences, 6 frames)" in capsys.readouterr().out
    with pytest.raises(InputError, match="no sequence nosuch: expected some of a, b"):
        mlkd(*words, "--only", "nosuch")
    with pytest.raises(InputError, match="--limit 0"):
        mlkd(*words, "--limit", "0")
    with pytest.raises(InputError, match="no sequence is left"):
        mlkd(*words, "--night-only")
    with pytest.raises(InputError, match="--night -1"):
        mlkd(*words, "--night", "-1")


def test_tune_finds_the_best_and_says_so(
    tmp_path: Path, data: Path, engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "trials"
    words = ("eval", "tune", "--tracker", engine, "--data", data, "--out", out, "--quiet")
    assert mlkd(*words, "--grid", "size_lr=0,1", "--grid", "window_influence=0.3") == 0
    lines = capsys.readouterr().out.splitlines()
    best = json.loads(lines[-1])
    assert set(best["config"]) == set(RANGES)
    assert "selected on a validation list" in lines[-2]
    ranked = [float(line.split()[1]) for line in lines[:3]]
    assert ranked == sorted(ranked, reverse=True)
    record = json.loads((out / "selection.json").read_text())
    assert len(record["candidates"]) == 3
    assert record["sequences"] == ["set/a (day)", "set/b (day)"]
    with pytest.raises(InputError, match="expected an engine folder"):
        mlkd("eval", "tune", "--tracker", "kcf", "--data", data, "--out", out)


def test_select_ranks_candidates(
    tmp_path: Path, data: Path, engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("eval", "select", "--candidate", f"s1={engine}", "--candidate", "mil")
    assert mlkd(*words, "--data", data, "--out", tmp_path / "o", "--quiet") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {lines[0].split()[2], lines[1].split()[2]} == {"s1", "MIL"}
    with pytest.raises(InputError, match="is a test set"):
        mlkd(*words, "--data", data, "--set", "DTB70", "--out", tmp_path / "o")


def test_a_night_test_set_is_known_in_the_plain_layout(
    tmp_path: Path, make_video: MakeVideo
) -> None:
    make_video(tmp_path / "data" / "UAVDark135" / "a", 3)
    make_video(tmp_path / "data" / "DTB70" / "b", 3)
    words = ("eval", "select", "--candidate", "kcf", "--data", tmp_path / "data", "--quiet")
    with pytest.raises(InputError, match="UAVDark135 is a test set"):
        mlkd(*words, "--out", tmp_path / "o")
    assert mlkd(*words, "--out", tmp_path / "o", "--allow-test-set") == 0
    record = json.loads((tmp_path / "o" / "selection.json").read_text())
    assert record["selection"] == "selected on the test set UAVDark135"


def test_report_names_the_selection(
    tmp_path: Path, data: Path, engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    mlkd("eval", "select", "--candidate", f"s1={engine}", "--data", data, "--out", out, "--quiet")
    words = ("eval", "report", "--data", data, "--results", out, "--tracker", "s1")
    mlkd(*words, "--to", tmp_path / "r", "--selection", out / "selection.json")
    text = (tmp_path / "r" / "report.md").read_text()
    assert "s1 was selected on a validation list" in text
    assert "2 of the 2 sequences below were among those it was selected on" in text
    assert "wrote" in capsys.readouterr().out
    (out / "bad.json").write_text("[]")
    with pytest.raises(InputError, match=r"bad\.json: expected the selection\.json"):
        mlkd(*words, "--to", tmp_path / "r", "--selection", out / "bad.json")
    with pytest.raises(InputError, match=r"nosuch.a\.txt: expected a text file, found nothing"):
        mlkd("eval", "report", "--data", data, "--results", out, "--tracker", "nosuch")


def test_a_selection_beside_the_results_is_told_unasked(
    tmp_path: Path, make_pictures: Callable[..., Float64]
) -> None:
    pytest.importorskip("matplotlib")
    truth = make_pictures(tmp_path / "set" / "data_seq" / "a")
    write_boxes(tmp_path / "set" / "anno" / "a.txt", truth)
    data = ("--set", "UAVDark135", "--data", tmp_path / "set")
    out = tmp_path / "out"
    words = ("eval", "select", "--candidate", "kcf", *data, "--out", out, "--quiet")
    mlkd(*words, "--allow-test-set")
    report = ("eval", "report", *data, "--results", out, "--tracker")
    mlkd(*report, "KCF", "--to", tmp_path / "r")
    told = "KCF was selected on the test set UAVDark135"
    assert told in (tmp_path / "r" / "report.md").read_text()
    assert told in (tmp_path / "r" / "report.html").read_text()
    mlkd("eval", "run", "--tracker", "other=kcf", *data, "--out", out, "--quiet")
    mlkd(*report, "other", "--to", tmp_path / "r2")
    assert "selected" not in (tmp_path / "r2" / "report.md").read_text()


def test_score_and_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    anno, results = tmp_path / "anno", tmp_path / "T"
    for folder in (anno, results):
        folder.mkdir()
        (folder / "a.txt").write_text("1,2,30,40\n2,2,30,40\n")
    assert mlkd("eval", "score", "--anno", anno, results, "--convention", "matlab") == 0
    assert "convention matlab" in capsys.readouterr().out
    with pytest.raises(InputError, match="2 folders are called T"):
        mlkd("eval", "score", "--anno", anno, results, results)
    assert mlkd("eval", "convert", results, tmp_path / "G", "--format", "got10k") == 0
    assert (tmp_path / "G" / "a" / "a_001.txt").read_text() == (
        "1.000,2.000,30.000,40.000\n2.000,2.000,30.000,40.000\n"
    )


def test_what_is_known_of_a_set_is_found_beside_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shared" / "data" / "ope-oracle" / "night-init-boxes"
    folder.mkdir(parents=True)
    (folder / "NAT2021.csv").write_text("sequence,frames,x,y,w,h\na,5,60,50,24,24\n")
    (tmp_path / "house").mkdir()
    monkeypatch.chdir(tmp_path / "house")
    monkeypatch.delenv("MLKD_SHARED", raising=False)
    assert find_known("NAT2021-test", None) == {"a": Known(5, (60, 50, 24, 24))}
    assert find_known("NAT2021-train", None) is None
    monkeypatch.setenv("MLKD_SHARED", str(tmp_path / "nowhere"))
    assert find_known("NAT2021-test", None) is None


def test_data_verbs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make_pictures: Callable[..., Float64]
) -> None:
    assert mlkd("data", "list") == 0
    assert "UAVDark135" in capsys.readouterr().out
    make_pictures(tmp_path / "s" / "data_seq" / "a")
    (tmp_path / "s" / "anno").mkdir()
    (tmp_path / "s" / "anno" / "a.txt").write_text("60,50,24,24\n" * 5)
    (tmp_path / "k.csv").write_text("sequence,frames,x,y,w,h\na,5,60,50,24,24\n")
    words = ("data", "check", "UAVDark135", tmp_path / "s", "--known", tmp_path / "k.csv")
    assert mlkd(*words) == 0
    assert "1 sequences, compared with 1 known ones; 0 findings" in capsys.readouterr().out
    (tmp_path / "k.csv").write_text("sequence,frames,x,y,w,h\na,6,60,50,24,24\n")
    assert mlkd(*words) == 1
    assert "odd      a: 5 frames: expected 6" in capsys.readouterr().out
