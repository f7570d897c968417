"""Two processes (gloo) give the loss curve of one with the same whole batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from model.errors import InputError  # noqa: E402
from model.nets.baselines import build_baseline  # noqa: E402
from model.training import team  # noqa: E402
from model.training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from model.training.team import TeamBatchNorm2d, share_statistics  # noqa: E402
from tests.model.training.test_pairs import make_data  # noqa: E402
from tests.model.training.test_processes import run_by_two  # noqa: E402

NORM = """
import sys, torch, torch.distributed as dist
from torch import nn
from model.training.losses import classification_loss
from model.training.team import join_team, share_gradients, share_statistics, team_mean

with join_team(torch.device("cpu")) as team:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    share_statistics(net)
    x, labels = torch.load(sys.argv[1], weights_only=True)
    mine = slice(2 * team.rank, 2 * team.rank + 2)
    loss = classification_loss(net(50 * x[mine] + 100).flatten(2), labels[mine])
    loss.backward()
    share_gradients(list(net.parameters()))
    state = {**net.state_dict(), **{f"{n}.grad": p.grad for n, p in net.named_parameters()}}
    if team.rank == 1:
        torch.save({"loss": team_mean(loss), **state}, sys.argv[2])
    else:
        team_mean(loss)
"""


def test_loss_gradients_and_statistics_of_two_are_those_of_one(tmp_path: Path) -> None:
    from torch import nn

    from model.training.losses import classification_loss

    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 3, 9, 9, generator=generator) + torch.arange(4.0).reshape(4, 1, 1, 1)
    labels = torch.full((4, 25), -1, dtype=torch.int8)
    labels[0, :9], labels[3, 4:5], labels[1:, 10:14] = 1, 1, 0  # few and unevenly dealt
    torch.save((x, labels), tmp_path / "batch.pt")
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    loss = classification_loss(net(50 * x + 100).flatten(2), labels)
    loss.backward()
    wanted = {**net.state_dict(), **{f"{n}.grad": p.grad for n, p in net.named_parameters()}}

    (tmp_path / "norm.py").write_text(NORM)
    run_by_two(str(tmp_path / "norm.py"), str(tmp_path / "batch.pt"), str(tmp_path / "two.pt"))
    found = load_checkpoint(tmp_path / "two.pt")
    torch.testing.assert_close(found.pop("loss"), loss.detach(), rtol=1e-5, atol=1e-6)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_sharing_statistics_keeps_names_tensors_and_evaluation() -> None:
    torch.manual_seed(0)
    net = build_baseline("compact").eval()
    before = {name: value.data_ptr() for name, value in net.state_dict().items()}
    x = torch.rand(1, 3, 127, 127) * 255
    wanted = net.backbone(x)
    share_statistics(net)
    assert {name: value.data_ptr() for name, value in net.state_dict().items()} == before
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(type(norm) is TeamBatchNorm2d for norm in norms)
    assert torch.equal(net.backbone(x), wanted)
    net.train()  # alone, it is torch's own batch norm
    net.backbone(x)
    assert all(bool((norm.num_batches_tracked == 1).all()) for norm in norms[:1])


def test_stages_for_one_process_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    team.refuse_team("mlkd train pretrain")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="mlkd train pretrain trains in one process"):
        team.refuse_team("mlkd train pretrain")


def settings(batch: int, statistics: str) -> dict[str, Any]:
    return {
        "sources": [{"kind": "sequences", "path": "seq"}],
        "optim": {"steps": 4, "warmup_steps": 0, "lr": 1e-4, "statistics": statistics, "ema": 0.5},
        "run": {"batch": batch, "workers": 0, "precision": "fp32", "log_steps": 1},
        "pairs": {"search_px": 191},
        "network": "compact",
    }


def room(batch: int, statistics: str) -> dict[str, Any]:
    whole = settings(batch, statistics)
    del whole["network"]
    return {
        **whole,
        "teacher": {"enhancer": "gamma", "baseline": "compact"},
        "students": {
            "baseline": "compact", "losses": ["l2", "spatial", "threshold"], "epoch_steps": 2,
            "parts": "all",
        },
        "distill": {"kd_weight": 10.0, "kd_when": "when_teacher_better"},
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("statistics", ["batch", "frozen"])
@pytest.mark.parametrize("stage", ["baseline", "mutual"])
def test_the_loss_curve_of_two_processes_is_that_of_one(
    stage: str, statistics: str, tmp_path: Path
) -> None:
    from gcs.cli import main

    make_data(tmp_path / "data", frames=3)
    torch.manual_seed(0)
    net = build_baseline("compact")
    torch.nn.init.normal_(net.state_dict()["backbone.stem.1.running_mean"], 0.0, 5.0)
    save_checkpoint(tmp_path / "init.pt", {"state_dict": net.state_dict()})
    curves = {}
    for world in (1, 2):
        values = (settings if stage == "baseline" else room)(4 // world, statistics)
        config = tmp_path / f"{world}.yaml"
        config.write_text(json.dumps(values))
        out = tmp_path / f"run{world}"
        command = [
            "train", stage, "--device", "cpu", "--config", str(config), "--data",
            str(tmp_path / "data"), "--init", str(tmp_path / "init.pt"), "--out", str(out),
            "--cache", str(tmp_path / "crops"),
        ]  # fmt: skip
        if world == 1:
            assert main(command) == 0
        else:
            run_by_two("-m", "gcs.cli", *command)
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        left_out = ("elapsed_s", "samples_s")
        curves[world] = [{k: v for k, v in e.items() if k not in left_out} for e in lines]
        if stage == "mutual":
            curves[world] += [json.loads(s) for s in (out / "wins.jsonl").read_text().splitlines()]
    assert len(curves[1]) == (4 if stage == "baseline" else 6)
    assert curves[2][0] == pytest.approx(curves[1][0], rel=1e-3, abs=1e-5)
    # Adam's first steps follow the sign of gradients near 0, which rounding decides.
    for one, two in zip(curves[1][1:], curves[2][1:], strict=True):
        near = {k: v for k, v in one.items() if not k.endswith("gradient")}
        assert {k: two[k] for k in near} == pytest.approx(near, rel=3e-2, abs=1e-4)
