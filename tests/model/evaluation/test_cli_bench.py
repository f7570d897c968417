from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from model.errors import InputError
from model.evaluation.box_files import Float64
from model.evaluation.cli_bench import Scaling, bench, measure_metrics, measure_scaling
from model.evaluation.peers import TrackerSpec
from model.evaluation.sequences import read_video_sequence


def test_both_ways_track_every_frame(
    tmp_path: Path, make_video: Callable[[Path, int], Float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.evaluation import cli_bench

    make_video(tmp_path / "set" / "a", 4)
    sequence = read_video_sequence(tmp_path / "set" / "a")
    seen = []
    run = cli_bench.run_ope

    def watched(specs, sequences, out, jobs, opener, progress, cores):  # type: ignore[no-untyped-def]
        assert cores == 1
        seen.append((jobs, run(specs, sequences, out, jobs, opener, progress, cores)))
        assert len(list(out.rglob("a.txt"))) >= 1

    monkeypatch.setattr(cli_bench, "run_ope", watched)
    found = measure_scaling([TrackerSpec("kcf", "KCF")], [sequence], 2, None)
    assert [jobs for jobs, _ in seen] == [2, 1]
    assert [finished for _, finished in seen] == [0, 0]  # nothing was kept from the other run
    assert found.frames == 4


def test_the_ratio_is_that_of_the_times() -> None:
    assert Scaling(120, 6.0, 3.0, 2).lines() == [
        "1 process: 20.0 frames/s (120 frames, 6.0 s)",
        "2 processes: 40.0 frames/s (3.0 s)",
        "ratio: 2.00",
    ]


def test_metrics_are_timed() -> None:
    assert measure_metrics(1000) > 0


def test_one_process_cannot_be_compared_with_one() -> None:
    with pytest.raises(InputError, match="--jobs 1"):
        bench(argparse.Namespace(jobs=1))
