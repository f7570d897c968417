from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from model.errors import ConfigError, InputError  # noqa: E402
from model.nets.baselines import build_baseline  # noqa: E402
from model.nets.siamrpn import SiamRPN  # noqa: E402
from model.training import loop  # noqa: E402
from model.training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from model.training.config import TrainConfig  # noqa: E402
from model.training.loop import TrainingError, make_state, run_training, train_step  # noqa: E402
from tests.model.training.test_pairs import make_data  # noqa: E402

CPU = torch.device("cpu")


def make_config(steps: int) -> TrainConfig:
    return TrainConfig.from_mapping(
        {
            "sources": [{"kind": "sequences", "path": "seq"}],
            "optim": {"steps": steps, "warmup_steps": 0, "lr": 1e-4, "lr_end": 1e-4},
            "run": {"batch": 2, "workers": 0, "precision": "fp32", "log_steps": 1},
            "pairs": {"search_px": 191},
        }
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_data(root, frames=3)
    return root


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def losses(out: Path) -> dict[int, float]:
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {entry["step"]: entry["loss"] for entry in entries}


def test_resuming_gives_the_same_loss_curve_and_weights(root: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_training(make_config(3), root, whole, device=CPU, cache=tmp_path / "crops")
    run_training(make_config(1), root, parts, device=CPU, cache=tmp_path / "crops")
    run_training(make_config(3), root, parts, resume=True, device=CPU, cache=tmp_path / "crops")
    assert losses(whole) == pytest.approx(losses(parts), rel=1e-4)
    assert set(losses(whole)) == {1, 2, 3}
    first, second = (load_checkpoint(out / "latest.pt") for out in (whole, parts))
    assert first["step"] == second["step"] == 3
    for key in ("state_dict", "raw_state_dict"):
        for name, value in first[key].items():
            torch.testing.assert_close(value, second[key][name], rtol=1e-3, atol=1e-4)


def test_a_checkpoint_holds_what_others_read(root: Path, tmp_path: Path) -> None:
    latest = run_training(make_config(1), root, tmp_path / "run", device=CPU)
    content = load_checkpoint(latest)
    SiamRPN().load_state_dict(content["state_dict"])
    assert TrainConfig.from_mapping(content["config"]) == make_config(1)
    with pytest.raises(InputError, match="--resume"):
        run_training(make_config(1), root, tmp_path / "run", device=CPU)


@pytest.mark.parametrize("statistics", ["batch", "frozen"])
def test_statistics_stay_where_they_are_frozen(root: Path, tmp_path: Path, statistics: str) -> None:
    config = make_config(1)
    config = replace(config, optim=replace(config.optim, statistics=statistics))
    latest = run_training(config, root, tmp_path / "run", device=CPU)
    state = load_checkpoint(latest)["raw_state_dict"]
    means = [value for name, value in state.items() if name.endswith("running_mean")]
    moved = any(bool(mean.abs().sum() > 0) for mean in means)
    assert moved == (statistics == "batch")


def test_a_backbone_is_taken_over(tmp_path: Path) -> None:
    torch.manual_seed(9)
    donor = SiamRPN()
    state = {k: v for k, v in donor.state_dict().items() if k.startswith("backbone.")}
    save_checkpoint(tmp_path / "backbone.pt", {"state_dict": state})
    net = make_state(make_config(1), CPU, tmp_path / "backbone.pt").net
    torch.testing.assert_close(net.backbone.layer5[0].weight, donor.backbone.layer5[0].weight)
    assert (net.rpn_head.cls.head[3].weight != donor.rpn_head.cls.head[3].weight).any()


def make_batch() -> dict[str, torch.Tensor]:
    count = 5 * 9 * 9
    labels = torch.zeros(2, count, dtype=torch.int8)
    labels[:, :4] = 1
    weights = torch.zeros(2, count)
    weights[:, :4] = 0.25
    return {
        "z": torch.randint(0, 255, (2, 127, 127, 3), dtype=torch.uint8),
        "x": torch.randint(0, 255, (2, 191, 191, 3), dtype=torch.uint8),
        "labels": labels,
        "deltas": torch.zeros(2, 4, count),
        "weights": weights,
    }


def test_a_loss_that_is_not_finite_changes_no_weight_and_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "_MOST_BAD_STEPS", 2)
    config = make_config(5)
    state = make_state(config, CPU, None)
    batch = make_batch()
    batch["deltas"][0, 0, 0] = float("nan")
    state.net.train()
    before = {n: v.clone() for n, v in state.net.state_dict().items()}
    assert state.average is not None
    averaged = {n: v.clone() for n, v in state.average.module.state_dict().items()}
    train_step(state.net, state, batch, config, CPU)
    for name, value in state.net.state_dict().items():
        assert torch.equal(value, before[name]), name
    for name, value in state.average.module.state_dict().items():
        assert torch.equal(value, averaged[name]), name
    with pytest.raises(TrainingError, match=r"optim\.lr"):
        train_step(state.net, state, batch, config, CPU)


def test_a_run_goes_on_with_its_own_settings_alone(root: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "run", tmp_path / "crops"
    run_training(make_config(1), root, out, device=CPU, cache=cache)
    longer = make_config(2)
    other = replace(
        longer,
        optim=replace(longer.optim, lr=5e-4, steps=2),
        run=replace(longer.run, seed=7, log_steps=2),
    )
    with pytest.raises(InputError, match=r"optim\.lr was 0\.0001 and is 0\.0005; run\.seed was 1"):
        run_training(other, root, out, resume=True, device=CPU, cache=cache)
    halves = replace(longer, run=replace(longer.run, batch=1))
    with pytest.raises(InputError, match="pairs a step was 2 and is 1"):
        run_training(halves, root, out, resume=True, device=CPU, cache=cache)
    quiet = replace(longer, run=replace(longer.run, log_steps=2, workers=1))
    run_training(quiet, root, out, resume=True, device=CPU, cache=cache)
    assert load_checkpoint(out / "latest.pt")["step"] == 2


@pytest.mark.parametrize("lost", ["optimizer", "step", "config"])
def test_a_checkpoint_without_a_part_is_refused(root: Path, tmp_path: Path, lost: str) -> None:
    out = tmp_path / "run"
    latest = run_training(make_config(1), root, out, device=CPU, cache=tmp_path / "crops")
    content = load_checkpoint(latest)
    del content[lost]
    save_checkpoint(latest, content)
    with pytest.raises(InputError, match=f"cannot be resumed \\({lost} is missing"):
        run_training(make_config(2), root, out, resume=True, device=CPU, cache=tmp_path / "crops")


def test_a_stop_waits_for_the_step_and_is_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def interrupted(*args: Any) -> dict[str, float]:
        if len(steps) == 1:
            signal.raise_signal(signal.SIGINT)  # within the step
        steps.append(train_step(*args))
        return steps[-1]

    monkeypatch.setattr(loop, "train_step", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_training(make_config(5), root, tmp_path / "run", device=CPU)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(steps) == load_checkpoint(tmp_path / "run" / "latest.pt")["step"] == 2


def test_a_few_steps_lower_the_loss_of_a_batch() -> None:
    torch.manual_seed(0)
    config = make_config(5)
    state = make_state(config, CPU, None)
    state.net.train()
    batch = make_batch()
    values = [train_step(state.net, state, batch, config, CPU)["loss"] for _ in range(6)]
    assert values[-1] < values[0]


def test_another_network_trains_resumes_and_is_told_by_its_kind(root: Path, tmp_path: Path) -> None:
    def config(steps: int) -> TrainConfig:
        return TrainConfig.from_mapping({**make_config(steps).as_mapping(), "network": "compact"})

    out = tmp_path / "run"
    run_training(config(1), root, out, device=CPU, cache=tmp_path / "crops")
    run_training(config(2), root, out, resume=True, device=CPU, cache=tmp_path / "crops")
    content = load_checkpoint(out / "latest.pt")
    assert content["kind"] == "siamrpn_compact"
    assert content["step"] == 2
    build_baseline("compact").load_state_dict(content["state_dict"])


def test_a_network_with_another_map_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"network is 'resnet50': expected alexnet or"):
        TrainConfig.from_mapping({**make_config(1).as_mapping(), "network": "resnet50"})
