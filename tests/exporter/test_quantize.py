"""Int8: exact grey levels at the input, constant convolutions quantised, correlations left."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from exporter.calibration import calibration_pairs
from exporter.manifest import open_model
from exporter.onnx import io_of
from exporter.parity import crops, relative_error
from exporter.quantize import CENTRED, centre_input, quantize
from model.config import TrackerConfig
from model.errors import InputError, ShapeError

CONFIG = TrackerConfig()


@pytest.fixture(scope="module")
def graphs(fp32_folder: Path) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = open_model(fp32_folder)
    return onnx.load(model.template_path), onnx.load(model.search_path)


def run(graph: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feed))


def test_centring_the_input_changes_nothing(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto],
) -> None:
    z, x = next(crops(CONFIG, seed=9))
    kernels = run(graphs[0], {"z": z[None]})
    feed = {"x": x[None], "kernel_cls": kernels[0], "kernel_loc": kernels[1]}
    centred = centre_input(graphs[1])
    for ours, theirs in zip(run(centred, feed), run(graphs[1], feed), strict=True):
        assert relative_error(ours, theirs) < 1e-5
    with pytest.raises(ShapeError, match="Sub, Transpose before the first"):
        centre_input(centred)


def test_the_int8_graph(graphs: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    pairs = list(crops(CONFIG, count=3, seed=10))
    small = quantize(*graphs, pairs)
    assert io_of(small) == io_of(graphs[1])
    assert small.ByteSize() < 0.31 * graphs[1].ByteSize()
    weights = {w.name: w for w in small.graph.initializer}
    convolutions = [n for n in small.graph.node if n.op_type == "Conv"]
    made_by = {out: n.op_type for n in small.graph.node for out in n.output}
    assert len(convolutions) == 15
    assert sum(made_by.get(n.input[1]) == "Reshape" for n in convolutions) == 2
    quantised = [n for n in convolutions if made_by.get(n.input[1]) == "DequantizeLinear"]
    assert len(quantised) == 9
    assert all(made_by[n.input[0]] == "DequantizeLinear" for n in quantised)
    kernels = [onnx.numpy_helper.to_array(weights[n.input[1]]) for n in convolutions
               if n not in quantised and n.input[1] in weights]  # fmt: skip
    assert [k.shape[2:] for k in kernels] == [(1, 1)] * 4
    rectified = [n.input[0] for n in small.graph.node if n.op_type == "Relu"]
    assert {made_by[name] for name in rectified} == {"Conv"}, "quantised before its ReLU"
    first = next(n for n in small.graph.node if CENTRED in n.input)
    scale = onnx.numpy_helper.to_array(weights[first.input[1]])
    assert first.op_type == "QuantizeLinear"
    assert float(scale) == 1.0
    z, x = pairs[-1]
    kernels = run(graphs[0], {"z": z[None]})
    feed = {"x": x[None], "kernel_cls": kernels[0], "kernel_loc": kernels[1]}
    for ours, theirs in zip(run(small, feed), run(graphs[1], feed), strict=True):
        assert 0 < relative_error(ours, theirs) < 0.2


def write_images(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 255, (90, 120, 3), np.uint8))


def test_calibration_on_images(tmp_path: Path) -> None:
    write_images(tmp_path, 5)
    (tmp_path / "broken.png").write_bytes(b"no image")
    pairs = calibration_pairs(tmp_path, CONFIG, count=8)
    assert len(pairs) == 5
    for z, x in pairs:
        assert (z.shape, x.shape) == ((127, 127, 3), (287, 287, 3))
        assert z.dtype == x.dtype == np.uint8
    bright, dark = pairs[0][1].mean(), pairs[1][1].mean()
    assert dark < 0.6 * bright
    again = calibration_pairs(tmp_path, CONFIG, count=8)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(pairs, again, strict=True))


def test_calibration_on_a_video_follows_its_boxes(tmp_path: Path) -> None:
    video = cv2.VideoWriter(
        str(tmp_path / "video.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120)
    )
    for index in range(12):
        frame = np.zeros((120, 160, 3), np.uint8)
        frame[40:60, 10 + 8 * index : 30 + 8 * index] = 250
        video.write(frame)
    video.release()
    lines = [f"{10 + 8 * i},40,20,20" for i in range(12)]
    lines[5] = "nan,nan,nan,nan"
    (tmp_path / "groundtruth.txt").write_text("\n".join(lines))
    pairs = calibration_pairs(tmp_path, CONFIG, count=6)
    assert len(pairs) == 6
    assert pairs[0][0][44:84, 44:84].mean() > 200
    assert all(x.max() > 10 for _, x in pairs)
    (tmp_path / "groundtruth.txt").write_text("\n".join(["nan,nan,nan,nan", "0,0,0,0"] * 6))
    with pytest.raises(InputError, match="no frame of it can be used"):
        calibration_pairs(tmp_path, CONFIG, count=6)


def test_a_folder_without_pictures_or_with_bad_boxes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image and no video"):
        calibration_pairs(tmp_path, CONFIG)
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(InputError, match="no frame of it can be used"):
        calibration_pairs(tmp_path, CONFIG)
    (tmp_path / "video.mp4").write_bytes(b"")
    (tmp_path / "groundtruth.txt").write_text("1,2,3,4\n1,2,3\n")
    with pytest.raises(InputError, match=r"groundtruth\.txt"):
        calibration_pairs(tmp_path, CONFIG)
