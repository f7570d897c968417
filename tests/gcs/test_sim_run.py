"""The closed loop on the night simulator, small and with the oracle: seconds, not minutes."""

from __future__ import annotations

import argparse
import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drone.control import RateCommand
from drone.frame import Frame
from gcs import cli_sim_run
from gcs.sim_report import draw_curves, figures_of, table
from gcs.sim_run import ClosedLoop, Flown, Link, Sample, SimSender
from gcs.sim_trials import TRIALS, Oracle, Trial, choose_trials
from gcs.situation import ControlLevel
from model.confidence import Level
from model.errors import ConfigError, InputError
from model.geometry import Box
from tests.fakes import FakeClock, make_frame

MS = 1_000_000
WIDTH_PX = 320


def oracle(_frame: Frame, box: Box) -> Oracle:
    return Oracle(box)


def loop_of(trial: Trial, **options: object) -> ClosedLoop:
    return ClosedLoop(trial, oracle, width_px=WIDTH_PX, **options)  # type: ignore[arg-type]


def moves(sample: Sample) -> bool:
    return sample.command is not None and not sample.command.is_neutral


@pytest.fixture(scope="module")
def flown() -> Flown:
    return loop_of(TRIALS["latency_50"]).fly(5.0)


def test_the_loop_keeps_the_target_near_the_middle(flown: Flown) -> None:
    row = figures_of(flown)
    assert row.in_frame == 1.0
    assert row.error_share <= 0.08
    assert row.cle_px is not None
    assert row.cle_px < 5
    assert (row.grants, row.confirmations) == (1, 1)


def test_no_command_before_three_good_boxes_and_none_forward_before_the_confirmation(
    flown: Flown,
) -> None:
    rules = [sample.rule for sample in flown.samples]
    first = rules.index("unconfirmed")
    assert not any(moves(sample) for sample in flown.samples[:first])
    clear = rules.index("clear")
    forward = [s.command.forward_m_s for s in flown.samples[:clear] if s.command is not None]
    assert set(forward) == {0.0}
    waited_s = flown.samples[clear].time_s - flown.samples[first].time_s
    assert waited_s == pytest.approx(1.0, abs=0.1)


def test_every_command_stands_on_a_picture_that_is_young_enough(flown: Flown) -> None:
    for sample in flown.samples:
        if moves(sample):
            assert sample.command is not None
            age_ms = sample.time_s * 1000 - sample.command.issued_ns / MS
            assert 50.0 <= age_ms <= 250.0


def test_the_same_trial_gives_the_same_flight(flown: Flown) -> None:
    again = loop_of(TRIALS["latency_50"]).fly(2.0)
    for a, b in zip(again.samples, flown.samples, strict=False):
        assert a == b


def test_a_latency_above_the_limit_never_moves_the_vehicle() -> None:
    loop = loop_of(TRIALS["latency_300"])
    late = loop.fly(3.0)
    assert not any(moves(sample) for sample in late.samples)
    assert loop._simulator._flight.speed_m_s < 0.1, "nor does the simulator's own pilot fly it"
    assert {"stale"} <= {sample.rule for sample in late.samples}


class CutLink(Link):
    """Delivers nothing that was captured after a time."""

    cut_s = 3.0

    def put(self, frame: Frame) -> None:
        if frame.captured_ns <= self.cut_s * 1e9:
            super().put(frame)


def test_a_video_that_freezes_ends_in_neutral_then_silence() -> None:
    trial = TRIALS["latency_50"]
    loop = loop_of(trial, level=ControlLevel.CAMERA)
    loop._link = CutLink(trial)
    flown = loop.fly(4.0)
    moving = [sample.time_s for sample in flown.samples if moves(sample)]
    assert moving
    assert max(moving) <= CutLink.cut_s + 0.25
    neutral = [s for s in flown.samples if s.time_s > CutLink.cut_s + 0.3]
    zeros = [s for s in neutral if s.command is not None]
    assert zeros
    assert all(s.command.is_neutral for s in zeros if s.command is not None)
    assert flown.samples[-1].command is None


def test_a_link_is_late_and_the_newest_wins() -> None:
    link = Link(Trial("late", latency_ms=100))
    for number in range(4):
        link.put(make_frame(number, captured_ns=number * 33 * MS))
    assert link.take(99 * MS) is None
    first = link.take(140 * MS)
    assert first is not None
    assert first.number == 1
    assert link.take(140 * MS) is None
    last = link.take(500 * MS)
    assert last is not None
    assert last.number == 3


def test_a_link_loses_its_share() -> None:
    link = Link(Trial("lossy", latency_ms=0, loss=0.1))
    arrived = 0
    for number in range(2000):
        link.put(make_frame(number, captured_ns=number * MS))
        arrived += link.take(number * MS) is not None
    assert arrived == pytest.approx(1800, abs=45)


