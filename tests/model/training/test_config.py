from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import ConfigError
from model.training.config import TrainConfig, load_config

SOURCES = [{"kind": "images", "path": "stills"}]
FOLDER = Path(__file__).parents[3] / "configs" / "train"
# The distillation files have a class and a test of their own.
DISTILLATION = ("mutual", "ablation", "student")
CONFIGS = sorted(p for p in FOLDER.glob("*.yaml") if not p.stem.startswith(DISTILLATION))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_shipped_files_load_and_survive_a_round_trip(path: Path) -> None:
    config = load_config(path)
    assert TrainConfig.from_mapping(config.as_mapping()) == config


def test_there_are_shipped_files() -> None:
    assert {"baseline", "pretrain"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optim": {"learning_rate": 1.0}}, "learning_rate"),
        ({"optims": {}}, "optims"),
        ({"optim": {"lr": -1.0}}, "optim.lr"),
        ({"optim": {"lr": "fast"}}, "lr"),
        ({"optim": {"ema": 1.0}}, "optim.ema"),
        ({"run": {"precision": "fp8"}}, "run.precision"),
        ({"run": {"batch": 0}}, "run.batch"),
        ({"night": {"gain_min": 0.5, "gain_max": 0.1}}, "night.gain_min"),
        ({"pairs": {"negative": 1.5}}, "pairs.negative"),
        ({"pairs": {"search_px": 256}}, "pairs.search_px"),
        ({"augment": {"blur": 2.0}}, "augment.blur"),
        ({"sources": []}, "sources"),
        ({"sources": [{"kind": "films", "path": "x"}]}, "sources.kind"),
        ({"sources": [{"kind": "images", "path": ""}]}, "sources.path"),
        ({"night": 3}, "night"),
        ({"optim": {"lr": float("inf")}}, "lr is inf: expected a finite number"),
        ({"optim": {"weight_decay": float("nan")}}, "weight_decay is nan"),
        ({"optim": {"lr": 1e-4, "lr_end": 1e-3}}, "optim.lr_end"),
        ({"augment": {"stretch": float("inf")}}, "stretch is inf"),
        ({"pairs": {"min_side_px": float("nan")}}, "min_side_px is nan"),
        ({"sources": [{"kind": "images", "path": "x", "weight": float("inf")}]}, "weight is inf"),
        ({"run": {"seed": -1}}, "run.seed is -1: expected 0 or more"),
        ({"tracker": {"stride": 4}}, "tracker.stride is 4: expected 8"),
        ({"tracker": {"template_px": 255}}, "tracker.template_px"),
        ({"optim": {7: 1.0}}, "unknown setting 7"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        TrainConfig.from_mapping({"sources": SOURCES, **change})


def test_missing_sources_are_named() -> None:
    with pytest.raises(ConfigError, match="sources"):
        TrainConfig.from_mapping({})


@pytest.mark.parametrize("text", ["[1, 2]", "a: b: c", "", "\ttab: 1"])
def test_a_file_without_settings_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"train\.yaml"):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_config(tmp_path / "nowhere.yaml")
