from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from model.training.config import OptimConfig  # noqa: E402
from model.training.optim import (  # noqa: E402
    Schedule,
    WeightAverage,
    make_optimizer,
    set_learning_rate,
)


def test_schedule_over_steps_by_hand() -> None:
    schedule = Schedule(OptimConfig(lr=1.0, lr_end=0.2, warmup_steps=0, steps=100))
    assert schedule.rate(0, 1e9) == pytest.approx(1.0)
    assert schedule.rate(50, 0.0) == pytest.approx(0.6)
    assert schedule.rate(100, 0.0) == pytest.approx(0.2)


def test_schedule_over_time_ends_with_the_time() -> None:
    schedule = Schedule(OptimConfig(lr=1.0, lr_end=0.2, warmup_steps=0, max_hours=2.0))
    assert schedule.rate(99_999, 3600.0) == pytest.approx(0.6)
    assert schedule.progress(3, 7200.0) == 1.0


def test_warm_up_is_linear() -> None:
    schedule = Schedule(OptimConfig(lr=1.0, lr_end=1.0, warmup_steps=4, steps=1000))
    assert [schedule.rate(n, 0.0) for n in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_backbone_has_its_own_rate_and_norms_no_decay() -> None:
    net = torch.nn.ModuleDict(
        {"backbone": torch.nn.Conv2d(1, 1, 3), "head": torch.nn.BatchNorm2d(1)}
    )
    optimizer = make_optimizer(net, OptimConfig(backbone_lr=0.1, weight_decay=0.5))
    set_learning_rate(optimizer, 2.0)
    found = {
        (round(g["lr"], 6), g["weight_decay"], len(g["params"])) for g in optimizer.param_groups
    }
    assert found == {(0.2, 0.5, 1), (0.2, 0.0, 1), (2.0, 0.0, 2)}


def test_average_by_hand() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    average = WeightAverage(net, decay=0.5)
    torch.nn.init.ones_(net.weight)
    average.update(net, step=1000)
    average.update(net, step=1001)
    weight = dict(average.module.named_parameters())["weight"]
    assert float(weight) == pytest.approx(0.75)
    assert not weight.requires_grad
    assert not average.module.training


def test_early_averages_forget_the_start() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    average = WeightAverage(net, decay=0.999)
    torch.nn.init.ones_(net.weight)
    average.update(net, step=0)
    assert float(dict(average.module.named_parameters())["weight"]) == pytest.approx(0.9)
