"""CUDA through cuda-bindings: device, pinned and device memory, one captured graph."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporter.manifest import TensorSpec
from model.errors import BackendError, MissingExtraError

DRIVER_FILE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Device:
    """The GPU in use."""

    name: str
    compute_capability: str
    driver: str
    """The CUDA version that the driver supports and, where the system tells it, the driver's own
    version, as `13.0 (580.65.06)`."""


class PinnedTensor:
    """A tensor in device memory and its mirror in page-locked host memory."""

    def __init__(self, cuda: Cuda, spec: TensorSpec) -> None:
        """Allocate both sides, once."""
        self.spec = spec
        dtype = np.dtype(spec.dtype)
        count = int(np.prod(spec.shape))
        self.size_bytes = count * dtype.itemsize
        self._cuda = cuda
        self._host_address = cuda.call("cudaMallocHost", self.size_bytes)
        try:
            self.device_address = int(cuda.call("cudaMalloc", self.size_bytes))
        except BackendError:
            cuda.call("cudaFreeHost", self._host_address)
            raise
        raw = memoryview((ctypes.c_uint8 * self.size_bytes).from_address(int(self._host_address)))
        flat: np.ndarray[Any, Any] = np.ndarray(count, dtype, raw)
        self.host = flat.reshape(spec.shape)
        self.host[...] = 0

    def upload(self, stream: Any) -> None:
        """Queue host → device."""
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.device_address, int(self._host_address), kind, stream)

    def download(self, stream: Any) -> None:
        """Queue device → host."""
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(int(self._host_address), self.device_address, kind, stream)

    def _copy(self, to: int, source: int, kind: Any, stream: Any) -> None:
        self._cuda.call("cudaMemcpyAsync", to, source, self.size_bytes, kind, stream)

    def free(self) -> None:
        """Give both sides back; `host` must not be read afterwards."""
        self._cuda.call("cudaFree", self.device_address)
        self._cuda.call("cudaFreeHost", self._host_address)


def _own_version() -> str:
    """The driver's version in brackets, with a space before; empty where there is no such file.

    The file is the Linux driver's; `nvidia-smi` would take a second at each start.
    """
    try:
        first = DRIVER_FILE.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except OSError:
        return ""
    found = re.search(r"\s(\d+(?:\.\d+)+)\s", first)
    return f" ({found[1]})" if found else ""


class Cuda:
    """The runtime API with every status checked."""

    def __init__(self, runtime: Any) -> None:
        """Find the GPU.

        Args:
            runtime: the module `cuda.bindings.runtime`.

        Raises:
            BackendError: no GPU, or a driver that is too old.
        """
        self.runtime = runtime
        status, count = runtime.cudaGetDeviceCount()
        if int(status) != 0 or not count:
            raise BackendError(
                f"no NVIDIA GPU can be used (CUDA error {int(status)}): check the driver with "
                "nvidia-smi"
            )
        self.call("cudaSetDevice", 0)
        properties = self.call("cudaGetDeviceProperties", 0)
        driver = int(self.call("cudaDriverGetVersion"))
        name = properties.name
        self.device = Device(
            name=name.decode(errors="replace").rstrip("\0") if isinstance(name, bytes) else name,
            compute_capability=f"{properties.major}.{properties.minor}",
            driver=f"{driver // 1000}.{driver % 1000 // 10}{_own_version()}",
        )

    def call(self, name: str, *arguments: Any) -> Any:
        """Call one function of the runtime.

        Returns:
            None, its only result, or a tuple of its results.

        Raises:
            BackendError: its status is not success; the message names function and status.
        """
        status, *results = getattr(self.runtime, name)(*arguments)
        if int(status) != 0:
            raise BackendError(f"{name} failed with CUDA error {int(status)}")
        if not results:
            return None
        return results[0] if len(results) == 1 else tuple(results)

    def new_stream(self) -> Any:
        """Make a stream that does not wait for the default one."""
        return self.call("cudaStreamCreateWithFlags", self.runtime.cudaStreamNonBlocking)

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        """Record what `work` queues on a stream as one graph that `launch` repeats."""
        mode = self.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        finally:
            graph = self.call("cudaStreamEndCapture", stream)
        try:
            return self.call("cudaGraphInstantiate", graph, 0)
        finally:
            self.call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """Run a captured graph and wait for it."""
        self.call("cudaGraphLaunch", graph, stream)
        self.call("cudaStreamSynchronize", stream)


def open_cuda() -> Cuda:
    """Load cuda-bindings and find the GPU.

    Raises:
        MissingExtraError: cuda-bindings is not installed.
        BackendError: no GPU can be used, or the library does not load.
    """
    try:
        from cuda.bindings import runtime
    except ModuleNotFoundError:
        raise MissingExtraError("cuda-bindings", "gpu") from None
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(f"cuda-bindings is installed, but does not load: {error}") from error
    return Cuda(runtime)
