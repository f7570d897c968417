"""Reads a checkpoint into the torch network and its tracker configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.manifest import sha256_of
from model.config import TrackerConfig
from model.errors import MissingExtraError, ModelFileError

try:
    from model.nets.alexnet import rename_legacy
    from model.nets.siamrpn import SiamRPN
    from model.training.checkpoint import load_checkpoint, load_into
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError("torch", "export") from None


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
    state = weights_of(content, path)
    ratios = len(TrackerConfig().anchor_ratios)
    net = SiamRPN(ratios)
    load_into(net, state, str(path))
    net.eval()
    source = {"checkpoint": path.name, "sha256": sha256_of(path)}
    return LoadedNetwork(net, _config_of(content), source)


def weights_of(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Find the state dict: averaged, plain, or the file itself; without `module.` prefixes.

    Raises:
        ModelFileError: there is none.
    """
    for key in ("ema", "state_dict", "model"):
        if isinstance(content.get(key), Mapping) and content[key]:
            content = content[key]
            break
    state = {name.removeprefix("module."): value for name, value in content.items()}
    if not any(name.startswith("backbone.") for name in state):
        raise ModelFileError(f"{path} holds no weights of a tracker: expected names as backbone.*")
    return rename_legacy(state)


def _config_of(content: Mapping[str, Any]) -> TrackerConfig:
    saved = content.get("config")
    tracker = saved.get("tracker") if isinstance(saved, Mapping) else content.get("tracker")
    return TrackerConfig.from_mapping(tracker) if isinstance(tracker, Mapping) else TrackerConfig()
