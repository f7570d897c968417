"""The TensorRT runtime against a GPU in numpy: what is copied when, and what is refused.

No test here runs on a GPU; `mlkd bench --engine tensorrt` on a machine with one does.
"""

from __future__ import annotations

import builtins
import hashlib
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from exporter.manifest import ModelFiles, open_model
from exporter.runtime import cuda
from exporter.runtime import open as opening
from exporter.runtime.cuda import Cuda, open_cuda
from exporter.runtime.open import open_backend
from exporter.runtime.tensorrt import TensorRtBackend
from exporter.tensorrt import BuiltEngine
from exporter.tensorrt_api import TensorRt
from model.errors import BackendError, MissingExtraError, ModelFileError
from tests.exporter.fake_gpu import Arrays, FakeRuntimeApi, FakeTensorRt


def encode(inputs: Arrays) -> Arrays:
    mean = np.float32(inputs["z"].mean())
    return {"kernel_cls": mean, "kernel_loc": -mean}  # type: ignore[dict-item]


def search(inputs: Arrays) -> Arrays:
    mean = np.float32(inputs["x"].mean())
    return {
        "cls": mean + inputs["kernel_cls"].mean(),
        "loc": mean + inputs["kernel_loc"].mean(),
    }  # type: ignore[dict-item]


def engine_of(graph: bytes) -> bytes:
    return b"engine of " + hashlib.sha256(graph).digest()


class Gpu:
    """The fakes of one test, and the count of builds."""

    def __init__(self, model: ModelFiles) -> None:
        self.api = FakeRuntimeApi()
        manifest = model.manifest
        graphs = {
            engine_of(model.template_path.read_bytes()): (manifest.template, encode),
            engine_of(model.search_path.read_bytes()): (manifest.search, search),
        }
        self.trt = FakeTensorRt(self.api, graphs)
        self.model, self.builds = model, 0

    def open(self) -> TensorRtBackend:
        return TensorRtBackend(self.model, trt=cast("TensorRt", self.trt), cuda=Cuda(self.api))


