"""Published results of other trackers, scored again: the values printed in a review paper."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.evaluation.box_files import Float64, read_boxes
from model.evaluation.metrics import (
    Convention,
    SetScore,
    average_scores,
    frame_errors,
    score_sequence,
    success_steps,
)

pytestmark = pytest.mark.data
SETS = ("UAV20L", "UAV123_10fps", "UAVDT", "DTB70")


class Oracle:
    """One set's truth, results and published values."""

    def __init__(self, root: Path, golden: dict[str, Any]) -> None:
        anno = next(root.rglob("anno"))
        self.results = anno.parent / "results"
        self.golden = golden
        self.truth = {p.stem: read_boxes(p) for p in sorted(anno.glob("*.txt"))}
        self._read: dict[str, dict[str, Float64]] = {}

    def result(self, tracker: str) -> dict[str, Float64]:
        if tracker not in self._read:
            folder = self.results / tracker
            self._read[tracker] = {n: read_boxes(folder / f"{n}.txt") for n in self.truth}
        return self._read[tracker]

    def score(self, tracker: str, convention: Convention) -> SetScore:
        result = self.result(tracker)
        return average_scores(
            [score_sequence(t, result[n], convention) for n, t in self.truth.items()]
        )


@pytest.fixture(scope="session")
def oracles(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Oracle]:
    golden = json.loads((shared / "data" / "ope-oracle" / "golden.json").read_text())
    opened: dict[str, Oracle] = {}

    def open_set(name: str) -> Oracle:
        if name not in opened:
            folder = tmp_path_factory.mktemp(name)
            with tarfile.open(shared / "data" / "ope-oracle" / f"{name}.tar.xz") as archive:
                archive.extractall(folder, filter="data")
            opened[name] = Oracle(folder, golden[name])
        return opened[name]

    return open_set


@pytest.mark.parametrize("name", SETS)
def test_every_printed_value_under_a(oracles: Callable[[str], Oracle], name: str) -> None:
    oracle = oracles(name)
    assert len(oracle.truth) == oracle.golden["sequences"]
    assert sum(map(len, oracle.truth.values())) == oracle.golden["frames"]
    wrong = []
    for tracker, values in oracle.golden["trackers"].items():
        score = oracle.score(tracker, Convention.MATLAB)
        found = (f"{score.auc:.3f}", f"{score.precision_at_20:.3f}")
        printed = (f"{values['published_success']:.3f}", f"{values['published_precision']:.3f}")
        if found != printed:
            wrong.append((tracker, found, printed))
    assert wrong == []


def test_154_values_are_printed(oracles: Callable[[str], Oracle]) -> None:
    assert sum(2 * len(oracles(name).golden["trackers"]) for name in SETS) == 154


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("convention", list(Convention))
def test_every_recorded_value(
    oracles: Callable[[str], Oracle], name: str, convention: Convention
) -> None:
    oracle = oracles(name)
    wrong = []
    for tracker, values in oracle.golden["trackers"].items():
        score = oracle.score(tracker, convention)
        found = {
            "auc": score.auc,
            "sr50": score.sr50,
            "prec20": score.precision_at_20,
            "norm_auc": score.norm_precision_mean,
            "norm20": score.norm_precision_at_020,
        }
        recorded = values[convention.value]
        wrong += [
            (tracker, key, value, recorded[key])
            for key, value in found.items()
            if abs(value - recorded[key]) > 2e-6
        ]
    assert wrong == []


def test_how_many_printed_values_b_reproduces(oracles: Callable[[str], Oracle]) -> None:
    equal = {}
    for name in SETS:
        oracle = oracles(name)
        equal[name] = 0
        for tracker, values in oracle.golden["trackers"].items():
            score = oracle.score(tracker, Convention.PYSOT)
            equal[name] += f"{score.auc:.3f}" == f"{values['published_success']:.3f}"
            equal[name] += f"{score.precision_at_20:.3f}" == f"{values['published_precision']:.3f}"
    assert equal == {"UAV20L": 42, "UAV123_10fps": 28, "DTB70": 42, "UAVDT": 17}


WRONG_WAYS = {
    "101 thresholds": (0.3498, 0.4803, 0.4509),
    "not strict": (0.3651, 0.4853, 0.4574),
    "invalid frames left out": (0.3531, 0.4787, 0.4513),
    "frames pooled": (0.3139, 0.4848, 0.4683),
}


def auc_the_wrong_way(overlaps: list[Float64], way: str) -> float:
    """Success AUC with one definition changed."""
    steps = np.linspace(0, 1, 101) if way == "101 thresholds" else success_steps(Convention.MATLAB)
    if way == "not strict":  # recorded with thresholds by arange
        steps = success_steps(Convention.PYSOT)
    if way == "frames pooled":
        overlaps = [np.concatenate(overlaps)]
    if way == "invalid frames left out":
        overlaps = [o[o >= 0] for o in overlaps]
    above = np.greater_equal if way == "not strict" else np.greater
    return float(np.mean([above(o[:, None], steps).mean() for o in overlaps]))


@pytest.mark.parametrize("way", WRONG_WAYS)
def test_a_wrong_variant_shows(oracles: Callable[[str], Oracle], way: str) -> None:
    for name, expected in zip(("UAV20L", "DTB70", "UAVDT"), WRONG_WAYS[way], strict=True):
        oracle = oracles(name)
        result = oracle.result("AutoTrack")
        overlaps = [
            frame_errors(t, result[n], Convention.MATLAB)[0] for n, t in oracle.truth.items()
        ]
        right = oracle.score("AutoTrack", Convention.MATLAB).auc
        wrong = auc_the_wrong_way(overlaps, way)
        assert auc_the_wrong_way(overlaps, "none") == pytest.approx(right, abs=1e-12)
        assert wrong == pytest.approx(expected, abs=1e-4)
        assert abs(wrong - right) > 4e-4
