"""Half-precision forms of a graph: fp16 weights alone, or fp16 throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.errors import InputError

if TYPE_CHECKING:
    import onnx

LARGEST_HALF = 65504.0


def with_half_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Store the weights as fp16, half the file, and convert them to fp32 while loading.

    Engines fold the conversions once, so that speed is that of the fp32 graph.

    Raises:
        InputError: a weight does not fit fp16.
    """
    import onnx

    small = onnx.ModelProto()
    small.CopyFrom(graph)
    casts = []
    for weight in small.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        half = onnx.numpy_helper.from_array(_halved(weight), f"{weight.name}_fp16")
        casts.append(
            onnx.helper.make_node(
                "Cast", [half.name], [weight.name], f"{weight.name}_load", to=onnx.TensorProto.FLOAT
            )
        )
        weight.CopyFrom(half)
    nodes = [*casts, *small.graph.node]
    del small.graph.node[:]
    small.graph.node.extend(nodes)
    return small


def in_half_precision(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Compute in fp16 throughout; float inputs and outputs stay fp32 at the border.

    Raises:
        InputError: a weight does not fit fp16.
    """
    import onnx

    half = onnx.ModelProto()
    half.CopyFrom(graph)
    body = half.graph
    for weight in body.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT:
            weight.CopyFrom(onnx.numpy_helper.from_array(_halved(weight), weight.name))
    for node in body.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = onnx.TensorProto.FLOAT16
    before = [
        _border(node_input.name, f"{node_input.name}_fp16", onnx.TensorProto.FLOAT16)
        for node_input in body.input
        if node_input.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]
    after = [_border(f"{out.name}_fp16", out.name, onnx.TensorProto.FLOAT) for out in body.output]
    renamed = {n.input[0]: n.output[0] for n in before} | {n.output[0]: n.input[0] for n in after}
    for node in body.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    nodes = [*before, *body.node, *after]
    del body.node[:]
    body.node.extend(nodes)
    del body.value_info[:]
    return half


def _border(source: str, target: str, dtype: int) -> onnx.NodeProto:
    import onnx

    return onnx.helper.make_node("Cast", [source], [target], f"{target}_cast", to=dtype)


def _halved(weight: onnx.TensorProto) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    import onnx

    values = onnx.numpy_helper.to_array(weight)
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= LARGEST_HALF:
        raise InputError(
            f"weight {weight.name} reaches {largest:g}: fp16 ends at {LARGEST_HALF:g}; "
            "export with --precision fp32"
        )
    return np.asarray(values, np.float16)
