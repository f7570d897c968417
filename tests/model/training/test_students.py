"""What of a student trains."""

from __future__ import annotations

import copy

import pytest
import torch

from model.errors import ConfigError
from model.nets.alexnet import AlexNet
from model.nets.baselines import build_baseline, run_pairs
from model.training.config import OptimConfig
from model.training.optim import set_training_mode
from model.training.students import answer_pairs, make_student, select_parts


@pytest.fixture
def net():
    return build_baseline("compact")


def trained(net) -> set[str]:
    return {n for n, p in net.named_parameters() if p.requires_grad}


def test_the_paper_trains_the_backbone_alone(net):
    select_parts(net, "backbone")
    assert trained(net) == {n for n, _ in net.named_parameters() if n.startswith("backbone.")}


def test_the_release_also_trains_the_adapters(net):
    select_parts(net, "release")
    names = trained(net)
    assert "rpn_head.cls.conv_kernel.0.weight" in names
    assert "rpn_head.loc.conv_search.1.bias" in names
    assert not any(".head." in n for n in names)


def test_all(net):
    select_parts(net, "backbone")
    select_parts(net, "all")
    assert trained(net) == {n for n, _ in net.named_parameters()}


def test_an_unknown_choice_is_named(net):
    with pytest.raises(ConfigError, match="'neck'"):
        select_parts(net, "neck")


def test_frozen_parts_keep_their_statistics(net):
    select_parts(net, "backbone")
    set_training_mode(net)
    before = net.rpn_head.cls.conv_search[1].running_mean.clone()
    moved = net.backbone.stem[1].running_mean.clone()
    net(torch.rand(2, 3, 127, 127) * 255, torch.rand(2, 3, 159, 159) * 255)
    assert torch.equal(net.rpn_head.cls.conv_search[1].running_mean, before)
    assert not torch.equal(net.backbone.stem[1].running_mean, moved)


def test_frozen_statistics_stay_where_the_weights_train(net):
    select_parts(net, "all")
    set_training_mode(net, "frozen")
    z, x = torch.rand(2, 3, 127, 127) * 255, torch.rand(2, 3, 159, 159) * 255
    before = {n: b.clone() for n, b in net.named_buffers()}
    alone = net(z[:1], x[:1])[0]
    together = net(z, x)[0]
    # As in flight: no pair sees another.
    torch.testing.assert_close(alone[0], together[0], rtol=1e-3, atol=1e-3)
    assert all(torch.equal(b, before[n]) for n, b in net.named_buffers())
    together.sum().backward()
    norm = net.backbone.stem[1]
    assert norm.weight.grad.abs().sum() > 0
    set_training_mode(net, "batch")
    assert not torch.allclose(net(z[:1], x[:1])[0][0], net(z, x)[0][0])


def test_the_optimiser_holds_what_trains(net):
    student = make_student("l2.2", net, "backbone", OptimConfig(ema=0.0))
    held = [p for group in student.optimizer.param_groups for p in group["params"]]
    assert len(held) == len(trained(net))
    assert student.loss == "l2"
    assert student.average is None


def test_layers_that_nobody_trains_run_once_with_the_same_answer(monkeypatch):
    torch.manual_seed(0)
    first = build_baseline("alexnet")
    students = [
        make_student(name, copy.deepcopy(first), "upper", OptimConfig(ema=0.0))
        for name in ("l2", "spatial")
    ]
    z, x = torch.rand(1, 3, 127, 127) * 60, torch.rand(1, 3, 159, 159) * 60
    with torch.no_grad():
        for student in students:
            set_training_mode(student.net)
            student.net.eval()
            student.net.rpn_head.cls.head[0].weight.mul_(1.5)
        wanted = [run_pairs(student.net, z, x) for student in students]
    seen: list[int] = []
    lower = AlexNet.lower
    monkeypatch.setattr(AlexNet, "lower", lambda net, crop: (seen.append(1), lower(net, crop))[1])
    found = answer_pairs(students, z, x)
    assert len(seen) == 2  # template and search region, once for both students
    for one, other in zip(wanted, found, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b.detach())
    lower_names = ("backbone.layer1.", "backbone.layer2.")
    names = {n for n, _ in first.named_parameters()}
    assert trained(students[0].net) == {n for n in names if not n.startswith(lower_names)}


def test_only_alexnet_has_an_upper_part(net):
    with pytest.raises(ConfigError, match="AlexNet"):
        select_parts(net, "upper")