@pytest.fixture
def gpu(fp32_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    gpu = Gpu(open_model(fp32_folder))

    def build(_trt: Any, graph: bytes, _options: Any, _timing: bytes) -> BuiltEngine:
        gpu.builds += 1
        return BuiltEngine(engine_of(graph), (), (), b"timing")

    monkeypatch.setenv("MLKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("exporter.runtime.tensorrt.build_engine", build)
    return gpu


def test_crops_go_in_and_maps_come_out(gpu: Gpu) -> None:
    backend = gpu.open()
    folder, gpu_name = gpu.model.folder.name, "NVIDIA GeForce RTX 3060 Laptop GPU"
    assert backend.name == f"tensorrt-10.16.1.11 ({folder}, fp32 model, {gpu_name})"
    first = backend.encode_template(np.full((127, 127, 3), 10, np.uint8))
    second = backend.encode_template(np.full((127, 127, 3), 20, np.uint8))
    assert (first.kernel_cls == 10).all()
    assert (second.kernel_loc == -20).all()
    x = np.full((287, 287, 3), 7, np.uint8)
    for template, value in ((first, 10), (second, 20), (first, 10)):
        cls, loc = backend.predict(template, x)
        assert cls.shape == (10, 21, 21)
        assert loc.shape == (20, 21, 21)
        assert (cls == 7 + value).all()
        assert (loc == 7 - value).all()
    assert (backend.predict(first, x * 2)[0] == 24).all()


def test_a_frame_is_one_launch_and_allocates_nothing(gpu: Gpu) -> None:
    backend = gpu.open()
    template = backend.encode_template(np.zeros((127, 127, 3), np.uint8))
    x = np.zeros((287, 287, 3), np.uint8)
    backend.predict(template, x)
    gpu.api.calls.clear()
    backend.predict(template, x)
    assert gpu.api.calls == ["cudaGraphLaunch", "cudaStreamSynchronize"]


def test_closing_frees_all_memory(gpu: Gpu) -> None:
    backend = gpu.open()
    assert gpu.api.memory
    backend.close()
    backend.close()
    assert not gpu.api.memory
    with pytest.raises(BackendError, match="is closed"):
        backend.encode_template(np.zeros((127, 127, 3), np.uint8))


def test_engines_are_built_once_and_again_for_another_gpu(
    gpu: Gpu, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.open().close()
    assert gpu.builds == 2
    assert "there is none for this model, GPU, driver and TensorRT yet" in caplog.text
    gpu.open().close()
    assert gpu.builds == 2
    gpu.api.gpu = "NVIDIA RTX A4000"
    caplog.clear()
    gpu.open().close()
    assert gpu.builds == 4
    assert "there is none for this model, GPU, driver and TensorRT yet" in caplog.text


def test_an_engine_that_does_not_load_or_fit_is_refused(gpu: Gpu) -> None:
    known = dict(gpu.trt.graphs)
    gpu.trt.graphs = {}
    with pytest.raises(BackendError, match="cannot load the engine"):
        gpu.open()
    assert gpu.builds == 1, "what was built just now is not built again"
    assert not gpu.api.memory
    both = list(known.values())
    gpu.trt.graphs = dict(zip(known, reversed(both), strict=True))
    with pytest.raises(ModelFileError, match="the graph's inputs are"):
        gpu.open()


@pytest.mark.parametrize("name", ["cudaMalloc", "cudaGraphInstantiate", "cudaStreamSynchronize"])
def test_a_failing_cuda_call_is_named(gpu: Gpu, name: str) -> None:
    gpu.api.failing = name
    with pytest.raises(BackendError, match=f"{name} failed with CUDA error 700"):
        gpu.open()
    assert not gpu.api.memory, "what was allocated before it is free again"


def test_a_second_engine_that_fails_frees_the_first(gpu: Gpu) -> None:
    first = next(iter(gpu.trt.graphs))
    gpu.trt.graphs = {first: gpu.trt.graphs[first]}
    with pytest.raises(BackendError, match=r"cannot load the engine of .*search\.onnx"):
        gpu.open()
    assert not gpu.api.memory
    assert gpu.api.calls.count("cudaStreamCreateWithFlags") == 1
    assert gpu.api.calls.count("cudaStreamDestroy") == 1


def test_an_engine_that_no_longer_loads_is_built_again(
    gpu: Gpu, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.open().close()
    refused: list[bytes] = []
    load = gpu.trt.load

    def once(serialised: bytes) -> Any:
        if serialised not in refused:
            refused.append(serialised)
            return None
        return load(serialised)

    monkeypatch.setattr(gpu.trt, "load", once)
    gpu.open().close()
    assert gpu.builds == 4
    assert "it is built again" in caplog.text


def test_an_engine_that_fails_while_it_warms_up_is_closed(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "OPENERS", {"tensorrt": lambda model, threads: gpu.open()})
    monkeypatch.setattr(gpu.api, "cudaGraphLaunch", lambda graph, stream: (700,))
    with pytest.raises(BackendError, match="cudaGraphLaunch failed"):
        open_backend(gpu.model.folder, "tensorrt")
    assert not gpu.api.memory


def test_kernels_that_do_not_arrive_are_not_taken_for_the_old_ones(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = gpu.open()
    first = backend.encode_template(np.full((127, 127, 3), 10, np.uint8))
    second = backend.encode_template(np.full((127, 127, 3), 20, np.uint8))
    x = np.full((287, 287, 3), 7, np.uint8)
    assert (backend.predict(first, x)[0] == 17).all()
    with monkeypatch.context() as broken:
        broken.setattr(gpu.api, "cudaStreamSynchronize", lambda stream: (700,))
        with pytest.raises(BackendError, match="cudaStreamSynchronize failed"):
            backend.predict(second, x)
    assert (backend.predict(first, x)[0] == 17).all()


@pytest.mark.parametrize("module", ["tensorrt", "cuda.bindings"])
def test_a_library_that_does_not_load_is_told_from_one_that_is_not_there(
    fp32_folder: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRt(FakeRuntimeApi(), {}))  # type: ignore[arg-type]
    real = builtins.__import__

    def load(name: str, *more: Any, **options: Any) -> Any:
        if name == module:
            raise OSError("libnvinfer.so.10: cannot open shared object file")
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", load)
    with pytest.raises(BackendError, match=r"is installed, but does not load: libnvinfer"):
        open_backend(fp32_folder, "tensorrt")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22\nGCC 12.2.0 \n",
         " (550.54.14)"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n",
         " (580.65.06)"),
        ("nothing of the kind\n 1.2 \n", ""),
        (None, ""),
    ],
)  # fmt: skip
def test_the_drivers_own_version_is_part_of_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, found: str
) -> None:
    file = tmp_path / "version"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(cuda, "DRIVER_FILE", file)
    driver = Cuda(FakeRuntimeApi()).device.driver
    assert driver.endswith(found)
    assert driver[: len(driver) - len(found)].replace(".", "").isdecimal()


def test_without_a_gpu_the_driver_is_suspected() -> None:
    with pytest.raises(BackendError, match=r"no NVIDIA GPU .*CUDA error 35.*nvidia-smi"):
        Cuda(FakeRuntimeApi(gpus=0))


@pytest.mark.parametrize(
    ("module", "library"), [("tensorrt", "tensorrt"), ("cuda.bindings", "cuda-bindings")]
)
def test_a_missing_library_is_named_with_its_extra(
    fp32_folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRt(FakeRuntimeApi(), {}))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{library} is not installed.*mlkd-track\[gpu\]"):
        open_backend(fp32_folder, "tensorrt")


def test_the_real_cuda_bindings_have_every_function_in_use() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    names = [n for n in vars(FakeRuntimeApi) if n.startswith("cuda")]
    assert len(names) > 15
    assert [n for n in names if not hasattr(runtime, n)] == []
    kinds = (runtime.cudaMemcpyKind, runtime.cudaStreamCaptureMode)
    assert hasattr(kinds[0], "cudaMemcpyHostToDevice")
    assert hasattr(kinds[0], "cudaMemcpyDeviceToHost")
    assert hasattr(kinds[1], "cudaStreamCaptureModeThreadLocal")
    if runtime.cudaGetDeviceCount()[1]:
        pytest.skip("this machine has a GPU")
    with pytest.raises(BackendError, match="no NVIDIA GPU"):
        open_cuda()
