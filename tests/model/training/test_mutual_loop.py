"""The run of the room on generated data: checkpoints, resume, wins, pictures, the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from gcs.cli import main
from model.enhance.classical import Gamma
from model.errors import ConfigError, InputError
from model.nets.baselines import build_baseline
from model.training.checkpoint import load_checkpoint, save_checkpoint
from model.training.mutual_config import MutualConfig
from model.training.mutual_loop import check_start, make_room, run_mutual
from model.training.night_teacher import NightTeacher
from model.training.pictures import mean_shares, read_wins, score_pictures, to_rgb
from tests.model.training.test_pairs import make_data

CPU = torch.device("cpu")


def settings(steps: int) -> dict:
    return {
        "sources": [{"kind": "sequences", "path": "seq"}],
        "optim": {"steps": steps, "warmup_steps": 0, "lr": 1e-4, "lr_end": 1e-4},
        "run": {"batch": 2, "workers": 0, "precision": "fp32", "log_steps": 1},
        "pairs": {"search_px": 191},
        "teacher": {"enhancer": "gamma", "baseline": "compact"},
        "students": {"baseline": "compact", "losses": ["l2", "spatial"], "epoch_steps": 2},
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_data(root, frames=3)
    torch.manual_seed(0)
    net = build_baseline("compact")
    save_checkpoint(root / "baseline.pt", {"state_dict": net.state_dict()})
    return root


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def teacher_of(root: Path) -> NightTeacher:
    net = build_baseline("compact")
    net.load_state_dict(load_checkpoint(root / "baseline.pt")["state_dict"])
    return NightTeacher(Gamma(), net)


def train(root: Path, out: Path, cache: Path, steps: int, **options) -> list[Path]:
    return run_mutual(
        MutualConfig.from_mapping(settings(steps)), root, out,
        teacher=teacher_of(root), init=root / "baseline.pt", device=CPU, cache=cache, **options,
    )  # fmt: skip


def losses(out: Path) -> dict[int, float]:
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {entry["step"]: entry["l2/loss"] + entry["spatial/loss"] for entry in entries}


def test_resuming_gives_the_same_curve_wins_and_files(root, tmp_path):
    whole, parts, cache = tmp_path / "whole", tmp_path / "parts", tmp_path / "crops"
    paths = train(root, whole, cache, 3)
    train(root, parts, cache, 1)
    with pytest.raises(InputError, match="--resume"):
        train(root, parts, cache, 3)
    train(root, parts, cache, 3, resume=True)
    assert losses(whole) == pytest.approx(losses(parts), rel=1e-3)
    assert set(losses(whole)) == {1, 2, 3}
    assert read_wins(whole) == read_wins(parts)
    assert [p.name for p in paths] == ["student_l2.pt", "student_spatial.pt"]
    wins = read_wins(whole)
    assert [w["step"] for w in wins] == [2]
    assert wins[0]["l2"] + wins[0]["spatial"] == 4  # two steps of two samples
    assert sum(mean_shares(wins).values()) == pytest.approx(1.0)
    content = load_checkpoint(paths[1])
    build_baseline("compact").load_state_dict(content["state_dict"])
    assert MutualConfig.from_mapping(content["config"]) == MutualConfig.from_mapping(settings(3))
    assert list((whole / "tensorboard").iterdir())


@pytest.mark.parametrize("statistics", ["batch", "frozen"])
def test_students_keep_the_statistics_that_are_frozen(root, tmp_path, statistics):
    values = settings(1)
    values["optim"] = {**values.get("optim", {}), "statistics": statistics}
    values["students"] = {**values["students"], "parts": "all"}
    run_mutual(
        MutualConfig.from_mapping(values), root, tmp_path / "run",
        teacher=teacher_of(root), init=root / "baseline.pt", device=CPU, cache=tmp_path / "crops",
    )  # fmt: skip
    before = load_checkpoint(root / "baseline.pt")["state_dict"]
    for student in load_checkpoint(tmp_path / "run" / "latest.pt")["students"]:
        state = student["raw_state_dict"]
        names = [n for n in state if n.endswith(("running_mean", "running_var"))]
        moved = any(not torch.equal(state[n], before[n]) for n in names)
        assert moved == (statistics == "batch")
        assert any(not torch.equal(state[n], before[n]) for n in state if n.endswith(".weight"))


def test_a_checkpoint_of_other_students_is_refused(root, tmp_path):
    save_checkpoint(
        tmp_path / "run" / "latest.pt", {"kind": "mutual", "students": [{"name": "l2"}]}
    )
    with pytest.raises(InputError, match="holds the students l2: expected l2, spatial"):
        train(root, tmp_path / "run", tmp_path / "crops", 1, resume=True)
    save_checkpoint(tmp_path / "run" / "latest.pt", {"state_dict": {}})
    with pytest.raises(InputError, match="no checkpoint of a distillation run"):
        train(root, tmp_path / "run", tmp_path / "crops", 1, resume=True)


def test_a_room_goes_on_with_its_own_settings_start_and_teacher(root, tmp_path):
    out, cache = tmp_path / "run", tmp_path / "crops"
    train(root, out, cache, 1)

    def again(values, teacher, init):
        return run_mutual(
            MutualConfig.from_mapping(values), root, out, teacher=teacher, init=init, device=CPU,
            cache=cache, resume=True,
        )  # fmt: skip

    other = {**settings(2), "distill": {"kd_weight": 50.0}}
    with pytest.raises(InputError, match=r"distill\.kd_weight was 1000\.0 and is 50\.0"):
        again(other, teacher_of(root), root / "baseline.pt")
    torch.manual_seed(5)
    net = build_baseline("compact")
    save_checkpoint(tmp_path / "other.pt", {"state_dict": net.state_dict()})
    with pytest.raises(InputError, match="its students started from other weights"):
        again(settings(2), teacher_of(root), tmp_path / "other.pt")
    with pytest.raises(InputError, match="it had another teacher"):
        again(settings(2), NightTeacher(Gamma(), net), root / "baseline.pt")
    again(settings(2), teacher_of(root), root / "baseline.pt")
    assert load_checkpoint(out / "latest.pt")["step"] == 2


def test_the_commands_teacher_and_student(root, tmp_path, capsys):
    config = tmp_path / "night.yaml"
    config.write_text(yaml.safe_dump(settings(1)))
    common = ["--config", str(config), "--init", str(root / "baseline.pt")]
    teacher = tmp_path / "teacher.pt"
    assert main(["train", "teacher", *common, "--out", str(teacher)]) == 0
    run = [*common, "--data", str(root), "--teacher", str(teacher), "--out", str(tmp_path / "run")]
    assert main(["train", "student", *run, "--student", "threshold", "--seed", "5"]) == 0
    assert "student_threshold.pt" in capsys.readouterr().out
    saved = load_checkpoint(tmp_path / "run" / "student_threshold.pt")["config"]
    assert saved["run"]["seed"] == 5
    assert saved["students"]["losses"] == ["threshold"]


def test_a_mistake_is_one_line_and_exit_code_2(root, tmp_path, capsys):
    config = tmp_path / "night.yaml"
    config.write_text(yaml.safe_dump({**settings(1), "distill": {"tau": 3}}))
    arguments = ["--config", str(config), "--init", "no.pt", "--out", str(tmp_path / "run")]
    assert main(["train", "mutual", *arguments]) == 2
    error = capsys.readouterr().err
    assert "unknown setting 'tau'" in error
    assert error.count("\n") == 1
    config.write_text(yaml.safe_dump(settings(1)))
    common = ["--config", str(config), "--out", str(tmp_path / "run")]
    assert main(["train", "mutual", *common]) == 2
    assert "needs --init" in capsys.readouterr().err
    heat = ["--init", "no.pt", "--eval-data", str(root), "--heat", "night_suv"]
    assert main(["train", "ablation", *common, *heat]) == 2
    assert "expected NAME:FRAME" in capsys.readouterr().err
    assert main(["train", "ablation", *common, *heat[:4], "--seeds", "1,1"]) == 2
    assert "different whole numbers" in capsys.readouterr().err


@pytest.mark.parametrize("parts", ["backbone", "release", "upper"])
def test_what_does_not_train_needs_weights(root, tmp_path, parts):
    values = settings(1)
    values["students"] = {"baseline": "alexnet", "losses": ["l2", "none"], "parts": parts}
    config = MutualConfig.from_mapping(values)
    with pytest.raises(ConfigError, match=f"students.parts is '{parts}' and no --init"):
        check_start(config, None)
    state = build_baseline("alexnet").state_dict()
    backbone = {n: v for n, v in state.items() if n.startswith("backbone.")}
    save_checkpoint(tmp_path / "backbone.pt", {"state_dict": backbone})
    if parts == "upper":  # the layers that do not train are all there
        check_start(config, tmp_path / "backbone.pt")
    else:
        with pytest.raises(ConfigError, match="a backbone alone"):
            check_start(config, tmp_path / "backbone.pt")
    save_checkpoint(tmp_path / "whole.pt", {"state_dict": state})
    check_start(config, tmp_path / "whole.pt")


def test_fresh_weights_are_refused_before_the_crops_are_cut(root, tmp_path):
    values = {**settings(1), "sources": [{"kind": "sequences", "path": "nowhere"}]}
    with pytest.raises(ConfigError, match="no --init"):
        run_mutual(
            MutualConfig.from_mapping(values), root, tmp_path / "run", teacher=teacher_of(root),
            init=None, device=CPU,
        )  # fmt: skip


def test_a_room_of_one_and_a_teacher_that_is_another_are_refused(root, tmp_path, capsys):
    config = tmp_path / "night.yaml"
    config.write_text(yaml.safe_dump(settings(1)))
    teacher = tmp_path / "teacher.pt"
    common = ["--config", str(config), "--init", str(root / "baseline.pt")]
    assert main(["train", "teacher", *common, "--out", str(teacher)]) == 0
    other = {**settings(1), "teacher": {"enhancer": "clahe", "baseline": "compact"}}
    config.write_text(yaml.safe_dump(other))
    run = [*common, "--data", str(root), "--teacher", str(teacher), "--out", str(tmp_path / "run")]
    for stage in (["mutual"], ["ablation", "--eval-data", str(root)]):
        assert main(["train", *stage, *run]) == 2
        assert "has enhancer 'gamma' and the config's" in capsys.readouterr().err
    other["students"] = {**other["students"], "losses": ["spatial"]}
    config.write_text(yaml.safe_dump(other))
    for stage in (["mutual"], ["ablation", "--eval-data", str(root)]):
        assert main(["train", *stage, *run]) == 2
        assert "mlkd train student --student spatial" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_students_start_equal_from_fresh_weights():
    room = make_room(MutualConfig.from_mapping(settings(1)), None, CPU)
    first, second = (dict(student.net.named_parameters()) for student in room.students)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(first[name] is second[name] for name in first)


def test_pictures_are_rgb_and_scores():
    blue = torch.zeros(1, 3, 2, 2)
    blue[:, 0] = 255.0
    assert to_rgb(blue)[0, :, 0, 0].tolist() == [0.0, 0.0, 1.0]
    cls = torch.zeros(1, 10, 3, 3)
    cls[0, 7, 1, 1] = 100.0
    picture = score_pictures(cls)
    assert picture.shape == (1, 1, 3, 3)
    assert picture[0, 0, 1, 1] == 1.0
    assert picture[0, 0, 0, 0] == 0.5


@pytest.mark.slow
def test_two_processes_share_gradients_and_wins(root, tmp_path):
    config = tmp_path / "night.yaml"
    values = settings(2)
    values["run"] = {**values["run"], "batch": 1}
    config.write_text(yaml.safe_dump(values))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2",
        "--master-addr=127.0.0.1", "--master-port=29531", "-m", "gcs.cli",
        "train", "mutual", "--config", str(config), "--init", str(root / "baseline.pt"),
        "--data", str(root), "--out", str(tmp_path / "run"), "--device", "cpu",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    wins = read_wins(tmp_path / "run")
    assert wins[0]["l2"] + wins[0]["spatial"] == 4
