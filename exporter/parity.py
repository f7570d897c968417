"""Parity: the exported graphs against the torch network they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from exporter.onnx import SearchGraph, TemplateGraph
from model.config import TrackerConfig
from model.errors import InputError, MissingExtraError
from model.geometry import Float, Image
from model.nets.baselines import Network

if TYPE_CHECKING:
    import onnx

GraphChange = Callable[["onnx.ModelProto"], "onnx.ModelProto"]
"""Makes another form of a graph."""

LIMITS: Mapping[str, float] = {"fp32": 1e-5, "compact": 5e-3, "fp16": 5e-3}
"""Largest error allowed, relative to torch's largest value; int8 is judged by tracking."""


class ParityError(InputError):
    """An exported graph does not compute what the network computes."""


def crops(config: TrackerConfig, count: int = 4, seed: int = 0) -> Iterator[tuple[Image, Image]]:
    """Make crops to compare on: soft random blobs and grain, from night-dark to bright.

    Yields:
        A template crop and a search crop, (S, S, 3) BGR uint8.
    """
    rng = np.random.default_rng(seed)
    for index in range(count):
        peak = 255.0 * (index + 1) / count
        side = config.search_px
        coarse = rng.random((12, 12, 3), np.float32)
        x = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        x = x * peak + rng.normal(0, 4, x.shape)
        image = np.clip(x, 0, 255).astype(np.uint8)
        start = (side - config.template_px) // 2
        yield image[start:, start:][: config.template_px, : config.template_px].copy(), image


def measure(
    net: Network, config: TrackerConfig, template: onnx.ModelProto, search: onnx.ModelProto
) -> dict[str, float]:
    """Run both graphs in ONNX Runtime on the CPU and compare every output with torch's.

    Both sides get torch's kernels, so each graph answers for its own error alone.

    Returns:
        Output name → largest absolute difference over torch's largest absolute value.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("onnxruntime", "cpu") from None
    sessions = [
        onnxruntime.InferenceSession(g.SerializeToString(), providers=["CPUExecutionProvider"])
        for g in (template, search)
    ]
    worst: dict[str, float] = {}
    net.eval()
    for z, x in crops(config):
        with torch.inference_mode():
            kernels = TemplateGraph(net)(torch.from_numpy(z[None]))
            maps = SearchGraph(net)(torch.from_numpy(x[None]), *kernels)
        feed = {"x": x[None], "kernel_cls": kernels[0].numpy(), "kernel_loc": kernels[1].numpy()}
        answers = [
            *sessions[0].run(["kernel_cls", "kernel_loc"], {"z": z[None]}),
            *sessions[1].run(["cls", "loc"], feed),
        ]
        names = ("kernel_cls", "kernel_loc", "cls", "loc")
        for name, ours, theirs in zip(names, answers, (*kernels, *maps), strict=True):
            worst[name] = max(worst.get(name, 0.0), relative_error(ours, theirs.numpy()))
    return worst


def relative_error(ours: Float, reference: Float) -> float:
    """Largest absolute difference over the reference's largest value; infinite for a NaN."""
    largest = max(float(np.abs(reference).max()), float(np.finfo(np.float32).tiny))
    error = float(np.abs(ours - reference).max()) / largest
    return error if np.isfinite(error) else float("inf")


def check(figures: Mapping[str, float], precision: str) -> None:
    """Refuse an export whose error is above the limit of its precision.

    Raises:
        ParityError: names the output, the figure and the limit.
    """
    limit = LIMITS.get(precision, float("inf"))
    for name, error in figures.items():
        if not error <= limit:
            raise ParityError(
                f"output {name} of the {precision} graph differs from torch by {error:.2e} of its "
                f"largest value: expected at most {limit:.0e}; nothing was exported"
            )