def test_the_simulated_sender_keeps_the_real_ones_rule() -> None:
    clock = FakeClock()
    sender = SimSender(clock)
    sender.send(RateCommand(yaw_deg_s=7.0, issued_ns=clock()))
    assert sender.tick()[1] == RateCommand(yaw_deg_s=7.0, issued_ns=clock())
    clock.advance(sender.expiry_s + 0.001)
    command = sender.tick()[1]
    assert command is not None
    assert command.is_neutral
    sender.neutral()
    assert sender.tick()[1] == RateCommand(issued_ns=clock())


def test_the_oracle_misses_a_hidden_target_and_finds_it_again() -> None:
    oracle_ = Oracle(Box(140, 100, 40, 40), noise=0.0)
    levels = []
    for number in range(24):
        frame = make_frame(number, visible=False)
        frame = replace(frame, truth={"target": None if 4 <= number < 16 else (150, 90, 30, 20)})
        answer = oracle_.update(frame)
        levels.append(answer.level)
        if number < 4:
            assert answer.box == Box(150, 90, 30, 20)
    assert levels[3] is Level.SURE
    assert levels[10] is Level.LOW
    assert levels[11] is Level.LOST
    assert levels[17] is Level.LOST
    assert levels[18] is Level.SURE


def sample(time_s: float, error_px: float, yaw: float | None, cle: float | None = None) -> Sample:
    command = None if yaw is None else RateCommand(yaw_deg_s=yaw)
    inside = error_px <= 100
    return Sample(time_s, error_px, error_px / 10, inside, inside, cle, command)


def test_figures_by_hand() -> None:
    """Ten frames a second; the first two seconds are the approach."""
    approach = [sample(i / 10, math.inf, 30.0) for i in range(20)]
    errors = [10, 20, 30, 40, 200]
    yaws = [0.0, 1.0, 1.0, None, 2.0]
    cles = [1.0, None, 3.0, None, None]
    rest = [
        sample(2.0 + i / 10, e, y, c)
        for i, (e, y, c) in enumerate(zip(errors, yaws, cles, strict=True))
    ]
    events = [(0.1, "control", "stale: old"), (0.2, "control", "clear: clear")]
    events += [(0.3, "lost", "the target is lost"), (0.4, "control", "stale: old")]
    flown = Flown(Trial("made"), (400, 300), approach + rest, events, 2, 1)
    row = figures_of(flown)
    assert row.seconds == pytest.approx(0.4)
    assert row.in_frame == pytest.approx(0.8)
    assert row.error_px == 30
    assert row.error_deg == 3
    assert row.error_share == pytest.approx(30 / 400)
    assert row.error_p95_share == pytest.approx(200 / 400)
    assert row.cle_px == 2.0
    assert row.jerk_deg_s2 == pytest.approx((10 + 0 + 10 + 20) / 4)
    assert row.neutral_share == pytest.approx(2 / 5)
    assert row.events == {"stale": 2, "lost": 1}
    assert (row.confirmations, row.grants) == (2, 1)
    assert not row.reached
    text = table([row])
    assert "80.0%" in text
    assert "below the figures" in text


def test_curves_are_well_formed_and_show_each_sample(flown: Flown) -> None:
    root = ET.fromstring(draw_curves(flown))
    lines = root.findall(".//{http://www.w3.org/2000/svg}polyline")
    points = [len(line.attrib["points"].split()) for line in lines]
    assert points.count(len(flown.samples)) == 4
    values = [
        float(v) for line in lines for p in line.attrib["points"].split() for v in p.split(",")
    ]
    assert np.isfinite(values).all()


def test_every_trial_names_a_scenario() -> None:
    assert [trial.name for trial in choose_trials("all")] == list(TRIALS)
    assert sum(trial.hard for trial in TRIALS.values()) == 2
    with pytest.raises(InputError, match="trial 'fog' is unknown: expected all or one of crossing"):
        choose_trials("fog")


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, 1e9])
def test_a_flight_of_no_sensible_length_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match=r"expected 0\.\.600 s"):
        loop_of(TRIALS["latency_50"]).fly(seconds)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["clamp"], "expected NAME=NUMBER"),
        (["clamp=fast"], "expected NAME=NUMBER"),
        (["clmp=0.3"], "did you mean 'clamp'"),
        (["clamp=2"], "clamp is 2"),
        (["command_age_ms=900"], "contradict each other"),
    ],
)
def test_a_wrong_setting_is_named(changes: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        cli_sim_run.read_config(changes)


def test_the_verb_prints_the_table_and_writes_curves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    cli_sim_run.add_parser(parser.add_subparsers())
    line = f"sim run latency_50 --oracle --seconds 2.5 --width {WIDTH_PX} --out {tmp_path / 'out'}"
    arguments = parser.parse_args([*line.split(), "--set", "clamp=0.3"])
    assert arguments.run(arguments) == 0
    assert "latency_50" in capsys.readouterr().out
    ET.parse(tmp_path / "out" / "latency_50.svg")
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert figures["tracker"].startswith("oracle")
    assert figures["trials"][0]["in_frame"] == 1.0
