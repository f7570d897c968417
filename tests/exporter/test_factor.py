"""The factored form: exact where the answers are of few dimensions, and exported as such."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn

import exporter.models
from exporter import factor
from exporter.calibration import calibration_pairs
from exporter.export import export_model
from exporter.factor import factor_network
from exporter.manifest import ModelFiles, open_model
from exporter.onnx import make_graphs
from exporter.parity import compare
from exporter.quantize import _left_out, quantize
from exporter.recover import read_folded, recover_checkpoint
from gcs.cli import main
from model.errors import InputError
from model.nets.baselines import run_pairs
from model.nets.factored import FEATURES, RANKS
from model.nets.siamrpn import SiamRPN
from tests.exporter.conftest import random_network


def scenes(side: int, count: int, seed: int) -> torch.Tensor:
    """Random pictures, coarse and fine, [count x 3 x side x side] BGR, 0..255."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 20, 20, 3), np.float32) * 155
    images = np.stack([cv2.resize(image, (side, side)) for image in coarse])
    fine = rng.random(images.shape, np.float32) * 100
    return torch.from_numpy(images + fine).permute(0, 3, 1, 2)


def apart(own: torch.Tensor, wanted: torch.Tensor) -> float:
    """Distance of two maps over the spread of the wanted one."""
    return float((own - wanted).norm() / (wanted - wanted.mean()).norm())


SHOWN = [scenes(191, 16, seed) for seed in range(4)]
"""Enough crops to factor by."""


@pytest.fixture(scope="module")
def narrow_net() -> SiamRPN:
    """AlexNet whose convolutions answer in no more dimensions than the factored form has."""
    net = random_network("alexnet")
    assert isinstance(net, SiamRPN)
    generator = torch.Generator().manual_seed(5)
    layers = [getattr(net.backbone, f"layer{n}") for n in range(1, 6)]
    with torch.no_grad():
        for layer, rank in zip(layers, (*RANKS, FEATURES), strict=True):
            weight, norm = layer[0].weight, layer[1]
            axes = torch.linalg.qr(torch.randn(len(weight), rank, generator=generator))[0]
            gain = (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None]
            flat = gain * weight.flatten(1)
            weight.copy_((axes @ (axes.T @ flat) / gain).reshape(weight.shape))
    return net


def test_answers_of_few_dimensions_come_back_exactly(narrow_net: SiamRPN) -> None:
    small = factor_network(narrow_net, SHOWN)
    z, x = scenes(127, 2, 3), scenes(191, 2, 4)
    with torch.no_grad():
        for wanted, own in zip(run_pairs(narrow_net, z, x), run_pairs(small, z, x), strict=True):
            assert own.shape == wanted.shape
            assert apart(own, wanted) < 2e-3


def test_more_dimensions_than_channels_are_met_as_well_as_their_energy_says() -> None:
    net = random_network("alexnet")
    assert isinstance(net, SiamRPN)
    small = factor_network(net, SHOWN)
    with torch.no_grad():
        shown = SHOWN[0]
        conv = net.backbone.layer1[:2](shown)
        own = small.backbone.layer1[:2](shown)
    answers = conv.transpose(0, 1).flatten(1)
    answers = answers - answers.mean(1, keepdim=True)
    energies = torch.linalg.eigvalsh(answers @ answers.T).flip(0)
    lost = float((energies[RANKS[0] :].sum() / energies.sum()).sqrt())
    assert lost > 0.01
    assert apart(own, conv) == pytest.approx(lost, rel=0.3)


def test_crops_count_by_the_inverse_of_their_energy_down_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(factor, "LEAST_CROPS", 4)
    values = [torch.full((factor.PLACES, 3), float(n)) for n in range(6)]
    answers = factor._weighted(values, [1.0, 0.04, 1.0, 1e-4, 1.0, 0.0])
    each = answers.weights.reshape(5, factor.PLACES)[:, 0]
    assert each[1] / each[0] == pytest.approx(25.0)
    assert each[3] / each[0] == pytest.approx(100.0), "a hundredth of the median is the limit"
    assert answers.values[:: factor.PLACES, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0], "no energy"
    assert float(answers.weights.sum()) == pytest.approx(1.0)
    with pytest.raises(InputError, match="1 of 6 crops show more than one colour: expected 4"):
        factor._weighted(values, [0.0, 0.0, 3.0, 0.0, 0.0, 0.0])
    with pytest.raises(InputError, match="0 of 0 crops"):
        factor._weighted([], [])


