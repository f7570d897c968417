from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.backend import Backend
from model.config import TrackerConfig
from model.errors import InputError, MlkdError
from model.evaluation.box_files import Float64
from model.evaluation.darkened import darken_sequence
from model.evaluation.metrics import score_sequence
from model.evaluation.ope import run_ope, share_cores, track_sequence
from model.evaluation.peers import (
    EngineTracker,
    TrackerOpener,
    TrackerSpec,
    parse_spec,
)
from model.evaluation.runs import is_finished, read_run, result_path
from model.evaluation.sequences import Sequence, find_video_sequences
from model.evaluation.table import format_table, make_rows, rows_as_json, score_runs
from model.geometry import Box, Image
from tests.fakes import BrightnessBackend

MakeVideo = Callable[[Path, int], Float64]
KCF = TrackerSpec("kcf", "KCF")


class Opener:
    """Opens fake engines and counts them."""

    def __init__(self) -> None:
        self.opened: list[BrightnessBackend] = []

    def __call__(self, path: Path, engine: str) -> Backend:
        self.opened.append(BrightnessBackend())
        return self.opened[-1]


def die(path: Path, engine: str) -> Backend:
    os._exit(3)


@pytest.fixture
def data(tmp_path: Path, make_video: MakeVideo) -> list[Sequence]:
    make_video(tmp_path / "data" / "set" / "a", 8)
    make_video(tmp_path / "data" / "set" / "b", 6)
    return find_video_sequences(tmp_path / "data")


@pytest.fixture
def engine(tmp_path: Path) -> TrackerSpec:
    path = tmp_path / "engine"
    path.mkdir()
    (path / "weights.bin").write_bytes(b"1")
    return TrackerSpec("engine", "ours", path)


def test_the_engine_tracks_and_files_are_written(
    tmp_path: Path, data: list[Sequence], engine: TrackerSpec
) -> None:
    out, opener = tmp_path / "out", Opener()
    seen: list[tuple[str, int]] = []
    assert run_ope([engine, KCF], data, out, 1, opener, lambda n, f: seen.append((n, f))) == 0
    assert seen == [("set/a", 16), ("set/b", 12)]
    assert [b.closed for b in opener.opened] == [1]
    run = read_run(out, data[0], "ours")
    assert run.boxes[0].tolist() == data[0].truth[0].tolist()
    assert run.boxes.shape == (8, 4)
    assert run.engine == "fake (brightness)"
    assert (run.times_s[1:] > 0).all()
    assert np.isnan(run.scores[0])
    assert (run.scores[1:] > 0.5).all()
    scored = score_runs(out, ["ours", "KCF"], data)
    rows = make_rows(scored)
    assert {row.tracker for row in rows} == {"ours", "KCF"}
    ours = next(row for row in rows if row.tracker == "ours")
    assert ours.score.precision_at_20 == 1
    assert ours.score.auc > 0.5
    text = format_table(rows)
    assert "day (2 sequences, 14 frames)" in text
    assert f"{ours.score.auc:.3f}" in text
    assert json.loads(json.dumps(rows_as_json(rows)))[0]["frames"] == 14


def test_finished_sequences_are_skipped(
    tmp_path: Path, data: list[Sequence], engine: TrackerSpec
) -> None:
    out, opener = tmp_path / "out", Opener()
    run_ope([engine], data, out, 1, opener)
    calls = opener.opened[0].calls
    assert calls == 7 + 5
    seen: list[tuple[str, int]] = []
    assert run_ope([engine], data, out, 1, opener, lambda n, f: seen.append((n, f))) == 2
    assert seen == [("finished before", 14)]
    assert len(opener.opened) == 1
    result_path(out, data[1], "ours").unlink()
    assert run_ope([engine], data, out, 1, opener) == 1
    assert opener.opened[1].calls == 5


def test_other_weights_or_settings_or_truth_are_run_again(
    tmp_path: Path, data: list[Sequence], engine: TrackerSpec
) -> None:
    out = tmp_path / "out"
    run_ope([engine], data, out, 1, Opener())
    assert engine.path is not None
    (engine.path / "weights.bin").write_bytes(b"2")
    assert run_ope([engine], data, out, 1, Opener()) == 0
    tuned = replace(engine, config=TrackerConfig(size_lr=0.5))
    assert run_ope([tuned], data, out, 1, Opener()) == 0
    shorter = [replace(data[0], truth=data[0].truth[:4])]
    assert run_ope([tuned], shorter, out, 1, Opener()) == 0
    assert len(read_run(out, shorter[0], "ours").boxes) == 4


