"""Parity: the exported graphs against the torch network they came from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from exporter.half import LARGEST_HALF
from exporter.onnx import SearchGraph, TemplateGraph
from model.config import TrackerConfig
from model.errors import InputError, MissingExtraError
from model.geometry import Float, Image
from model.nets.baselines import Network

if TYPE_CHECKING:
    import onnx

GraphChange = Callable[["onnx.ModelProto"], "onnx.ModelProto"]
"""Makes another form of a graph."""

Graphs = tuple["onnx.ModelProto", "onnx.ModelProto"]
"""Template graph and search graph."""
OUTPUTS = ("kernel_cls", "kernel_loc", "cls", "loc")
"""Of both, in their order."""
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
    encode, match = _session(template), _session(search)
    worst: dict[str, float] = {}
    net.eval()
    for z, x in crops(config):
        with torch.inference_mode():
            kernels = TemplateGraph(net)(torch.from_numpy(z[None]))
            maps = SearchGraph(net)(torch.from_numpy(x[None]), *kernels)
        expected = [tensor.numpy() for tensor in (*kernels, *maps)]
        _note_worst(worst, [*encode(z), *match(x, *expected[:2])], expected)
    return worst


def compare(exact: Graphs, changed: Graphs, config: TrackerConfig) -> dict[str, float]:
    """As `measure`, of changed graphs against those that they were made from.

    Args:
        exact, changed: template graph and search graph each.
        config: the crops' sizes.
    """
    encode, match, encode_changed, match_changed = map(_session, (*exact, *changed))
    worst: dict[str, float] = {}
    for z, x in crops(config):
        kernels = encode(z)
        ours = [*encode_changed(z), *match_changed(x, *kernels)]
        _note_worst(worst, ours, [*kernels, *match(x, *kernels)])
    return worst


def _session(graph: onnx.ModelProto) -> Callable[..., list[Float]]:
    """A graph in ONNX Runtime on the CPU: crop (S, S, 3) and kernels in, its outputs out."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("onnxruntime", "cpu") from None
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]

    def run(crop: Image, *kernels: Float) -> list[Float]:
        answers: list[Float] = session.run(
            None, dict(zip(names, (crop[None], *kernels), strict=True))
        )
        return answers

    return run


def _note_worst(worst: dict[str, float], ours: Sequence[Float], expected: Sequence[Float]) -> None:
    """Keep the largest error of each of the four outputs so far."""
    for name, one, other in zip(OUTPUTS, ours, expected, strict=True):
        worst[name] = max(worst.get(name, 0.0), relative_error(one, other))


def measure_half(net: Network, config: TrackerConfig) -> dict[str, float]:
    """Compute with the network itself in fp16, as a GPU does.

    `measure` cannot: ONNX Runtime's CPU provider computes a fp16 graph in fp32.

    Returns:
        As of `measure`.
    """
    half = copy.deepcopy(net).half().eval()
    worst: dict[str, float] = {}
    for z, x in crops(config, count=2):
        z_in, x_in = (torch.from_numpy(c[None]).permute(0, 3, 1, 2).float() for c in (z, x))
        with torch.inference_mode():
            kernels = net.template(z_in)
            expected = (*kernels, *net.search(x_in, *kernels))
            ours = (
                *half.template(z_in.half()),
                *half.search(x_in.half(), *(kernel.half() for kernel in kernels)),
            )
        answers = [tensor.float().numpy() for tensor in ours]
        _note_worst(worst, answers, [tensor.numpy() for tensor in expected])
    return worst


def largest_inside(graphs: Graphs, config: TrackerConfig) -> float:
    """Largest absolute value of any tensor in two graphs over the crops.

    Args:
        graphs: that compute in fp32.
        config: the crops' sizes.
    """
    encode, match = (_session(_opened(graph)) for graph in graphs)
    largest = 0.0
    for z, x in crops(config):
        inside = encode(z)
        values = [*inside, *match(x, *inside[:2])]
        largest = max(largest, *(float(np.abs(v).max()) for v in values))
    return largest


def _opened(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A graph whose outputs are followed by every float tensor inside it."""
    import onnx

    shown = onnx.shape_inference.infer_shapes(graph)
    outputs = {out.name for out in shown.graph.output}
    shown.graph.output.extend(
        value
        for value in shown.graph.value_info
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in outputs
    )
    return shown


def check_range(largest: float) -> None:
    """Refuse a graph whose values do not fit fp16.

    Raises:
        ParityError: names the value and fp16's end.
    """
    if not largest <= LARGEST_HALF:
        raise ParityError(
            f"a value inside the graph reaches {largest:g}: fp16 ends at {LARGEST_HALF:g}; "
            "nothing was exported. Export with --precision compact"
        )


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
