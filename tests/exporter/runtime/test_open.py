"""Engines agree with torch, are chosen in the documented order, and never fall back unasked."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.manifest import ModelFiles, sha256_of
from exporter.parity import crops, relative_error
from exporter.runtime import open as opening
from exporter.runtime.open import AUTO_ORDER, ENGINES, open_backend
from model.backend import Backend, Template
from model.config import TrackerConfig
from model.errors import BackendError, InputError, MissingExtraError, ModelFileError, ShapeError
from model.geometry import Float

EXACT = ("openvino-f32", "onnxruntime-cpu")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Backend:
    return open_backend(checkpoint, "torch")


@pytest.fixture(scope="module", params=EXACT)
def engine(fp32_folder: Path, request: pytest.FixtureRequest) -> Iterator[Backend]:
    backend = open_backend(fp32_folder, request.param, threads=1)
    yield backend
    backend.close()


def test_an_engine_computes_what_torch_computes(engine: Backend, reference: Backend) -> None:
    assert engine.config == reference.config == TrackerConfig()
    for z, x in crops(TrackerConfig(), count=2, seed=5):
        ours, theirs = engine.encode_template(z), reference.encode_template(z)
        assert relative_error(ours.kernel_cls, theirs.kernel_cls) < 1e-5
        assert relative_error(ours.kernel_loc, theirs.kernel_loc) < 1e-5
        maps, expected = engine.predict(theirs, x), reference.predict(theirs, x)
        assert maps[0].shape == (10, 21, 21)
        assert maps[1].shape == (20, 21, 21)
        for one, other in zip(maps, expected, strict=True):
            assert one.dtype == np.float32
            assert relative_error(one, other) < 1e-5


def test_templates_are_values_and_one_engine_serves_two_targets(engine: Backend) -> None:
    (z0, x), (z1, _) = crops(TrackerConfig(), count=2, seed=6)
    first, second = engine.encode_template(z0), engine.encode_template(z1)
    alone = [m.copy() for m in engine.predict(first, x)]
    other = [m.copy() for m in engine.predict(second, x)]
    again = engine.predict(first, x)
    assert not np.array_equal(alone[0], other[0])
    assert np.array_equal(alone[0], again[0])
    assert np.array_equal(alone[1], again[1])


def test_bf16_follows_f32_where_the_cpu_has_it(fp32_folder: Path) -> None:
    try:
        backend = open_backend(fp32_folder, "openvino-bf16", threads=1)
    except InputError as error:
        pytest.skip(str(error))
    exact = open_backend(fp32_folder, "openvino-f32", threads=1)
    z, x = next(crops(TrackerConfig(), seed=7))
    template = exact.encode_template(z)
    for one, other in zip(backend.predict(template, x), exact.predict(template, x), strict=True):
        assert 0 < relative_error(one, other) < 0.05


def test_crops_of_another_shape_are_refused(engine: Backend) -> None:
    with pytest.raises(ShapeError, match=r"template crop is \(9, 9, 3\) uint8"):
        engine.encode_template(np.zeros((9, 9, 3), np.uint8))
    template = engine.encode_template(np.zeros((127, 127, 3), np.uint8))
    with pytest.raises(ShapeError, match="search crop"):
        engine.predict(template, np.zeros((287, 287, 3), np.float32).astype(np.int8).view(np.int8))
    small = Template(np.zeros((1, 2, 4, 4), np.float32), np.zeros((1, 2, 4, 4), np.float32))
    with pytest.raises(ShapeError, match=r"expected \(1, 128, 4, 4\)"):
        engine.predict(small, np.zeros((287, 287, 3), np.uint8))


@pytest.mark.parametrize("name", EXACT)
def test_a_closed_engine_says_so(fp32_folder: Path, name: str) -> None:
    backend = open_backend(fp32_folder, name, threads=1)
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="is closed"):
        backend.encode_template(np.zeros((127, 127, 3), np.uint8))


@pytest.mark.parametrize("graph_name", ["template", "search"])
@pytest.mark.parametrize("name", EXACT)
def test_an_engine_that_answers_nan_is_refused_at_once(
    fp32_folder: Path, tmp_path: Path, name: str, graph_name: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(fp32_folder, folder)
    path = folder / f"{graph_name}.onnx"
    graph = onnx.load(path)
    # A bias behind the last ReLU or, in the template's graph, an infinite one before it.
    value = np.nan if graph_name == "search" else np.inf
    last = [n for n in graph.graph.node if n.op_type == "Conv"][-1]
    bias = next(w for w in graph.graph.initializer if w.name == last.input[2])
    broken = onnx.numpy_helper.to_array(bias).copy()
    broken[:] = value
    bias.CopyFrom(onnx.numpy_helper.from_array(broken, bias.name))
    path.write_bytes(graph.SerializeToString())
    manifest = folder / "manifest.json"
    values = json.loads(manifest.read_text())
    values[graph_name]["sha256"] = sha256_of(path)
    manifest.write_text(json.dumps(values))
    with pytest.raises(BackendError, match="not finite"):
        open_backend(folder, name, threads=1)


def test_an_unknown_engine_is_refused_with_the_known_ones(fp32_folder: Path) -> None:
    with pytest.raises(InputError, match="engine is 'gpu': expected one of auto,") as caught:
        open_backend(fp32_folder, "gpu")
    assert all(name in str(caught.value) for name in ENGINES)
    with pytest.raises(InputError, match="threads is 0"):
        open_backend(fp32_folder, "openvino", threads=0)


def test_an_engine_that_does_not_fit_the_file_is_refused(
    fp32_folder: Path, checkpoint: Path
) -> None:
    with pytest.raises(InputError, match="runs weights"):
        open_backend(fp32_folder, "torch")
    with pytest.raises(InputError, match="make one with mlkd export"):
        open_backend(checkpoint, "openvino")


@pytest.mark.parametrize(
    ("engine_name", "library", "message"),
    [
        ("openvino", "openvino", "openvino is not installed"),
        ("onnxruntime-cpu", "onnxruntime", r"pip install 'mlkd-track\[cpu\]'"),
        ("onnxruntime-cuda", "onnxruntime", r"pip install 'mlkd-track\[gpu\]'"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    fp32_folder: Path, monkeypatch: pytest.MonkeyPatch, engine_name: str, library: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=message):
        open_backend(fp32_folder, engine_name)


def test_torch_weights_without_torch_name_the_extra(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith(("exporter.runtime.torch", "torch"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"torch is not installed.*mlkd-track\[train\]"):
        open_backend(checkpoint, "torch")


def test_a_provider_that_this_onnxruntime_lacks_is_refused(fp32_folder: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is built with CUDA")
    with pytest.raises(InputError, match="has no CUDAExecutionProvider: replace it"):
        open_backend(fp32_folder, "onnxruntime-cuda")


def test_a_silent_fall_back_of_onnxruntime_is_refused(
    fp32_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its GPU build does without a GPU: the session opens, on the CPU."""
    import onnxruntime

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, _, providers: real(path, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(BackendError, match="took CPUExecutionProvider instead of CUDA"):
        open_backend(fp32_folder, "onnxruntime-cuda")


def test_the_tensorrt_provider_gets_a_folder_that_is_there_and_the_model_s_precision(
    fp32_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen at the session's door: the provider itself does not run here."""
    import onnxruntime

    given: list[dict[str, str]] = []

    def refuse(path: str, settings: object, providers: list[tuple[str, dict[str, str]]]) -> None:
        given.append(providers[0][1])
        raise RuntimeError("no CUDA")

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    monkeypatch.setenv("MLKD_CACHE", str(tmp_path / "not" / "yet"))
    half = tmp_path / "half"
    shutil.copytree(fp32_folder, half)
    manifest = half / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"fp32"', '"fp16"'))
    for folder in (fp32_folder, half):
        with pytest.raises(BackendError, match=r"no CUDA; check that a GPU, .*mlkd-track\[gpu\]"):
            open_backend(folder, "onnxruntime-tensorrt")
    assert Path(given[0]["trt_engine_cache_path"]).is_dir()
    assert "trt_fp16_enable" not in given[0]
    assert given[1]["trt_fp16_enable"] == "1"
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MLKD_CACHE", str(tmp_path / "file"))
    with pytest.raises(BackendError, match="no CUDA"):
        open_backend(fp32_folder, "onnxruntime-tensorrt")
    assert "trt_engine_cache_enable" not in given[2]


class FakeEngine:
    """Opens at once and answers with one value."""

    def __init__(self, name: str, value: float = 0.0) -> None:
        self.name, self.value, self.closed = name, value, False
        self.config = TrackerConfig()

    def encode_template(self, z: np.ndarray) -> Template:
        kernel: Float = np.zeros((1, 256, 4, 4), np.float32)
        return Template(kernel, kernel)

    def predict(self, template: Template, x: np.ndarray) -> tuple[Float, Float]:
        return np.full((10, 21, 21), self.value, np.float32), np.zeros((20, 21, 21), np.float32)

    def close(self) -> None:
        self.closed = True


def fake_openers(monkeypatch: pytest.MonkeyPatch, **answers: Backend | Exception) -> list[str]:
    """Replace every engine; those not named are not installed. Returns the names tried."""
    tried: list[str] = []

    def opener(name: str) -> opening.Opener:
        def open_it(model: ModelFiles, threads: int | None) -> Backend:
            tried.append(name)
            answer = answers.get(name.replace("-", "_"), MissingExtraError(name, "gpu"))
            if isinstance(answer, Exception):
                raise answer
            return answer

        return open_it

    monkeypatch.setattr(opening, "OPENERS", {name: opener(name) for name in AUTO_ORDER})
    return tried


def test_auto_takes_the_first_that_works_and_says_why(
    fp32_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, works = FakeEngine("nan", float("nan")), FakeEngine("works")
    tried = fake_openers(monkeypatch, onnxruntime_cuda=broken, openvino=works)
    with caplog.at_level(logging.INFO):
        assert open_backend(fp32_folder) is works
    assert tried == ["tensorrt", "onnxruntime-cuda", "openvino"]
    assert broken.closed
    assert "engine openvino chosen" in caplog.text
    assert "tensorrt is not installed" in caplog.text
    assert "not finite" in caplog.text


def test_auto_does_not_hide_a_broken_model_behind_another_engine(
    fp32_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fake_openers(
        monkeypatch, openvino=ModelFileError("graph"), onnxruntime_cpu=FakeEngine("x")
    )
    with pytest.raises(ModelFileError):
        open_backend(fp32_folder)
    assert tried[-1] == "openvino"


def test_auto_without_any_engine_names_all_reasons(
    fp32_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_openers(monkeypatch)
    with pytest.raises(BackendError, match=r"no engine works here: tensorrt: .*onnxruntime-cpu: "):
        open_backend(fp32_folder)
