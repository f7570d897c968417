"""The ablation: which runs it makes, whom it selects, and the table."""

from __future__ import annotations

import csv
import io
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.config import TrackerConfig
from model.enhance.classical import Gamma
from model.enhance.enhancer import enhance_bgr
from model.errors import InputError, ModelFileError
from model.evaluation.peers import TrackerSpec
from model.evaluation.sequences import DARKENED, DAY, find_video_sequences
from model.nets.baselines import build_baseline
from model.training import ablation
from model.training.ablation import (
    BASELINE,
    MUTUAL,
    TEACHER,
    UNTAUGHT,
    UNUSED,
    WITHOUT,
    Candidate,
    Plan,
    best_of_rooms,
    draw_heat,
    evaluate,
    find_moment,
    settings_for,
    train_rows,
)
from model.training.ablation_table import (
    Entry,
    as_csv,
    as_markdown,
    as_plot,
    summarise,
    write_table,
)
from model.training.checkpoint import save_checkpoint
from model.training.eager import open_checkpoint
from model.training.mutual_config import MutualConfig
from model.training.night_teacher import NightTeacher, save_teacher


def config() -> MutualConfig:
    return MutualConfig.from_mapping({"sources": [{"kind": "images", "path": "stills"}]})


def entry(title: str, condition: str, seed: int | None, success: float) -> Entry:
    figures = {"success": success, "norm": success / 2, "precision": success + 0.1, "fps": 10.0}
    return Entry(title, condition, seed, figures)


def test_every_row_is_trained_once_a_seed(tmp_path):
    calls = []

    def train(variant, folder):
        mutual = variant.distill.mutual_weight
        calls.append((variant.train.run.seed, variant.students.losses, mutual, folder.name))
        return [folder / f"student_{name}.pt" for name in variant.students.names()]

    plan = Plan(config(), (1, 5), tmp_path / "t.pt", tmp_path / "b.pt", tmp_path)
    candidates = train_rows(plan, train)
    assert [c[1:3] for c in calls if c[0] == 5] == [
        (("truth", "none", "l2", "spatial", "threshold"), 0.0),
        (("l2", "spatial", "threshold"), 20.0),
    ]
    assert len({c[3] for c in calls}) == len(calls) == 4
    assert len({c.name for c in candidates}) == len(candidates) == 2 + 2 * (5 + 4)
    assert [c.title for c in candidates[:4]] == [TEACHER, BASELINE, UNTAUGHT, WITHOUT]
    clean = MutualConfig.from_mapping(
        {"sources": [{"kind": "images", "path": "stills"}], "teacher": {"sees": "clean"}}
    )
    other = train_rows(Plan(clean, (1,), plan.teacher, plan.baseline, tmp_path), train)
    assert other[0].title == UNUSED  # it did not teach in this form
    assert candidates[-2].checkpoint.name == "student_threshold.pt"
    assert candidates[-1].checkpoint.name == "student_average.pt"


def test_the_best_of_a_room_is_a_student_and_not_their_mean(monkeypatch):
    names = {"mutual-l2-seed1": 0.4, "mutual-spatial-seed1": 0.5, "mutual-average-seed1": 0.9}
    candidates = [
        Candidate(f"{MUTUAL} room: {name.split('-')[1]}", name, 1, Path("x"), "alexnet")
        for name in names
    ]
    monkeypatch.setattr(ablation, "criterion", lambda _rows, name: names[name])
    assert [c.name for c in best_of_rooms(candidates, [])] == ["mutual-spatial-seed1"]


def test_every_network_is_tracked_on_its_own_geometry():
    wanted = TrackerConfig(size_lr=0.6, template_memory=0.5)
    assert settings_for("alexnet", wanted) == settings_for("compact", wanted) == wanted
    assert settings_for("resnet50", None) is None
    deep = settings_for("resnet50", wanted)
    assert (deep.search_px, deep.score_size) == (255, 25)
    assert (deep.size_lr, deep.template_memory) == (0.6, 0.5)


def test_mean_and_spread_by_hand():
    entries = [entry("A", DAY, 1, 0.2), entry("A", DAY, 2, 0.4), entry("B", DAY, None, 0.5)]
    lines = {line.title: line for line in summarise(entries)}
    assert lines["A"].mean["success"] == pytest.approx(0.3)
    assert lines["A"].spread["success"] == pytest.approx(math.sqrt(0.02))
    assert lines["A"].seeds == 2
    assert math.isnan(lines["B"].spread["success"])


def test_conditions_are_not_mixed():
    lines = summarise([entry("A", DAY, 1, 0.2), entry("A", DARKENED, 1, 0.4)])
    assert sorted((line.condition, line.mean["success"]) for line in lines) == sorted(
        [(DAY, 0.2), (DARKENED, 0.4)]
    )


