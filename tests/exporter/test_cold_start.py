"""Cold start: a real process, from its start to its first box."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from exporter.cold_start import _time_s, main, measure_cold_start
from model.errors import BackendError


def test_each_process_is_timed(fp32_folder: Path) -> None:
    times_s = measure_cold_start(fp32_folder, "openvino-f32", 1, 2)
    assert len(times_s) == 2
    assert min(times_s) > 0
    assert measure_cold_start(fp32_folder, "openvino-f32", 1, 0) == []


def test_the_process_tracks_a_frame(fp32_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", str(fp32_folder), "--engine", "openvino-f32", "--threads", "1"]
    assert main(options) == 0
    word, *box = capsys.readouterr().out.split()
    assert word == "box"
    assert [float(v) > 0 for v in box] == [True] * 4


def test_a_process_that_gives_no_box_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"no box; it said: .*there is no model at"):
        measure_cold_start(tmp_path / "absent", "openvino", 1, 1)


@pytest.mark.parametrize("words", ["pass", "print('box 1 2 3 4', flush=True)"])
def test_a_process_that_hangs_is_ended(words: str) -> None:
    command = [sys.executable, "-c", f"{words}\nimport time\ntime.sleep(60)"]
    with pytest.raises(BackendError, match=r"did not end within 0\.5 s"):
        _time_s(command, most_s=0.5)