def test_an_interrupted_sequence_is_not_finished(
    tmp_path: Path, data: list[Sequence], engine: TrackerSpec
) -> None:
    out = tmp_path / "out"
    run_ope([engine], data, out, 1, Opener())
    path = result_path(out, data[0], "ours")
    meta = json.loads((path.parent / "meta" / "a.json").read_text())
    assert is_finished(out, data[0], "ours", meta["fingerprint"])
    for text in ("{", "[]"):
        (path.parent / "meta" / "a.json").write_text(text)
        assert not is_finished(out, data[0], "ours", meta["fingerprint"])
        with pytest.raises(InputError, match=r"a\.json: expected (a )?JSON"):
            read_run(out, data[0], "ours")


def test_darkened_results_stand_apart(
    tmp_path: Path, data: list[Sequence], engine: TrackerSpec
) -> None:
    out = tmp_path / "out"
    both = [data[0], darken_sequence(data[0], 3)]
    run_ope([engine], both, out, 1, Opener())
    assert (out / "set" / "ours" / "a.txt").is_file()
    assert (out / "set.night3" / "ours" / "a.txt").is_file()
    conditions = [row.condition for row in make_rows(score_runs(out, ["ours"], both))]
    assert conditions == ["day", "night-degraded"]


def test_two_processes_give_what_one_gives(tmp_path: Path, data: list[Sequence]) -> None:
    run_ope([KCF], data, tmp_path / "one", 1)
    run_ope([KCF], data, tmp_path / "two", 2)
    for sequence in data:
        one = read_run(tmp_path / "one", sequence, "KCF")
        two = read_run(tmp_path / "two", sequence, "KCF")
        assert np.array_equal(one.boxes, two.boxes)


@pytest.mark.parametrize(
    ("cores", "jobs", "each", "shares"),
    [
        ([0, 1], 2, 1, [[0], [1]]),
        ([0, 1], 1, None, [[0, 1]]),
        ([0, 1], 1, 8, [[0, 1]]),
        ([4, 5, 6, 7], 2, None, [[4, 5], [6, 7]]),
        ([0, 1], 3, None, [[0], [1], [0]]),
    ],
)
def test_cores_are_dealt_out(
    cores: list[int], jobs: int, each: int | None, shares: list[list[int]]
) -> None:
    assert share_cores(cores, jobs, each) == shares


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_a_process_is_held_to_its_cores_and_says_so(tmp_path: Path, data: list[Sequence]) -> None:
    before, threads = os.sched_getaffinity(0), cv2.getNumThreads()
    seen: list[tuple[int, int]] = []

    class Watching(Opener):
        def __call__(self, path: Path, engine: str) -> Backend:
            seen.append((len(os.sched_getaffinity(0)), cv2.getNumThreads()))
            return super().__call__(path, engine)

    ours = TrackerSpec("engine", "ours", tmp_path)
    run_ope([ours], data, tmp_path / "out", 1, Watching(), cores=1)
    assert seen == [(1, 1)]
    assert (os.sched_getaffinity(0), cv2.getNumThreads()) == (before, threads)
    run_ope([KCF], data, tmp_path / "out", 2, cores=1)
    if (os.cpu_count() or 1) > 1:
        for name in ("ours", "KCF"):
            assert (
                f"1 of {os.cpu_count()} cores" in read_run(tmp_path / "out", data[0], name).machine
            )


def test_an_error_in_a_process_arrives_in_words(tmp_path: Path, data: list[Sequence]) -> None:
    nowhere = TrackerSpec("engine", "ours", tmp_path)
    with pytest.raises(InputError, match="no opener of engines"):
        run_ope([nowhere], data, tmp_path / "out", 2)


def test_fewer_frames_than_boxes(data: list[Sequence], engine: TrackerSpec) -> None:
    long = replace(data[0], truth=np.vstack([data[0].truth, data[0].truth]))
    tracker = TrackerOpener(Opener()).open(engine)
    with pytest.raises(
        InputError,
        match=r"video\.mp4: expected 16 frames, one a box of .*groundtruth\.txt, found 8",
    ):
        track_sequence([tracker], long, "here")


def test_names_and_jobs_are_checked(tmp_path: Path, data: list[Sequence]) -> None:
    with pytest.raises(InputError, match="different names"):
        run_ope([KCF, KCF], data, tmp_path)
    with pytest.raises(InputError, match="jobs is 0"):
        run_ope([KCF], data, tmp_path, 0)
    with pytest.raises(InputError, match="cores is 0"):
        run_ope([KCF], data, tmp_path, 1, cores=0)


def test_results_of_another_length_are_named(tmp_path: Path, data: list[Sequence]) -> None:
    out = tmp_path / "out"
    run_ope([KCF], data, out, 1)
    path = result_path(out, data[0], "KCF")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    for kind in ("times", "scores"):
        (path.parent / kind / "a.txt").unlink()
    with pytest.raises(InputError, match=r"a\.txt: expected 8 boxes, found 5"):
        score_runs(out, ["KCF"], data)
    assert len(score_runs(out, ["KCF"], data, pad=True)) == 2


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [("kcf", "kcf", "KCF"), ("CSRT", "csrt", "CSRT"), ("mine=mil", "mil", "mine")],
)
def test_trackers_by_name(text: str, kind: str, name: str) -> None:
    spec = parse_spec(text)
    assert (spec.kind, spec.name) == (kind, name)


