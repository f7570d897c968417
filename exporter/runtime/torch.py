"""The torch network itself, eager fp32: the way of the reference implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from exporter.network import load_network
from exporter.runtime.graphs import check_crop
from model.backend import Template
from model.config import TrackerConfig
from model.errors import BackendError
from model.geometry import Float, Image
from model.nets.baselines import Network


class TorchBackend:
    """A `model.backend.Backend` without any export: slow, and what the others are held against."""

    def __init__(self, net: Network, config: TrackerConfig, network: str) -> None:
        """Wrap a network; it is switched to evaluation mode.

        Args:
            net: the network.
            config: of its tracker.
            network: its name, as `alexnet`.
        """
        self._net = net.eval()
        self._config = config
        self.network = network

    @classmethod
    def from_checkpoint(cls, path: Path, config: TrackerConfig | None = None) -> TorchBackend:
        """Read a checkpoint.

        Args:
            path: of the weights.
            config: instead of the checkpoint's.

        Raises:
            ModelFileError: missing, damaged, or not the weights of this network.
        """
        loaded = load_network(path)
        return cls(loaded.net, config or loaded.config, loaded.source["network"])

    @property
    def name(self) -> str:
        """Engine, precision and device."""
        return f"torch-fp32 (CPU, {torch.get_num_threads()} threads)"

    @property
    def config(self) -> TrackerConfig:
        """The tracker configuration of the checkpoint."""
        return self._config

    def encode_template(self, z: Image) -> Template:
        """Encode a template crop; see `model.backend.Backend`."""
        check_crop("template", z, self._config.template_px)
        with torch.inference_mode():
            kernel_cls, kernel_loc = self._net.template(_as_input(z))
        if not (torch.isfinite(kernel_cls).all() and torch.isfinite(kernel_loc).all()):
            raise BackendError(f"{self.name}: the template's kernels are not finite")
        return Template(kernel_cls.numpy(), kernel_loc.numpy())

    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        """Compare a search crop with the template; see `model.backend.Backend`."""
        check_crop("search", x, self._config.search_px)
        with torch.inference_mode():
            cls, loc = self._net.search(
                _as_input(x),
                torch.from_numpy(template.kernel_cls),
                torch.from_numpy(template.kernel_loc),
            )
        return cls[0].numpy(), loc[0].numpy()

    def close(self) -> None:
        """Nothing to free."""


def _as_input(crop: Image) -> torch.Tensor:
    """(S, S, 3) BGR uint8 → [1 x 3 x S x S] float, 0..255."""
    chw = np.ascontiguousarray(crop.transpose(2, 0, 1)[None])
    return torch.from_numpy(chw).float()