def test_the_table_and_the_file():
    entries = [entry("A", DAY, 1, 0.2), entry("A", DAY, 2, 0.4), entry("T", DAY, None, 0.5)]
    text = as_markdown(summarise(entries), ["two seeds"])
    assert "0.300 ± 0.141" in text
    assert "| T | day | 1 | 0.500 | 0.250 | 0.600 | 10.0 |" in text
    rows = list(csv.DictReader(io.StringIO(as_csv(entries))))
    assert [r["seed"] for r in rows] == ["1", "2", ""]
    assert float(rows[1]["success"]) == 0.4


def test_the_plot_is_svg():
    pytest.importorskip("matplotlib")
    plot = as_plot(summarise([entry("A", DAY, 1, 0.2), entry("A", DAY, 2, 0.4)]), DAY)
    assert plot.lstrip().startswith(b"<?xml")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    torch.manual_seed(0)
    net = build_baseline("compact").eval()
    save_checkpoint(folder / "net.pt", {"kind": "siamrpn_compact", "state_dict": net.state_dict()})
    save_teacher(folder / "teacher.pt", NightTeacher(Gamma(), net), "gamma", "compact")
    return folder, net


def test_a_teacher_runs_in_the_tracker(networks):
    folder, net = networks
    generator = np.random.default_rng(1)
    z, x = (generator.integers(0, 60, (s, s, 3), np.uint8) for s in (127, 287))
    teacher, student = open_checkpoint(folder / "teacher.pt"), open_checkpoint(folder / "net.pt")
    template = teacher.encode_template(z)
    cls, loc = teacher.predict(template, x)
    assert cls.shape == (10, 21, 21)
    assert loc.shape == (20, 21, 21)
    as_batch = [torch.from_numpy(c.transpose(2, 0, 1)[None].copy()).float() for c in (z, x)]
    with torch.no_grad():
        wanted = net(*(enhance_bgr(Gamma(), c) for c in as_batch))[0][0].numpy()
        plain = net(*as_batch)[0][0].numpy()
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(cls / scale, wanted / scale, atol=1e-4)
    other = student.predict(student.encode_template(z), x)[0]
    np.testing.assert_allclose(other / scale, plain / scale, atol=1e-4)


def test_a_file_of_another_kind_is_refused(tmp_path):
    save_checkpoint(tmp_path / "x.pt", {"kind": "siamrpn_vgg", "state_dict": {}})
    with pytest.raises(ModelFileError, match="siamrpn_vgg"):
        open_checkpoint(tmp_path / "x.pt")


def test_the_best_of_each_room_is_the_final_tracker(networks, tmp_path):
    folder, _ = networks
    source = tmp_path / "set" / "a"
    source.mkdir(parents=True)
    lines = []
    writer = cv2.VideoWriter(
        str(source / "video.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (160, 120)
    )
    for i in range(3):
        image = np.full((120, 160, 3), 40, np.uint8)
        image[40:70, 50 + 2 * i : 90 + 2 * i] = 220
        writer.write(image)
        lines.append(f"{50 + 2 * i},40,40,30")
    writer.release()
    (source / "groundtruth.txt").write_text("\n".join(lines))

    def train(variant, run):
        run.mkdir(parents=True)
        shutil.copy(folder / "net.pt", run / "student_average.pt")
        return [folder / "net.pt" for _ in variant.students.names()]

    plan = Plan(config(), (1, 2), folder / "teacher.pt", folder / "net.pt", tmp_path)
    candidates = train_rows(plan, train)
    entries = evaluate(candidates, find_video_sequences(tmp_path / "set"), tmp_path / "results")
    assert len(entries) == len(candidates) + 2
    videos = find_video_sequences(tmp_path / "set")
    picture = draw_heat(tmp_path, candidates[:2], find_moment(videos, "a", 2), "a", 2)
    assert cv2.imread(str(picture)).shape[1] == 3 * (287 + 4)
    with pytest.raises(InputError, match="no sequence 'b'"):
        find_moment(videos, "b", 2)
    with pytest.raises(InputError, match="has no frame 99"):
        find_moment(videos, "a", 99)
    pytest.importorskip("matplotlib")
    write_table(tmp_path, entries, "two seeds")
    assert {p.name for p in tmp_path.glob("ablation*")} == {
        "ablation.md", "ablation.csv", "ablation-day.svg",
    }  # fmt: skip
    final = [e for e in entries if e.title == MUTUAL]
    assert [e.seed for e in final] == [1, 2]
    assert all(0 <= e.figures["success"] <= 1 and e.figures["fps"] > 0 for e in entries)


def test_every_row_is_judged_with_the_settings_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[TrackerSpec] = []
    monkeypatch.setattr(ablation, "run_ope", lambda specs, *_: judged.extend(specs))
    monkeypatch.setattr(ablation, "score_runs", lambda *_: [])
    settings = TrackerConfig(template_memory=0.5)
    candidate = Candidate(BASELINE, "baseline", None, tmp_path / "net.pt", "compact")
    assert evaluate([candidate], [], tmp_path, config=settings) == []
    assert [spec.config for spec in judged] == [settings]
