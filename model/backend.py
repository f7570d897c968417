"""What the tracker asks of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from model.config import TrackerConfig
from model.geometry import Float, Image


@dataclass(frozen=True)
class Template:
    """The target as the network remembers it: a value, so one engine serves many targets.

    Attributes:
        kernel_cls: (1, C, k, k) float32, kernel of the classification branch.
        kernel_loc: (1, C, k, k) float32, kernel of the regression branch.
    """

    kernel_cls: Float
    kernel_loc: Float


class Backend(Protocol):
    """An engine that runs the two halves of the network. Not thread-safe: one caller."""

    @property
    def name(self) -> str:
        """Engine, precision and device for logs and the page, as `openvino-bf16 (CPU)`."""
        ...

    @property
    def config(self) -> TrackerConfig:
        """The tracker configuration that the weights were made for."""
        ...

    def encode_template(self, z: Image) -> Template:
        """Encode a template crop, (127, 127, 3) BGR uint8.

        Raises:
            BackendError: the engine failed or answered with a value that is not finite.
        """
        ...

    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        """Compare a search crop, (S, S, 3) BGR uint8, with the template.

        Returns:
            cls (2k, M, M) and loc (4k, M, M) float32: channel c·k + a is class (0 background,
            1 target) or delta (dx, dy, dw, dh) c of anchor a. The arrays belong to the engine and
            hold until its next call.

        Raises:
            BackendError: the engine failed. Values are checked by the tracker, once, after it.
        """
        ...

    def close(self) -> None:
        """Free the engine; calling it twice is allowed."""
        ...
