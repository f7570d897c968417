"""One step of the room with real networks: who gets gradient, what is counted."""

from __future__ import annotations

import math

import pytest
import torch

from model.enhance.classical import Gamma
from model.nets.baselines import build_baseline
from model.training import throughput
from model.training.mutual_config import MutualConfig
from model.training.mutual_loop import make_room
from model.training.mutual_step import room_losses, room_step, teacher_answers
from model.training.night_teacher import NightTeacher
from model.training.optim import set_training_mode
from model.training.students import make_student

MAP = 9  # of a search region of 191 px
ANCHORS = 5 * MAP * MAP


def make_config(**sections) -> MutualConfig:
    base = {
        "sources": [{"kind": "images", "path": "stills"}],
        "run": {"precision": "fp32"},
        "optim": {"lr": 1e-4, "clip": 1e6},
        "students": {"baseline": "compact"},
    }
    return MutualConfig.from_mapping({**base, **sections})


def make_batch(seed: int = 0, count: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.full((count, ANCHORS), -1, dtype=torch.int8)
    labels[:, 200:204], labels[:, :20] = 1, 0
    weights = torch.zeros(count, ANCHORS)
    weights[:, 200:204] = 0.25
    return {
        "z": torch.rand(count, 3, 127, 127, generator=generator) * 60,
        "x": torch.rand(count, 3, 191, 191, generator=generator) * 60,
        "labels": labels,
        "deltas": torch.randn(count, 4, ANCHORS, generator=generator) * 0.1,
        "weights": weights,
    }


def settled_net(name: str = "compact", seed: int = 0):
    """A network whose batch norms know the data, so that its answers are not extreme."""
    torch.manual_seed(seed)
    net = build_baseline(name)
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.momentum = 1.0
    batch = make_batch(9, count=1)
    with torch.no_grad():
        net(batch["z"], batch["x"])
    return net.eval()


@pytest.fixture
def room():
    config = make_config()
    students = [
        make_student(name, settled_net(seed=i), config.students.parts, config.train.optim)
        for i, name in enumerate(config.students.names())
    ]
    for student in students:
        set_training_mode(student.net)
    return config, students, NightTeacher(Gamma(), settled_net(seed=7))


def test_every_trained_part_of_every_student_gets_gradient_and_nothing_else(room):
    config, students, teacher = room
    before = {n: v.clone() for n, v in teacher.state_dict().items()}
    done = room_step(students, teacher, make_batch(), config, step=0)
    assert done.finite
    for student in students:
        for name, parameter in student.net.named_parameters():
            if name.startswith("backbone."):
                assert parameter.grad is not None, (student.name, name)
                assert parameter.grad.abs().max() > 0, (student.name, name)
            else:
                assert parameter.grad is None, (student.name, name)
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_losses_are_named_finite_and_sum_up(room):
    config, students, teacher = room
    done = room_step(students, teacher, make_batch(), config, step=0)
    for name in ("l2", "spatial", "threshold"):
        v = {
            key.partition("/")[2]: x for key, x in done.values.items() if key.startswith(f"{name}/")
        }
        assert all(math.isfinite(x) for x in v.values())
        wanted = v["cls"] + v["loc"] + 1000 * (v["kd_cls"] + v["kd_loc"])
        wanted += 0.2 * v["correlation"] + 20 * v["mutual"]
        assert v["loss"] == pytest.approx(wanted, rel=1e-4)
        assert v["kd_cls"] > 0
        assert v["correlation"] > 0


def test_every_sample_has_one_winner_and_the_others_pay(room):
    config, students, teacher = room
    terms, wins, _ = room_losses(students, teacher, make_batch(count=3), config)
    assert int(wins.sum()) == 3
    for term, won in zip(terms, wins.tolist(), strict=True):
        assert (float(term.mutual.detach()) > 0) == (won < 3)


def test_a_step_that_is_not_finite_changes_nothing_at_all(room):
    config, students, teacher = room
    batch = make_batch()
    batch["deltas"][0, 0, 201] = float("nan")
    before = [{n: v.clone() for n, v in s.net.state_dict().items()} for s in students]
    averages = [{n: v.clone() for n, v in s.average.module.state_dict().items()} for s in students]
    assert any(m.training for m in students[0].net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert not room_step(students, teacher, batch, config, step=0).finite
    for student, kept, averaged in zip(students, before, averages, strict=True):
        for name, value in student.net.state_dict().items():
            assert torch.equal(value, kept[name]), name
        for name, value in student.average.module.state_dict().items():
            assert torch.equal(value, averaged[name]), name


def test_a_step_lowers_the_loss_of_the_same_batch(room):
    config, students, teacher = room
    batch = make_batch()
    first = room_step(students, teacher, batch, config, step=0).values
    for step in range(1, 4):
        last = room_step(students, teacher, batch, config, step).values
    for student in students:
        assert last[f"{student.name}/loss"] < first[f"{student.name}/loss"]


def test_a_single_student_learns_without_the_room():
    config = make_config(students={"baseline": "compact", "losses": ["none"]})
    student = make_student("none", settled_net(), "all", config.train.optim)
    set_training_mode(student.net)
    teacher = NightTeacher(Gamma(), settled_net(seed=7))
    done = room_step([student], teacher, make_batch(), config, step=0)
    assert done.values["none/mutual"] == done.values["none/correlation"] == 0.0
    assert done.wins.tolist() == [0]


def test_a_batch_that_is_not_finite_changes_nothing(room):
    config, students, teacher = room
    batch = make_batch()
    batch["deltas"][0, 0, 200] = math.nan
    before = [{n: p.clone() for n, p in s.net.named_parameters()} for s in students]
    done = room_step(students, teacher, batch, config, step=0)
    assert not done.finite
    for student, old in zip(students, before, strict=True):
        for name, parameter in student.net.named_parameters():
            assert torch.equal(parameter, old[name]), name


@pytest.mark.slow
def test_a_teacher_with_larger_maps_and_other_channels_can_teach():
    config = make_config()
    student = make_student("l2", settled_net(), "backbone", config.train.optim)
    set_training_mode(student.net)
    teacher = NightTeacher(Gamma(), settled_net("mobilenet_v2"))
    done = room_step([student], teacher, make_batch(count=1), config, step=0)
    assert done.finite
    assert done.values["l2/correlation"] > 0


def test_a_student_of_the_truth_hears_no_teacher():
    config = make_config(students={"baseline": "compact", "losses": ["truth", "l2"]})
    students = [
        make_student(name, settled_net(seed=3), "all", config.train.optim)
        for name in config.students.names()
    ]
    terms, _, _ = room_losses(
        students, NightTeacher(Gamma(), settled_net(seed=7)), make_batch(), config
    )
    truth, taught = terms
    assert truth.kd_cls.item() == truth.kd_loc.item() == truth.correlation.item() == 0.0
    assert taught.kd_cls.item() > 0
    assert taught.correlation.item() > 0
    torch.testing.assert_close(truth.cls, taught.cls)


def test_the_teacher_of_clean_crops_does_not_see_the_night():
    batch = make_batch()
    teacher = NightTeacher(Gamma(), settled_net(seed=7))
    batch |= {f"{name}_clean": batch[name] * 3 for name in ("z", "x")}
    wanted = teacher.net(batch["z_clean"], batch["x_clean"])
    found = teacher_answers(teacher, batch)
    torch.testing.assert_close(found.cls, wanted[0])
    torch.testing.assert_close(found.loc, wanted[1])


def test_the_reference_way_learns_the_same_as_the_room():
    """The step that speed is held against must do the same work: same weights afterwards."""
    config = make_config(
        pairs={"search_px": 191, "hard_negatives": 0.0},
        optim={"lr": 1e-3, "clip": 1e9, "cls_weight": 1.0, "loc_weight": 1.0},
    )
    teacher = NightTeacher(Gamma(), settled_net(seed=7))
    batch = throughput.make_batch(config, 2)
    rooms = [make_room(config, None, torch.device("cpu")) for _ in range(2)]
    for a, b in zip(rooms[0].students, rooms[1].students, strict=True):
        b.net.load_state_dict(a.net.state_dict())
        a.net.eval(), b.net.eval()
    room_step(rooms[0].students, teacher, batch, config, 0)
    throughput.reference_step(rooms[1], teacher, batch, config)
    for a, b in zip(rooms[0].students, rooms[1].students, strict=True):
        for (name, one), other in zip(a.net.named_parameters(), b.net.parameters(), strict=True):
            if one.grad is not None:
                scale = one.grad.abs().max()
                torch.testing.assert_close(
                    one.grad / scale, other.grad / scale, atol=1e-3, rtol=0, msg=name
                )


def test_speed_is_printed_with_its_ratio():
    config = make_config(
        pairs={"search_px": 191}, students={"baseline": "compact", "losses": ["l2", "l2"]}
    )
    found = throughput.measure(
        config, NightTeacher(Gamma(), settled_net(seed=7)), rounds=1, batch=1
    )
    assert found.reference_s > 0
    assert found.room_s > 0
    assert found.lines()[-1] == f"ratio: {found.reference_s / found.room_s:.2f}"
