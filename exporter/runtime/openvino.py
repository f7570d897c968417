"""OpenVINO on the CPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from exporter.machine import bf16_flags
from exporter.manifest import GraphSpec, ModelFiles, TensorSpec, check_graph
from exporter.runtime.graphs import GraphBackend, buffer_of
from exporter.runtime.threads import fastest_threads, quickest, usable_cpus
from model.backend import Template
from model.errors import BackendError, InputError, MissingExtraError, ModelFileError
from model.geometry import Float, Image

log = logging.getLogger(__name__)

HINTS = ("auto", "bf16", "f32")
ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
"""Environment variable that takes instructions away from OpenVINO."""
_DTYPES = {"u8": "uint8", "f32": "float32", "f16": "float16"}


class OpenVinoBackend(GraphBackend):
    """Two compiled graphs with buffers that are allocated once."""

    def __init__(self, model: ModelFiles, hint: str = "auto", threads: int | None = None) -> None:
        """Compile both graphs.

        Args:
            model: verified files.
            hint: `bf16`, `f32`, or `auto`: bf16 where the CPU multiplies it itself; where that is
                not known, the faster of both in a short trial. The int8 parts of an int8 model
                stay int8.
            threads: None probes for the fastest count.

        Raises:
            MissingExtraError: openvino is not installed.
            InputError: bf16 was asked for, and this CPU has none.
            ModelFileError: a graph cannot be read or does not fit its manifest.
        """
        self._core = _core()
        manifest = model.manifest
        search = self._read(model.search_path, manifest.search)
        template = self._read(model.template_path, manifest.template)

        def make_pass(hint: str, count: int) -> Callable[[], object]:
            return _Graph(self._compile(search, hint, count), manifest.search).run

        hints = self._hints(hint)
        most = threads or usable_cpus()
        chosen = quickest({h: partial(make_pass, h, most) for h in hints})
        if threads is None:
            threads = fastest_threads(partial(make_pass, chosen), usable_cpus())
        encoder, matcher = (self._compile(g, chosen, threads) for g in (template, search))
        self._encoder: _Graph | None = _Graph(encoder, manifest.template)
        self._matcher: _Graph | None = _Graph(matcher, manifest.search)
        plural = "s" if threads > 1 else ""
        device = f"CPU, {threads} thread{plural}"
        super().__init__(model, self.describe(f"openvino-{chosen}", model, device))

    def close(self) -> None:
        """Free both graphs."""
        super().close()
        self._encoder = self._matcher = None

    def _hints(self, hint: str) -> list[str]:
        """Precisions worth trying, one where it is known."""
        able = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if hint == "bf16" and not able:
            raise InputError("this CPU has no bf16 arithmetic: use the engine openvino-f32")
        if hint != "auto":
            return [hint]
        flags = [] if ISA_LIMIT in os.environ else bf16_flags()
        if able and not flags:
            # OpenVINO names bf16 where it can only imitate it, three times slower than f32.
            log.info("bf16 or f32: this CPU is not known to multiply bf16 itself; trying both")
            return ["bf16", "f32"]
        log.info("bf16 or f32: %s", ", ".join(flags) if able else "this CPU has no bf16 arithmetic")
        return ["bf16"] if able else ["f32"]

    def _read(self, path: Path, spec: GraphSpec) -> Any:
        try:
            graph = self._core.read_model(str(path))
        except RuntimeError as error:
            raise ModelFileError(
                f"{path} cannot be read by OpenVINO: {_last_line(error)}; export the model again "
                "with: mlkd export"
            ) from error
        try:
            inputs = tuple(_spec_of(port) for port in graph.inputs)
            outputs = tuple(_spec_of(port) for port in graph.outputs)
        except RuntimeError as error:
            raise ModelFileError(f"{path} has shapes that are not fixed: {error}") from error
        check_graph(str(path), spec, inputs, outputs)
        return graph

    def _compile(self, graph: Any, hint: str, threads: int) -> Any:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": threads,
        }
        try:
            return self._core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot compile the graph: {_last_line(error)}") from error

    def _encode(self, z: Image) -> tuple[Float, Float]:
        if self._encoder is None:
            raise BackendError(f"{self.name} is closed")
        np.copyto(self._encoder.arrays["z"][0], z)
        self._encoder.run()
        return self._encoder.arrays["kernel_cls"], self._encoder.arrays["kernel_loc"]

    def _load_kernels(self, template: Template) -> None:
        if self._matcher is None:
            raise BackendError(f"{self.name} is closed")
        np.copyto(self._matcher.arrays["kernel_cls"], template.kernel_cls)
        np.copyto(self._matcher.arrays["kernel_loc"], template.kernel_loc)

    def _search(self, x: Image) -> tuple[Float, Float]:
        if self._matcher is None:
            raise BackendError(f"{self.name} is closed")
        np.copyto(self._matcher.arrays["x"][0], x)
        self._matcher.run()
        return self._matcher.arrays["cls"][0], self._matcher.arrays["loc"][0]


class _Graph:
    """One compiled graph and the arrays it reads and writes."""

    def __init__(self, compiled: Any, spec: GraphSpec) -> None:
        import openvino

        self._request = compiled.create_infer_request()
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        for tensor in (*spec.inputs, *spec.outputs):
            array = buffer_of(tensor)
            self.arrays[tensor.name] = array
            self._request.set_tensor(tensor.name, openvino.Tensor(array, shared_memory=True))

    def run(self) -> None:
        """Run once, from arrays to arrays."""
        try:
            self._request.start_async()
            self._request.wait()
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed: {_last_line(error)}") from error


def _core() -> Any:
    try:
        import openvino
    except ImportError:
        # The base install brings it, so that any extra does.
        raise MissingExtraError("openvino", "cpu") from None
    return _only_core(openvino.Core)


@cache
def _only_core(make: Callable[[], Any]) -> Any:
    """OpenVINO's entry, one for the life of the process.

    Its CPU plugin gives the thread a stack for signals, and takes it away when the entry goes. With
    two entries that go in the order they came, the thread is left with the stack of the first,
    which is no longer there: the next signal, as Ctrl-C, would end the process.
    """
    return make()


def _spec_of(port: Any) -> TensorSpec:
    dtype = port.element_type.get_type_name()
    return TensorSpec(port.any_name, tuple(port.shape), _DTYPES.get(dtype, dtype))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
