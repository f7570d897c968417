"""Reads a checkpoint into the torch network and its tracker configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.manifest import sha256_of
from model.config import TrackerConfig
from model.nets.baselines import BASELINES, Network, build_baseline, fuse, tracker_config
from model.training.checkpoint import load_checkpoint, load_into
from model.training.convert import normalise_state

DEFAULT_BASELINE = "alexnet"
KIND_PREFIX = "siamrpn_"


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready to run, and where it came from."""

    net: Network
    config: TrackerConfig
    source: Mapping[str, str]


def load_network(path: Path) -> LoadedNetwork:
    """Read a checkpoint of this project, of PySOT or of the paper's release.

    Its `kind` names the network, as `siamrpn_compact`; without one it is AlexNet's. Of this
    project's training checkpoints the moving average of the weights is taken.

    Raises:
        ModelFileError: missing, damaged, or not the weights of this network.
        ConfigError: the tracker configuration in it does not fit.
    """
    content = load_checkpoint(path)
    name = str(content.get("kind", "")).removeprefix(KIND_PREFIX)
    baseline = name if name in BASELINES else DEFAULT_BASELINE
    config = _config_of(content, baseline)
    net = build_baseline(baseline, config.anchors_per_cell)
    load_into(net, normalise_state(content, str(path)), str(path))
    net.eval()
    fuse(net)
    source = {"checkpoint": path.name, "sha256": sha256_of(path), "network": baseline}
    return LoadedNetwork(net, config, source)


def _config_of(content: Mapping[str, Any], baseline: str) -> TrackerConfig:
    """Tracker settings of the training, of a network on the default grid; else the network's."""
    own = tracker_config(baseline)
    saved = content.get("config")
    tracker = saved.get("tracker") if isinstance(saved, Mapping) else None
    on_default_grid = own.score_size == TrackerConfig().score_size
    if on_default_grid and isinstance(tracker, Mapping):
        return TrackerConfig.from_mapping(tracker)
    return own
