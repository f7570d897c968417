"""Every exported form computes what torch computes, and a form that does not is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from exporter import parity
from exporter.export import export_model
from exporter.half import in_half_precision, with_half_weights
from exporter.manifest import interface_of, open_model
from exporter.network import LoadedNetwork
from exporter.onnx import OPSET, io_of
from model.config import TrackerConfig
from model.errors import InputError
from model.nets.baselines import Network, build_baseline

Graphs = tuple[onnx.ModelProto, onnx.ModelProto]


@pytest.fixture(scope="module")
def graphs(fp32_folder: Path) -> Graphs:
    model = open_model(fp32_folder)
    return onnx.load(model.template_path), onnx.load(model.search_path)


def test_the_graphs_have_the_promised_interface_and_no_batch_norm(graphs: Graphs) -> None:
    wanted = interface_of(TrackerConfig(), (1, 128, 4, 4))
    for graph, label in zip(graphs, ("template", "search"), strict=True):
        assert io_of(graph) == wanted[label]
        assert graph.opset_import[0].version == OPSET
        operators = {node.op_type for node in graph.graph.node}
        assert "BatchNormalization" not in operators
        assert operators <= {"Transpose", "Cast", "Conv", "Relu", "Reshape"}


def test_each_branch_reads_its_own_kernel(graphs: Graphs) -> None:
    used = {name for node in graphs[1].graph.node for name in node.input}
    assert {"kernel_cls", "kernel_loc"} <= used


@pytest.mark.parametrize("change", [with_half_weights, in_half_precision])
def test_half_forms_are_half_the_size_and_within_their_limit(
    graphs: Graphs, network: Network, change: parity.GraphChange
) -> None:
    halves = change(graphs[0]), change(graphs[1])
    for half, whole in zip(halves, graphs, strict=True):
        onnx.checker.check_model(half, full_check=True)
        assert io_of(half) == io_of(whole)
        assert half.ByteSize() < 0.51 * whole.ByteSize()
    figures = parity.measure(network, TrackerConfig(), *halves)
    assert set(figures) == {"kernel_cls", "kernel_loc", "cls", "loc"}
    parity.check(figures, "fp16")
    with pytest.raises(parity.ParityError, match="expected at most 1e-05"):
        parity.check(figures, "fp32")


def test_a_changed_weight_breaks_parity(graphs: Graphs, network: Network) -> None:
    damaged = onnx.ModelProto()
    damaged.CopyFrom(graphs[1])
    weight = next(
        w for w in damaged.graph.initializer if "blocks.3" in w.name and "weight" in w.name
    )
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0] += 0.01
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    figures = parity.measure(network, TrackerConfig(), graphs[0], damaged)
    with pytest.raises(parity.ParityError, match=r"output (cls|loc) of the fp32 graph differs"):
        parity.check(figures, "fp32")


def test_a_nan_is_an_infinite_error() -> None:
    reference = np.ones(3, np.float32)
    assert parity.relative_error(np.full(3, np.nan, np.float32), reference) == float("inf")
    assert parity.relative_error(reference, reference) == 0
    assert parity.relative_error(reference * 1.5, reference * 2) == 0.25
    with pytest.raises(parity.ParityError, match="inf"):
        parity.check({"cls": float("inf")}, "fp32")


def test_a_weight_too_large_for_half_is_refused(graphs: Graphs) -> None:
    large = onnx.ModelProto()
    large.CopyFrom(graphs[0])
    large.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.full(4, 1e5, np.float32), "huge")
    )
    with pytest.raises(InputError, match="weight huge reaches 100000"):
        with_half_weights(large)


def test_a_value_too_large_for_half_is_refused(graphs: Graphs, network: Network) -> None:
    """It is infinite on a GPU; ONNX Runtime's CPU provider answers as if nothing were amiss."""
    fits = parity.largest_inside(graphs, TrackerConfig())
    parity.check_range(fits)
    large = onnx.ModelProto()
    large.CopyFrom(graphs[1])
    up, down = (
        onnx.numpy_helper.from_array(np.float32(v), n) for v, n in ((1e6, "u"), (1e-6, "d"))
    )
    large.graph.initializer.extend([up, down])
    last = next(n for n in large.graph.node if "cls" in n.output)
    last.output[:] = ["small"]
    large.graph.node.extend(
        [
            onnx.helper.make_node("Mul", ["small", "u"], ["huge"], "up"),
            onnx.helper.make_node("Mul", ["huge", "d"], ["cls"], "down"),
        ]
    )
    reaches = parity.largest_inside((graphs[0], large), TrackerConfig())
    assert reaches > 65504 > fits
    with pytest.raises(parity.ParityError, match=r"a value inside the graph reaches .*65504"):
        parity.check_range(reaches)


def test_half_is_measured_in_half_arithmetic(graphs: Graphs, network: Network) -> None:
    halves = in_half_precision(graphs[0]), in_half_precision(graphs[1])
    weights_alone = parity.measure(network, TrackerConfig(), *halves)
    computed = parity.measure_half(network, TrackerConfig())
    parity.check(computed, "fp16")
    assert computed["cls"] > 1.5 * weights_alone["cls"]
    assert next(network.parameters()).dtype == torch.float32, "the network stays as it was"


def test_no_parity_no_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graphs: Graphs
) -> None:
    """The graphs of one network, the weights of another."""
    torch.manual_seed(0)
    stranger = LoadedNetwork(
        build_baseline("compact").eval(), TrackerConfig(), {"checkpoint": "other.pt"}
    )
    monkeypatch.setattr("exporter.export.make_graphs", lambda *_: graphs)
    monkeypatch.setattr("exporter.export.load_network", lambda _: stranger)
    with pytest.raises(parity.ParityError, match="nothing was exported"):
        export_model(tmp_path / "other.pt", tmp_path / "out", "fp32")
    assert not (tmp_path / "out").exists()


def test_an_unknown_precision_and_int8_without_crops_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of fp32, compact, fp16, int8"):
        export_model(tmp_path / "w.pt", tmp_path, "fp8")
    with pytest.raises(InputError, match="--calibration"):
        export_model(tmp_path / "w.pt", tmp_path, "int8")
    (tmp_path / "image.png").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"judged by tracking, and .* no annotated video: give --v"
    ):
        export_model(tmp_path / "w.pt", tmp_path, "int8", tmp_path)
