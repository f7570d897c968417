"""Int8 form of the search graph: QuantizeLinear and DequantizeLinear around the convolutions."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.calibration import PairOfCrops
from model.errors import MissingExtraError, ShapeError

if TYPE_CHECKING:
    import onnx

CENTRE = 128
"""Subtracted from the crop, so that int8 with scale 1 holds its 256 grey levels exactly."""
CENTRED = "x_centred"


def centre_input(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Subtract 128 from the search crop and add its share to the first convolution's bias.

    Symmetric int8 over 0..255 would halve the grey levels, of which a night frame has few. The
    backbone does not pad, so that the change is exact.

    Raises:
        ShapeError: the graph does not begin with the conversion and a convolution with a bias.
    """
    import onnx

    moved = onnx.ModelProto()
    moved.CopyFrom(graph)
    body = moved.graph
    weights = {w.name: w for w in body.initializer}
    first = next(n for n in body.node if n.op_type == "Conv")
    before = {n.op_type for n in body.node[: list(body.node).index(first)]}
    if not before <= {"Cast", "Transpose"}:
        raise ShapeError(f"{', '.join(sorted(before))} before the first convolution: expected Cast")
    if len(first.input) != 3 or any(a.name == "pads" and any(a.ints) for a in first.attribute):
        raise ShapeError("the first convolution has no bias or pads: expected bias, no padding")
    kernel = onnx.numpy_helper.to_array(weights[first.input[1]])
    bias = onnx.numpy_helper.to_array(weights[first.input[2]])
    shifted = (bias + CENTRE * kernel.sum((1, 2, 3), dtype=np.float64)).astype(np.float32)
    weights[first.input[2]].CopyFrom(onnx.numpy_helper.from_array(shifted, first.input[2]))
    centre = onnx.numpy_helper.from_array(np.float32(CENTRE), "x_centre")
    body.initializer.append(centre)
    crop = first.input[0]
    subtract = onnx.helper.make_node("Sub", [crop, centre.name], [CENTRED], "centre_x")
    first.input[0] = CENTRED
    nodes = list(body.node)
    nodes.insert(nodes.index(first), subtract)
    del body.node[:]
    body.node.extend(nodes)
    return moved


def _from_correlation(graph: onnx.ModelProto) -> list[str]:
    """Names of the convolutions with dynamic weights and of all that depend on them."""
    constant = {w.name for w in graph.graph.initializer}
    reached: set[str] = set()
    names = []
    for node in graph.graph.node:
        is_conv = node.op_type == "Conv"
        if (is_conv and node.input[1] not in constant) or reached.intersection(node.input):
            reached.update(node.output)
            names += [node.name] if is_conv else []
    return names


class _Feeds:
    """Hands the calibration crops to ONNX Runtime, one at a time."""

    def __init__(self, template: onnx.ModelProto, pairs: Sequence[PairOfCrops]) -> None:
        import onnxruntime

        self._encode = onnxruntime.InferenceSession(
            template.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        self._pairs = iter(pairs)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next inputs of the search graph, or None at the end."""
        pair = next(self._pairs, None)
        if pair is None:
            return None
        z, x = pair
        kernel_cls, kernel_loc = self._encode.run(["kernel_cls", "kernel_loc"], {"z": z[None]})
        return {"x": x[None], "kernel_cls": kernel_cls, "kernel_loc": kernel_loc}


def quantize(
    template: onnx.ModelProto, search: onnx.ModelProto, pairs: Sequence[PairOfCrops]
) -> onnx.ModelProto:
    """Make the int8 search graph.

    The convolutions of the backbone and the two that adapt its features are quantised, per channel
    and symmetric, as TensorRT asks: weights, and the inputs behind the ReLU. Their outputs before
    it are not, since the negative values, which it drops, would take most of the range: that
    tripled the largest error of the box maps. The cross-correlations, whose weights are the
    template, and the 1x1 convolutions behind them stay float: they take a hundredth of the work
    and would make most of the error.

    Args:
        template: fp32 graph, for the kernels.
        search: fp32 graph.
        pairs: crops that show the range of every activation.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    try:
        from onnxruntime import quantization as q
    except ImportError:
        raise MissingExtraError("onnxruntime", "cpu") from None
    import onnx

    centred = centre_input(search)
    exact = {CENTRED: [{"scale": np.array(1, np.float32), "zero_point": np.array(0, np.int8)}]}
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        source, target = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        source.write_bytes(centred.SerializeToString())
        logging.getLogger().addFilter(_without_advice)
        try:
            q.quantize_static(
                source,
                target,
                _Feeds(template, pairs),
                quant_format=q.QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=_from_correlation(centred),
                per_channel=True,
                activation_type=q.QuantType.QInt8,
                weight_type=q.QuantType.QInt8,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    "OpTypesToExcludeOutputQuantization": ["Conv"],
                    "TensorQuantOverrides": exact,
                },
            )
        finally:
            logging.getLogger().removeFilter(_without_advice)
        return onnx.load(target)


def _without_advice(record: logging.LogRecord) -> bool:
    """Drop ONNX Runtime's advice to pre-process: torch's exporter already did that."""
    return "pre-processing" not in record.getMessage()
