from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from model.training.runs import RunLog, cut_log


def entries(*steps: int) -> str:
    return "".join(json.dumps({"step": step, "loss": 0.5}) + "\n" for step in steps)


def test_a_cut_log_ends_at_the_step(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(entries(10, 20, 30, 40))
    cut_log(path, 30)
    assert path.read_text() == entries(10, 20, 30)
    cut_log(path, 0)
    assert path.read_text() == ""
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize("half", ['{"step": 2', '{"step": 20, "loss"', "3", "[1]", "\0\0", "{}"])
def test_a_line_that_is_no_entry_goes(tmp_path: Path, half: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(entries(10, 20) + half)
    cut_log(path, 20)
    assert path.read_text() == entries(10, 20)


def test_a_log_that_needs_no_cut_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    cut_log(path, 5)
    assert not path.exists()
    path.write_text(entries(1, 5))
    inode = path.stat().st_ino
    cut_log(path, 5)
    assert path.stat().st_ino == inode


def test_a_last_line_without_its_end_stays_apart_from_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(entries(1, 2).rstrip())
    cut_log(path, 2)
    assert path.read_text() == entries(1, 2)


def test_steps_that_are_taken_again_stand_once_in_every_log(tmp_path: Path) -> None:
    pytest.importorskip("torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for last_step, value in ((0, 0.5), (2, 0.25)):  # killed at step 4, its checkpoint was of step 2
        log = RunLog(tmp_path, last_step)
        for step in range(last_step + 1, 5):
            log.write(step, {"loss": value})
        log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert shown == [(line["step"], line["loss"]) for line in lines]
    assert shown == [(1, 0.5), (2, 0.5), (3, 0.25), (4, 0.25)]