def test_the_energy_of_a_crop_is_what_the_relu_lets_through() -> None:
    net = random_network("alexnet")
    assert isinstance(net, SiamRPN)
    crops = scenes(191, factor.LEAST_CROPS, 1)
    with torch.no_grad():
        net.backbone.layer3[1].bias -= 100.0  # no answer of layer 3 passes its ReLU
        with pytest.raises(InputError, match="more than one colour"):
            factor_network(net, [crops])
        net.backbone.layer3[1].bias += 100.0
    factor_network(net, [crops])


def test_the_last_layer_keeps_what_the_head_looks_at(narrow_net: SiamRPN) -> None:
    """The head is blind to its channels of most energy, and reads as many as there is room for."""
    net = copy.deepcopy(narrow_net)
    with torch.no_grad():
        nn.init.normal_(cast(nn.Conv2d, net.backbone.layer5[0]).weight, std=0.02)
        loud = torch.arange(256) < 256 - FEATURES
        net.backbone.layer5[1].weight[loud] *= 30.0
        for branch in (net.rpn_head.cls, net.rpn_head.loc):
            for layer in (branch.conv_search, branch.conv_kernel):
                layer[0].weight[:, loud] = 0.0
        small = factor_network(net, SHOWN)
        x = scenes(191, 2, 4)
        for name in ("cls", "loc"):
            ours, theirs = (
                getattr(n.rpn_head, name).conv_search(n.backbone(x)) for n in (small, net)
            )
            assert apart(ours, theirs) < 0.05


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """An exported AlexNet, the whole network."""
    folder = tmp_path_factory.mktemp("alexnet")
    net = random_network("alexnet")
    torch.save({"kind": "siamrpn_alexnet", "state_dict": net.state_dict()}, folder / "net.pt")
    settings = {"flow_looseness": 0.018, "flow_centre": 0.7}
    return export_model(folder / "net.pt", folder / "model", "compact", settings=settings)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Few crops, and a judge who asks which models came before him and finds for them."""
    judged: list[list[str]] = []

    def mean_auc(backends: list[object], sequences: list[object]) -> list[float]:
        judged.append([backend.name for backend in backends])  # type: ignore[attr-defined]
        return [0.6, 0.595]

    monkeypatch.setattr("exporter.export.CROPS", 8)
    monkeypatch.setattr(factor, "LEAST_CROPS", 8)
    monkeypatch.setattr(
        "exporter.export.calibration_pairs",
        lambda folder, config, count=4: calibration_pairs(folder, config, min(count, 8)),
    )
    monkeypatch.setattr("exporter.export.mean_auc", mean_auc)
    return judged


def test_an_exported_model_gives_its_factored_form_with_its_settings(
    whole: ModelFiles, videos: Path, tmp_path: Path, quick: list[list[str]]
) -> None:
    model = export_model(whole, tmp_path / "small", "compact", videos, factored=True)
    manifest = model.manifest
    assert manifest.source["network"] == "alexnet"
    assert manifest.source["factored"] == ",".join(str(n) for n in (*RANKS, FEATURES))
    assert manifest.tracker == whole.manifest.tracker
    assert manifest.parity["auc_factored"] == 0.595
    [[reference, own]] = quick
    assert reference.startswith("openvino-f32 (fp32, fp32 model")
    assert "(factored, compact model" in own
    sizes = [m.search_path.stat().st_size for m in (whole, model)]
    assert sizes[1] < 0.5 * sizes[0]
    with pytest.raises(InputError, match="holds factored alexnet in compact"):
        recover_checkpoint(model.folder, [], tmp_path / "back.pt")
    with pytest.raises(InputError, match="holds factored alexnet"):
        export_model(model, tmp_path / "again", "fp32")


def test_it_is_refused_where_it_tracks_worse(
    whole: ModelFiles,
    videos: Path,
    tmp_path: Path,
    quick: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("exporter.export.mean_auc", lambda *_: [0.6, 0.58])
    out = tmp_path / "small"
    arguments = ["export", str(whole.folder), "--factored", "--out", str(out)]
    assert main([*arguments, "--calibration", str(videos)]) == 2
    assert "the factored model's success AUC is 0.5800" in capsys.readouterr().err
    assert not out.exists()


def test_the_convolutions_behind_no_relu_stay_float_in_int8(
    whole: ModelFiles, videos: Path, tmp_path: Path, quick: list[list[str]]
) -> None:
    model = export_model(whole, tmp_path / "int8", "int8", videos, factored=True)
    graph = onnx.load(model.search_path).graph
    makers = {out: node for node in graph.node for out in node.output}
    sides = {w.name: w.dims[2:] for w in graph.initializer}
    kinds: dict[bool, set[tuple[int, ...]]] = {True: set(), False: set()}
    for conv in (n for n in graph.node if n.op_type == "Conv"):
        weight = makers.get(conv.input[1])
        quantised = weight is not None and weight.op_type == "DequantizeLinear"
        name = weight.input[0] if quantised and weight is not None else conv.input[1]
        if name in sides:
            kinds[quantised].add(tuple(sides[name]))
    assert kinds == {True: {(11, 11), (5, 5), (3, 3)}, False: {(1, 1)}}
    assert set(model.manifest.parity) >= {"auc_fp32", "auc_int8"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--factored"], "the factored form needs crops"),
        (["--factored", "--calibration", "EMPTY"], "no annotated video"),
        (["--factored", "--calibration", "no-such-folder"], "no-such-folder is no folder"),
        (["--calibration", "EMPTY"], "for int8 and --factored"),
    ],
)
def test_what_is_missing_is_named(
    options: list[str],
    error: str,
    whole: ModelFiles,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    given = [str(tmp_path / "empty") if text == "EMPTY" else text for text in options]
    assert main(["export", str(whole.folder), "--out", str(tmp_path / "out"), *given]) == 2
    assert error in capsys.readouterr().err


def test_forms_for_cpus_and_engines_of_tensorrt_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["export", "siamrpn-alexnet-factored", *out]) == 2
    assert "is a form for CPUs of a model that ships: expected" in capsys.readouterr().err
    assert main(["export", "tensorrt", "--factored", *out]) == 2
    assert "leave it out" in capsys.readouterr().err


def test_another_network_is_refused(
    fp32_folder: Path, checkpoint: Path, videos: Path, tmp_path: Path, quick: list[list[str]]
) -> None:
    with pytest.raises(InputError, match="the network is compact, expected alexnet"):
        export_model(checkpoint, tmp_path / "out", "compact", videos, factored=True)
    with pytest.raises(InputError, match="holds compact in fp32"):
        export_model(open_model(fp32_folder), tmp_path / "out", "compact", videos, factored=True)
    with pytest.raises(InputError, match="expected another folder"):
        export_model(open_model(fp32_folder), fp32_folder, "compact")


def test_a_1x1_stays_float_only_right_behind_another_convolution() -> None:
    """As in the factored form; behind a ReLU, as in networks that consist of them, it does not."""
    sides = {"a": 3, "b": 1, "c": 3, "d": 1, "e": 1}
    chain = ["x", "a", "Relu", "b", "Relu", "c", "d", "MaxPool", "e"]
    nodes = []
    for before, here in itertools.pairwise(chain):
        inputs, place = [f"{before}{len(nodes)}", f"w_{here}"], len(nodes) + 1
        kind = "Conv" if here in sides else here
        given = {"kernel_shape": [2, 2]} if kind == "MaxPool" else {}
        taken = inputs if kind == "Conv" else inputs[:1]
        nodes.append(onnx.helper.make_node(kind, taken, [f"{here}{place}"], here, **given))
    weights = [
        onnx.numpy_helper.from_array(np.zeros((8, 8, side, side), np.float32), f"w_{name}")
        for name, side in sides.items()
    ]
    graph = onnx.helper.make_graph(nodes, "chain", [], [], weights)
    assert _left_out(onnx.helper.make_model(graph)) == ["d"]


def test_int8_of_the_factored_default_errs_little(videos: Path) -> None:
    """Guards what stays float: with the 1x1 in int8 the error is several times this."""
    model = open_model(Path(exporter.models.__file__).parent / "siamrpn-alexnet")
    config = model.manifest.tracker
    exact = make_graphs(factor_network(read_folded(model), SHOWN), config)
    pairs = calibration_pairs(videos, config, 8)
    errors = compare(exact, (exact[0], quantize(*exact, pairs)), config)
    assert errors["cls"] < 0.03
    assert errors["loc"] < 0.1