def test_trackers_by_path(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"")
    spec = parse_spec(str(tmp_path / "best.pt"), "torch")
    assert (spec.kind, spec.name, spec.engine) == ("engine", "best", "torch")
    assert parse_spec(f"x={tmp_path}").path == tmp_path
    nano = parse_spec(f"n2=nano:{tmp_path}")
    assert (nano.kind, nano.name, nano.path) == ("nano", "n2", tmp_path)
    assert parse_spec("t=trax:python serve.py").command == ("python", "serve.py")
    assert parse_spec("trax:python 'my tracker.py'").command == ("python", "my tracker.py")


@pytest.mark.parametrize("text", ["nosuch", "nano:/no/where", "trax:", "trax:a 'b", "x=nosuch"])
def test_an_unknown_tracker_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected"):
        parse_spec(text)


def test_models_of_peers_are_looked_for(tmp_path: Path) -> None:
    opener = TrackerOpener(None)
    with pytest.raises(InputError, match=r"one \*backbone\*\.onnx, found none"):
        opener.open(TrackerSpec("nano", "nano", tmp_path))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("nano", ["backbone.onnx", "head.onnx"]),
        ("vit", ["vit.onnx"]),
        ("dasiamrpn", ["model.onnx", "kernel_cls1.onnx", "kernel_r1.onnx"]),
    ],
)
def test_files_that_are_no_models_are_named(tmp_path: Path, kind: str, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(
        InputError, match=f"cannot open the models of {tmp_path} as those of {kind}"
    ):
        TrackerOpener(None).open(TrackerSpec(kind, kind, tmp_path))


@pytest.mark.data
def test_a_peer_with_the_models_of_its_authors_follows_a_square(
    data: list[Sequence], shared: Path
) -> None:
    folder = shared / "data" / "weights" / "NanoTrack" / "nanotrackv2"
    tracker = TrackerOpener(None).open(TrackerSpec("nano", "nano", folder))
    run = track_sequence([tracker], data[0], "here")[0]
    assert score_sequence(data[0].truth, run.boxes).precision_at_20 == 1
    assert (run.scores[1:] > 0).all()


@pytest.mark.parametrize("kind", ["kcf", "mil", "csrt"])
def test_opencv_peers_follow_a_square(kind: str, data: list[Sequence]) -> None:
    tracker = TrackerOpener(None).open(TrackerSpec(kind, kind))
    run = track_sequence([tracker], data[0], "here")[0]
    assert run.boxes.shape == (8, 4)
    assert np.isfinite(run.boxes).all()
    assert np.isnan(run.scores).all()
    assert run.engine.startswith("OpenCV")


def test_a_failing_engine_leaves_the_box(data: list[Sequence]) -> None:
    backend = BrightnessBackend()
    tracker = EngineTracker(backend)
    frames: list[Image] = list(data[0].frames)
    tracker.init(frames[0], data[0].first_box)
    backend.failure = "out of memory"
    assert tracker.update(frames[1]) == (data[0].first_box, 0.0)
    with pytest.raises(RuntimeError, match="before init"):
        EngineTracker(backend).update(frames[0])


def test_a_refused_box_is_a_failure_not_an_end(
    data: list[Sequence], engine: TrackerSpec, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = data[0].truth.copy()
    tiny[0] = (60, 50, 2, 2)
    opener = TrackerOpener(Opener())
    trackers = [opener.open(engine), opener.open(KCF)]
    ours, kcf = track_sequence(trackers, replace(data[0], truth=tiny), "here")
    assert ours.boxes[0].tolist() == [60, 50, 2, 2]
    assert np.isnan(ours.boxes[1:]).all()
    assert np.isfinite(kcf.boxes).all()
    assert "set/a: fake (brightness) refuses" in caplog.text
    assert score_sequence(tiny, ours.boxes).precision[50] == pytest.approx(1 / 8)


def test_a_dead_process_is_told_in_words(tmp_path: Path, data: list[Sequence]) -> None:
    deadly = TrackerSpec("engine", "ours", tmp_path / "data")
    with pytest.raises(MlkdError, match="process of the evaluation died"):
        run_ope([deadly], data, tmp_path / "out", 2, die)


def test_trials_share_one_engine(tmp_path: Path, data: list[Sequence], engine: TrackerSpec) -> None:
    opener = Opener()
    specs = [replace(engine, name=f"t{i}", config=TrackerConfig(size_lr=i / 9)) for i in range(3)]
    run_ope(specs, data, tmp_path / "out", 1, opener)
    assert len(opener.opened) == 1
    wide, narrow = (read_run(tmp_path / "out", data[0], name) for name in ("t0", "t2"))
    assert isinstance(Box(*wide.boxes[1]), Box)
    assert not np.array_equal(wide.boxes, narrow.boxes)
