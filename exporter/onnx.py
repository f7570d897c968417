"""From a torch network to two ONNX graphs: template, and search with the template's kernels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from exporter.manifest import TensorSpec, interface_of
from model.config import TrackerConfig
from model.errors import MissingExtraError, ShapeError
from model.nets.baselines import Network

if TYPE_CHECKING:
    import onnx

OPSET = 20
TEMPLATE_FILE = "template.onnx"
SEARCH_FILE = "search.onnx"


class TemplateGraph(nn.Module):
    """`z` (1, S, S, 3) BGR uint8 → both kernels (1, C, k, k) float32."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Convert the crop inside the graph, so that a quarter of the bytes cross the bus."""
        return self.net.template(_as_input(z))


class SearchGraph(nn.Module):
    """`x` (1, S, S, 3) BGR uint8 and both kernels → cls (1, 2k, M, M), loc (1, 4k, M, M)."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, x: torch.Tensor, kernel_cls: torch.Tensor, kernel_loc: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the per-frame half."""
        return self.net.search(_as_input(x), kernel_cls, kernel_loc)


def _as_input(crop: torch.Tensor) -> torch.Tensor:
    """[1 x S x S x 3] uint8 → [1 x 3 x S x S] float; TensorRT cannot permute uint8."""
    return crop.float().permute(0, 3, 1, 2)


def kernel_shape(net: Network, config: TrackerConfig) -> tuple[int, ...]:
    """Shape (1, C, k, k) of the kernels that the network makes of a template."""
    side = config.template_px
    with _fitting(f"template_px {side}"):
        kernel_cls, kernel_loc = net.template(torch.zeros(1, 3, side, side))
    if kernel_cls.shape != kernel_loc.shape:
        raise ShapeError(
            f"kernels are {kernel_cls.shape} and {kernel_loc.shape}: expected one shape"
        )
    return tuple(kernel_cls.shape)


def make_graphs(net: Network, config: TrackerConfig) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Trace both halves in fp32; batch norm is folded into the convolutions.

    Args:
        net: the trained network; switched to evaluation mode.
        config: its crops' sizes.

    Returns:
        The template graph and the search graph, static shapes, batch 1.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        ShapeError: the network's maps do not have the size that the configuration says.
    """
    net.eval()
    wanted = interface_of(config, kernel_shape(net, config))
    return (
        _trace(TemplateGraph(net), *wanted["template"]),
        _trace(SearchGraph(net), *wanted["search"]),
    )


def _trace(
    module: nn.Module, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> onnx.ModelProto:
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise MissingExtraError("onnxscript", "export") from None
    module.eval()
    with _fitting(f"crops of {inputs[0].shape[1]} px"):
        # One tensor object a name: the tracer would merge two inputs that are the same object.
        dummies = tuple(torch.zeros(s.shape, dtype=getattr(torch, s.dtype)) for s in inputs)
        found = [tuple(out.shape) for out in module(*dummies)]
    if found != [spec.shape for spec in outputs]:
        raise ShapeError(
            f"the network answers with {found}: expected {[s.shape for s in outputs]}; "
            "check search_px and score_size of the tracker configuration"
        )
    with _quiet():
        program = torch.onnx.export(
            module,
            dummies,
            input_names=[s.name for s in inputs],
            output_names=[s.name for s in outputs],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    return program.model_proto


@contextmanager
def _fitting(what: str) -> Iterator[None]:
    """Run a network; a size that it cannot take is the user's mistake.

    Raises:
        ShapeError: torch refuses: a map smaller than its kernel, or more memory than there is.
    """
    try:
        with torch.inference_mode():
            yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise ShapeError(
            f"the network does not take {what}: {reason}; check template_px and search_px of the "
            "tracker configuration"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Mute the tracer's notes on its own passes and on packages that are not needed here."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def forget_origin(graph: onnx.ModelProto) -> None:
    """Drop the tracer's notes, in place: they hold the paths of the machine that exported."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        del value.metadata_props[:]
    for tensor in graph.graph.initializer:
        del tensor.metadata_props[:]
    del graph.graph.metadata_props[:]


def save_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Check a graph and write it as one file, without the tracer's notes."""
    import onnx

    onnx.checker.check_model(graph, full_check=True)
    forget_origin(graph)
    path.write_bytes(graph.SerializeToString())


def io_of(graph: onnx.ModelProto) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a graph, in order."""
    import onnx

    def spec(value: onnx.ValueInfoProto) -> TensorSpec:
        tensor = value.type.tensor_type
        shape = tuple(int(d.dim_value) for d in tensor.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        return TensorSpec(value.name, shape, dtype)

    weights = {w.name for w in graph.graph.initializer}
    inputs = tuple(spec(v) for v in graph.graph.input if v.name not in weights)
    return inputs, tuple(spec(v) for v in graph.graph.output)
