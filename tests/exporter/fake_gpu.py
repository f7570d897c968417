"""A GPU in numpy: memory by address, copies, one captured graph, and TensorRT's runtime."""

# ruff: noqa: N802, N815 (the names are CUDA's and TensorRT's)

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from exporter.manifest import GraphSpec, TensorSpec

Arrays = dict[str, np.ndarray[Any, Any]]
Compute = Callable[[Arrays], Arrays]


class FakeRuntimeApi:
    """Stands for the module `cuda.bindings.runtime`; every call is logged."""

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="in", cudaMemcpyDeviceToHost="out")
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, gpus: int = 1, failing: str = "") -> None:
        self.gpus, self.failing = gpus, failing
        self.calls: list[str] = []
        self.memory: dict[int, ctypes.Array[ctypes.c_uint8]] = {}
        self.recording: list[Callable[[], None]] | None = None
        self.gpu = "NVIDIA GeForce RTX 3060 Laptop GPU"

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("cuda") and callable(found):
            self.calls.append(name)
            if name == self.failing:
                return lambda *_: (700,)
        return found

    def cudaGetDeviceCount(self) -> tuple[int, int | None]:
        return (0, self.gpus) if self.gpus else (35, None)

    def cudaSetDevice(self, index: int) -> tuple[int]:
        return (0,)

    def cudaGetDeviceProperties(self, index: int) -> tuple[int, Any]:
        return 0, SimpleNamespace(name=self.gpu.encode() + b"\0\0", major=8, minor=6)

    def cudaDriverGetVersion(self) -> tuple[int, int]:
        return 0, 13010

    def _allocate(self, size: int) -> tuple[int, int]:
        memory = (ctypes.c_uint8 * size)()
        address = ctypes.addressof(memory)
        self.memory[address] = memory
        return 0, address

    def cudaMallocHost(self, size: int) -> tuple[int, int]:
        return self._allocate(size)

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        return self._allocate(size)

    def cudaFree(self, address: int) -> tuple[int]:
        del self.memory[address]
        return (0,)

    cudaFreeHost = cudaFree

    def queue(self, work: Callable[[], None]) -> None:
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def cudaMemcpyAsync(
        self, to: int, source: int, size: int, kind: str, stream: int
    ) -> tuple[int]:
        self.queue(lambda: ctypes.memmove(to, source, size) and None)
        return (0,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[int, int]:
        return 0, 77

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:
        self.recording = []
        return (0,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[int, Any]:
        graph, self.recording = self.recording, None
        return 0, graph

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[int, Any]:
        return 0, list(graph)

    def cudaGraphDestroy(self, graph: Any) -> tuple[int]:
        return (0,)

    def cudaGraphLaunch(self, graph: Any, stream: int) -> tuple[int]:
        for work in graph:
            work()
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        return (0,)

    def cudaGraphExecDestroy(self, graph: Any) -> tuple[int]:
        return (0,)

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:
        return (0,)


class FakeTensorRt:
    """Stands for the module `tensorrt`: an engine's bytes name the graph that it runs."""

    __version__ = "10.16.1.11"
    Logger = type("Logger", (), {"WARNING": 2, "__init__": lambda self, level: None})
    TensorIOMode = SimpleNamespace(INPUT="input", OUTPUT="output")

    def __init__(self, api: FakeRuntimeApi, graphs: dict[bytes, tuple[GraphSpec, Compute]]) -> None:
        self.api, self.graphs = api, graphs

    def Runtime(self, logger: Any) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=self.load)

    def load(self, serialised: bytes) -> FakeEngine | None:
        known = self.graphs.get(serialised)
        return FakeEngine(self.api, *known) if known else None


class FakeEngine:
    """Reads its inputs from device memory and writes its outputs there."""

    def __init__(self, api: FakeRuntimeApi, spec: GraphSpec, compute: Compute) -> None:
        self.api, self.spec, self.compute = api, spec, compute
        self.tensors: list[TensorSpec] = [*spec.inputs, *spec.outputs]
        self.num_io_tensors = len(self.tensors)
        self.addresses: dict[str, int] = {}

    def _find(self, name: str) -> TensorSpec:
        return next(t for t in self.tensors if t.name == name)

    def get_tensor_name(self, index: int) -> str:
        return self.tensors[index].name

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._find(name).shape

    def get_tensor_dtype(self, name: str) -> str:
        return {"uint8": "DataType.UINT8", "float32": "DataType.FLOAT"}[self._find(name).dtype]

    def get_tensor_mode(self, name: str) -> str:
        return "input" if self._find(name) in self.spec.inputs else "output"

    def create_execution_context(self) -> FakeEngine:
        return self

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        self.api.queue(self._execute)
        return True

    def _execute(self) -> None:
        answers = self.compute({t.name: self._view(t) for t in self.spec.inputs})
        for tensor in self.spec.outputs:
            self._view(tensor)[...] = answers[tensor.name]

    def _view(self, tensor: TensorSpec) -> np.ndarray[Any, Any]:
        memory = self.api.memory[self.addresses[tensor.name]]
        return np.frombuffer(memory, tensor.dtype).reshape(tensor.shape)
