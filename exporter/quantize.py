"""Int8 form of the search graph: QuantizeLinear and DequantizeLinear around the convolutions."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporter.calibration import PairOfCrops
from exporter.rounding import Array, input_moments, is_plain, round_weights
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


def _left_out(graph: onnx.ModelProto) -> list[str]:
    """Names of the convolutions that stay float.

    Those with dynamic weights and all that depend on them; and a 1x1 right behind another
    convolution, as of the factored form: there no ReLU cuts what it reads, whose few strong
    channels leave the others few of the 255 steps, and it does a tenth of the work.
    """
    weights = {w.name: w.dims[2:] for w in graph.graph.initializer}
    makers = {out: node.op_type for node in graph.graph.node for out in node.output}
    reached: set[str] = set()
    names = []
    for node in graph.graph.node:
        is_conv = node.op_type == "Conv"
        if (is_conv and node.input[1] not in weights) or reached.intersection(node.input):
            reached.update(node.output)
            names += [node.name] if is_conv else []
        elif is_conv and set(weights[node.input[1]]) == {1}:
            names += [node.name] if makers.get(node.input[0]) == "Conv" else []
    return names


class _Feeds:
    """Hands the calibration crops to ONNX Runtime, one at a time."""

    def __init__(self, template: onnx.ModelProto, pairs: Sequence[PairOfCrops]) -> None:
        self._encode = _session(template)
        self._pairs = iter(pairs)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next inputs of the search graph, or None at the end."""
        pair = next(self._pairs, None)
        if pair is None:
            return None
        z, x = pair
        kernel_cls, kernel_loc = self._encode.run(["kernel_cls", "kernel_loc"], {"z": z[None]})
        return {"x": x[None], "kernel_cls": kernel_cls, "kernel_loc": kernel_loc}


def _session(graph: onnx.ModelProto) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def _inner(
    graph: onnx.ModelProto, feeds: _Feeds, names: list[str]
) -> Iterator[list[NDArray[np.float32]]]:
    """Run the graph on all crops and give the named tensors."""
    import onnx

    open_graph = onnx.ModelProto()
    open_graph.CopyFrom(graph)
    open_graph.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    session = _session(open_graph)
    while (feed := feeds.get_next()) is not None:
        yield session.run(names, feed)


class _Parts:
    """A graph with its nodes and tensors by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.makers = {out: n for n in self.nodes for out in n.output}
        self._tensors = {w.name: w for w in model.graph.initializer}

    def array(self, name: str) -> NDArray[Any]:
        import onnx

        return onnx.numpy_helper.to_array(self._tensors[name])

    def put(self, name: str, values: NDArray[Any]) -> None:
        import onnx

        self._tensors[name].CopyFrom(onnx.numpy_helper.from_array(values, name))

    def readers(self, name: str) -> list[onnx.NodeProto]:
        return [n for n in self.nodes if name in n.input]

    def is_rectified(self, name: str) -> bool:
        """Say whether a tensor comes out of a ReLU, pooled or not."""
        made = self.makers.get(name)
        while made is not None and made.op_type == "MaxPool":
            made = self.makers.get(made.input[0])
        return made is not None and made.op_type == "Relu"

    def lower(self, quantizer: onnx.NodeProto, by: NDArray[np.float32]) -> None:
        """Subtract a constant from what a node quantises."""
        import onnx

        name = quantizer.input[0]
        self.model.graph.initializer.append(onnx.numpy_helper.from_array(by, f"{name}_half"))
        node = onnx.helper.make_node(
            "Sub", [name, f"{name}_half"], [f"{name}_lowered"], f"lower_{name}"
        )
        quantizer.input[0] = node.output[0]
        self.nodes.insert(self.nodes.index(quantizer), node)
        del self.model.graph.node[:]
        self.model.graph.node.extend(self.nodes)


def _improve(
    exact: onnx.ModelProto, small: onnx.ModelProto, moments: Mapping[str, Array]
) -> onnx.ModelProto:
    """Round the weights with `round_weights` and give each activation the whole of its 8 bits.

    Behind a ReLU symmetric int8 holds 0..127 alone, half of its grid. There half of the range is
    subtracted and given back in the bias of the convolution behind, which is exact, since that
    convolution does not pad. Where anything else reads the activation, as the sum of a residual
    block does, it stays as it is: nothing there would give the half back.

    Args:
        exact: the float graph that `small` was made from.
        small: changed.
        moments: `input_moments` of the convolutions to do this for.
    """
    parts, floats = _Parts(small), _Parts(exact)
    source = {n.name: floats.array(n.input[1]) for n in floats.nodes if n.name in moments}
    for conv in [n for n in parts.nodes if n.name in moments]:
        quantised, scale = parts.makers[conv.input[1]].input[:2]
        weights = round_weights(source[conv.name], parts.array(scale), moments[conv.name])
        parts.put(quantised, weights)
    for quantizer in [n for n in parts.nodes if n.op_type == "QuantizeLinear"]:
        activation, scale = quantizer.input[:2]
        restored = parts.readers(quantizer.output[0])
        behind = [reader for one in restored for reader in parts.readers(one.output[0])]
        ours = bool(behind) and all(reader.name in moments for reader in behind)
        if not (ours and parts.is_rectified(activation)):
            continue
        step = parts.array(scale) * np.float32(127 / 255)
        half = np.asarray(CENTRE * step, np.float32)
        parts.put(scale, step)
        parts.lower(quantizer, half)
        for conv in behind:
            quantised, steps = parts.makers[conv.input[1]].input[:2]
            sums = parts.array(quantised).sum((1, 2, 3), dtype=np.float64) * parts.array(steps)
            bias = parts.array(conv.input[2]) + half * sums
            parts.put(conv.input[2], bias.astype(np.float32))
    return small


def quantize(
    template: onnx.ModelProto, search: onnx.ModelProto, pairs: Sequence[PairOfCrops]
) -> onnx.ModelProto:
    """Make the int8 search graph.

    The convolutions of the backbone and the two that adapt its features are quantised, per channel
    and symmetric, as TensorRT asks: weights, and the inputs behind the ReLU. Their outputs before
    it are not, since the negative values, which it drops, would take most of the range: that
    tripled the largest error of the box maps. ONNX Runtime places the nodes; `_improve`
    rounds the weights and widens the grid. The cross-correlations, whose weights
    are the template, and the 1x1 convolutions behind them stay float: they take a hundredth of the
    work and would make most of the error. So does a 1x1 right behind another convolution.

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
    left_out = _left_out(centred)
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
                nodes_to_exclude=left_out,
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
        small = onnx.load(target)
    plain = [
        n.name
        for n in centred.graph.node
        if n.op_type == "Conv" and n.name not in left_out and is_plain(n)
    ]
    feeds = _Feeds(template, pairs)
    moments = input_moments(centred, plain, lambda names: _inner(centred, feeds, names))
    return _improve(centred, small, moments)


def _without_advice(record: logging.LogRecord) -> bool:
    """Drop ONNX Runtime's advice to pre-process: torch's exporter already did that."""
    return "pre-processing" not in record.getMessage()
