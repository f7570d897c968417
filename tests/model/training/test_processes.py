"""Two training processes on one machine, started by torchrun (gloo)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from model.training.checkpoint import load_checkpoint  # noqa: E402
from tests.model.training.test_pairs import make_data  # noqa: E402

REPOSITORY = Path(__file__).parents[3]
CONFIG = {
    "sources": [{"kind": "sequences", "path": "seq"}],
    "optim": {"steps": 2, "warmup_steps": 0, "lr": 1e-4},
    "run": {"batch": 2, "workers": 0, "precision": "fp32", "log_steps": 1},
    "pairs": {"search_px": 191},
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_by_two(*program: str) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2",
        "--master_addr", "127.0.0.1", "--master_port", str(_free_port()), *program,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr[-2000:]


RUNS = """
import time, torch, torch.distributed as dist
from model.training.team import agree, join_team
cpu = torch.device("cpu")
with join_team(cpu) as outer:
    for _ in range(3):
        with join_team(cpu) as team:
            dist.barrier()
            assert (team.rank, team.world) == (outer.rank, 2)
            assert agree((1.5 + team.rank, 1.0 - team.rank), team) == (2.5, 1.0)
        time.sleep(0.3 * outer.rank)  # one is quicker than the other
    assert dist.is_initialized()
assert not dist.is_initialized()
"""


@pytest.mark.slow
def test_a_team_stays_together_between_runs(tmp_path: Path) -> None:
    (tmp_path / "runs.py").write_text(RUNS)
    run_by_two(str(tmp_path / "runs.py"))


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    make_data(tmp_path / "data", frames=3)
    (tmp_path / "train.yaml").write_text(json.dumps(CONFIG))
    run_by_two(
        "-m", "gcs.cli", "train", "baseline", "--device", "cpu",
        "--config", str(tmp_path / "train.yaml"), "--data", str(tmp_path / "data"),
        "--out", str(tmp_path / "run"),
    )  # fmt: skip
    entries = [json.loads(s) for s in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [(entry["step"], entry["samples"]) for entry in entries] == [(1, 4.0), (2, 8.0)]
    assert load_checkpoint(tmp_path / "run" / "latest.pt")["step"] == 2
