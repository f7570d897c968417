"""Rounding that looks at a layer's inputs: hand-made cases, its moments, and the whole graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import exporter.quantize
from exporter.manifest import open_model
from exporter.parity import crops, relative_error
from exporter.quantize import quantize
from exporter.rounding import PATCHES, input_moments, is_plain, round_weights
from model.config import TrackerConfig
from tests.exporter.test_quantize import run

CONFIG = TrackerConfig()


def kernel(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)[:, :, None, None]


def test_the_second_of_two_equal_inputs_makes_good_for_the_first() -> None:
    together = np.ones((2, 2))
    rounded = round_weights(kernel([0.4, 0.4], [-1.3, 3.0]), np.ones(2), together)
    assert rounded.dtype == np.int8
    assert rounded.sum((1, 2, 3)).tolist() == [1, 2], "nearest has 0 and 2"
    steps = np.array([0.5, 0.25])
    assert round_weights(kernel([0.2, 0.2], [9, -90]), steps, together).sum((1, 2, 3)).tolist() == [
        1,
        -91,
    ]


def test_independent_inputs_are_rounded_to_nearest_and_kept_in_range() -> None:
    weights = kernel([0.4, -1.6, 300.0], [0.6, -300.0, 2.2])
    rounded = round_weights(weights, np.ones(2), np.diag([3.0, 1.0, 2.0]))
    assert rounded[..., 0, 0].tolist() == [[0, -2, 127], [1, -127, 2]]
    silent = round_weights(weights, np.ones(2), np.zeros((3, 3)))
    assert silent.tolist() == rounded.tolist(), "inputs that are always zero"


def test_the_output_changes_less_than_by_rounding_to_nearest() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(400, 12))
    x = np.maximum(hidden @ rng.normal(size=(12, 90)) + 0.5, 0)
    weights = rng.normal(size=(20, 10, 3, 3)).astype(np.float32)
    step = np.abs(weights).max((1, 2, 3)) / 127
    rounded = round_weights(weights, step, x.T @ x)
    nearest = np.round(weights / step[:, None, None, None])

    def moved(levels: np.ndarray) -> float:
        error = (levels * step[:, None, None, None] - weights).reshape(20, -1)
        return float(np.sqrt(np.mean((x @ error.T) ** 2)))

    assert 0 < moved(rounded) < 0.5 * moved(nearest)


def convolution(**attributes: object) -> onnx.ModelProto:
    node = onnx.helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv", **attributes)
    tensors = [
        onnx.numpy_helper.from_array(np.zeros((4, 2, 3, 3), np.float32), "w"),
        onnx.numpy_helper.from_array(np.zeros(4, np.float32), "b"),
    ]
    return onnx.helper.make_model(onnx.helper.make_graph([node], "one", [], [], tensors))


def test_moments_are_those_of_what_the_convolution_sees() -> None:
    graph = convolution(strides=[3, 3], dilations=[2, 2])
    rows, columns = np.mgrid[:40, :30].astype(np.float32)
    channels = np.stack([np.full_like(rows, 5), 0.1 * rows + 0.01 * columns])
    moments = input_moments(graph, ["conv"], lambda names: [[channels[None]]] * 3)["conv"]
    seen = 3 * PATCHES
    assert moments.shape == (18, 18)
    assert np.allclose(moments[:9, :9], 25 * seen)
    own = np.diag(moments)[9:]
    apart = own[:, None] + own[None] - 2 * moments[9:, 9:]
    steps = np.array([2 * (0.1 * r + 0.01 * c) for r in range(3) for c in range(3)])
    assert np.allclose(apart, seen * (steps[:, None] - steps[None]) ** 2, atol=1e-2)


@pytest.mark.parametrize(
    ("attributes", "plain"), [({}, True), ({"pads": [1] * 4}, False), ({"group": 2}, False)]
)
def test_padded_and_grouped_convolutions_are_left_to_onnxruntime(
    attributes: dict[str, object], *, plain: bool
) -> None:
    assert is_plain(convolution(**attributes).graph.node[0]) is plain


def test_a_search_graph_comes_nearer_to_its_float_form(
    fp32_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(fp32_folder)
    template, search = onnx.load(model.template_path), onnx.load(model.search_path)
    pairs = list(crops(CONFIG, count=4, seed=3))
    z, x = next(crops(CONFIG, seed=4))
    kernels = run(template, {"z": z[None]})
    feed = {"x": x[None], "kernel_cls": kernels[0], "kernel_loc": kernels[1]}
    exact = run(search, feed)

    def errors(graph: onnx.ModelProto) -> list[float]:
        return [relative_error(a, b) for a, b in zip(run(graph, feed), exact, strict=True)]

    ours = quantize(template, search, pairs)
    lowered = [n for n in ours.graph.node if n.op_type == "Sub" and n.name.startswith("lower_")]
    assert len(lowered) == 6, "one behind each ReLU that feeds a quantised convolution"
    monkeypatch.setattr(exporter.quantize, "is_plain", lambda _: False)
    theirs = quantize(template, search, pairs)
    assert not any(n.name.startswith("lower_") for n in theirs.graph.node)
    for smaller, larger in zip(errors(ours), errors(theirs), strict=True):
        assert smaller < 0.7 * larger


def test_an_activation_that_something_else_reads_is_not_lowered(fp32_folder: Path) -> None:
    """As the sum of a residual block reads what the convolution beside it reads."""
    model = open_model(fp32_folder)
    template, search = onnx.load(model.template_path), onnx.load(model.search_path)
    nodes = list(search.graph.node)
    relu = [n for n in nodes if n.op_type == "Relu"][2]
    last = next(n for n in nodes if "cls" in n.output)
    last.output[:] = ["cls_alone"]
    search.graph.node.extend(
        [
            onnx.helper.make_node("ReduceMean", [relu.output[0]], ["level"], "level", keepdims=0),
            onnx.helper.make_node("Add", ["cls_alone", "level"], ["cls"], "sum"),
        ]
    )
    z, x = next(crops(CONFIG, seed=4))
    kernels = run(template, {"z": z[None]})
    feed = {"x": x[None], "kernel_cls": kernels[0], "kernel_loc": kernels[1]}
    exact = run(search, feed)
    ours = quantize(template, search, list(crops(CONFIG, count=4, seed=3)))
    lowered = [n.name for n in ours.graph.node if n.name.startswith("lower_")]
    assert len(lowered) == 5
    assert f"lower_{relu.output[0]}" not in lowered
    for ours_map, exact_map in zip(run(ours, feed), exact, strict=True):
        assert relative_error(ours_map, exact_map) < 0.05
