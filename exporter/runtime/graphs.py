"""What every engine that runs the two exported graphs has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from exporter.manifest import ModelFiles, TensorSpec
from model.backend import Template
from model.config import TrackerConfig
from model.errors import BackendError, ShapeError
from model.geometry import Float, Image


class GraphBackend(ABC):
    """A `model.backend.Backend` over a model folder; an engine fills in three methods."""

    def __init__(self, model: ModelFiles, name: str) -> None:
        """Keep the model's description.

        Args:
            model: verified files.
            name: engine, precision and device, for logs and the page.
        """
        self.model = model
        self._name = name
        self._known: Template | None = None

    @property
    def name(self) -> str:
        """Engine, precision and device."""
        return self._name

    @property
    def config(self) -> TrackerConfig:
        """The tracker configuration of the manifest."""
        return self.model.manifest.tracker

    def encode_template(self, z: Image) -> Template:
        """Encode a template crop; see `model.backend.Backend`."""
        check_crop("template", z, self.config.template_px)
        kernel_cls, kernel_loc = self._encode(z)
        if not (np.isfinite(kernel_cls).all() and np.isfinite(kernel_loc).all()):
            raise BackendError(f"{self.name}: the template's kernels are not finite")
        return Template(kernel_cls.copy(), kernel_loc.copy())

    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        """Compare a search crop with the template; see `model.backend.Backend`."""
        check_crop("search", x, self.config.search_px)
        if template is not self._known:
            wanted = self.model.manifest.search.inputs[1].shape
            if template.kernel_cls.shape != wanted or template.kernel_loc.shape != wanted:
                raise ShapeError(f"kernels are {template.kernel_cls.shape}: expected {wanted}")
            self._known = None  # a failure half-way must not leave the old name on new kernels
            self._load_kernels(template)
            self._known = template
        return self._search(x)

    @staticmethod
    def describe(engine: str, model: ModelFiles, device: str) -> str:
        """Name for logs and the page: engine, which model in which precision, device."""
        folder = model.folder.resolve().name
        return f"{engine} ({folder}, {model.manifest.precision} model, {device})"

    def close(self) -> None:
        """Free the engine; calling it twice is allowed."""
        self._known = None

    @abstractmethod
    def _encode(self, z: Image) -> tuple[Float, Float]:
        """Run the template graph; the arrays hold until the next call."""

    @abstractmethod
    def _load_kernels(self, template: Template) -> None:
        """Hand the kernels to the search graph; called when the target changes, not per frame."""

    @abstractmethod
    def _search(self, x: Image) -> tuple[Float, Float]:
        """Run the search graph: cls (2k, M, M), loc (4k, M, M); they hold until the next call."""


def check_crop(label: str, crop: Image, side: int) -> None:
    """Refuse a crop of another size or type.

    Raises:
        ShapeError: not (side, side, 3) uint8.
    """
    if crop.shape != (side, side, 3) or crop.dtype != np.uint8:
        raise ShapeError(
            f"{label} crop is {crop.shape} {crop.dtype}: expected ({side}, {side}, 3) uint8"
        )


def buffer_of(spec: TensorSpec) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Allocate the array that an engine reads or writes for the whole of its life."""
    return np.zeros(spec.shape, spec.dtype)
