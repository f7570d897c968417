from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from drone.cli_sim import add_parser
from drone.errors import SourceError
from drone.simulator import SCENARIOS
from drone.sources import open_recording


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["sim", *words])
    return int(arguments.run(arguments))


def test_a_rendered_scenario_is_a_source_with_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, truth = tmp_path / "night.mp4", tmp_path / "groundtruth.txt"
    assert run("render", "default", "--frames", "5", "--out", str(out), "--truth", str(truth)) == 0
    assert "5 frames, the target seen in 5" in capsys.readouterr().out
    source = open_recording(out)
    source.open()
    frames = [source.read(5.0) for _ in range(5)]
    assert source.read(5.0) is None
    assert all(f is not None and f.image.shape == (720, 1280, 3) for f in frames)
    boxes = [f.truth["target"] for f in frames if f is not None]
    assert all(box is not None and box[2] > 20 for box in boxes)


def test_the_list_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("noon", "--out", "x.mp4"), "'noon' is unknown"),
        (("default", "--out", "x.mp4", "--frames", "0"), "--frames 0: expected 1 or more"),
        (("default", "--out", "x.txt"), "expected .mp4 or .mkv"),
        (("default", "--out", "x.mp4", "--seed", "-1"), "seed -1: expected 0 or more"),
        (("default", "--out", "absent/x.mp4"), "its folder does not exist"),
        (("default", "--out", "x.mp4", "--truth", "absent/t.txt"), "its folder does not exist"),
    ],
)
def test_bad_words_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=match):
        run("render", *words)
    assert not list(tmp_path.iterdir())
