"""Reads a checkpoint into the torch network and its tracker configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.manifest import sha256_of
from model.config import TrackerConfig
from model.nets.siamrpn import SiamRPN
from model.training.checkpoint import load_checkpoint, load_into
from model.training.convert import normalise_state


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready to run, and where it came from."""

    net: SiamRPN
    config: TrackerConfig
    source: Mapping[str, str]


def load_network(path: Path) -> LoadedNetwork:
    """Read a checkpoint of this project, of PySOT or of the paper's release.

    Of this project's training checkpoints the moving average of the weights is taken.

    Raises:
        ModelFileError: missing, damaged, or not the weights of this network.
        ConfigError: the tracker configuration in it does not fit.
    """
    content = load_checkpoint(path)
    config = _config_of(content)
    net = SiamRPN(config.anchors_per_cell)
    load_into(net, normalise_state(content, str(path)), str(path))
    net.eval()
    source = {"checkpoint": path.name, "sha256": sha256_of(path)}
    return LoadedNetwork(net, config, source)


def _config_of(content: Mapping[str, Any]) -> TrackerConfig:
    saved = content.get("config")
    tracker = saved.get("tracker") if isinstance(saved, Mapping) else None
    return TrackerConfig.from_mapping(tracker) if isinstance(tracker, Mapping) else TrackerConfig()
