"""TensorRT on an NVIDIA GPU: one captured CUDA graph a frame (copy in, execute, copy out)."""

from __future__ import annotations

import contextlib
import logging
from typing import Any, cast

import numpy as np

from exporter.manifest import GraphSpec, ModelFiles, TensorSpec, check_graph
from exporter.runtime.cuda import Cuda, PinnedTensor, open_cuda
from exporter.runtime.graphs import GraphBackend
from exporter.tensorrt import (
    BuildOptions,
    BuiltEngine,
    EngineKey,
    build_engine,
    cache_folder,
    dtype_name,
    forget,
    load_or_build,
)
from exporter.tensorrt_api import ICudaEngine, TensorRt
from model.backend import Template
from model.errors import BackendError, MissingExtraError
from model.geometry import Float, Image

log = logging.getLogger(__name__)


class TensorRtBackend(GraphBackend):
    """Two engines, built on this machine at first use and cached."""

    def __init__(
        self,
        model: ModelFiles,
        options: BuildOptions | None = None,
        trt: TensorRt | None = None,
        cuda: Cuda | None = None,
    ) -> None:
        """Load or build both engines and capture their graphs.

        Args:
            model: verified files; precision fp16 is meant for this engine.
            options: of the build; None takes a cached engine of any.
            trt, cuda: modules other than the installed ones.

        Raises:
            MissingExtraError: tensorrt or cuda-bindings is not installed.
            BackendError: no GPU, an unreadable graph, or an engine that does not start.
            ModelFileError: an engine does not fit its graph's manifest.
        """
        self._trt = load_tensorrt() if trt is None else trt
        self._cuda = open_cuda() if cuda is None else cuda
        self._options = BuildOptions() if options is None else options
        self._any_options = options is None
        manifest = model.manifest
        device = self._cuda.device
        engine = f"tensorrt-{self._trt.__version__}"
        super().__init__(model, self.describe(engine, model, device.name))
        self._encoder: _Engine | None = self._open(model, manifest.template)
        self._matcher: _Engine | None = None
        try:
            self._matcher = self._open(model, manifest.search)
        except BaseException:
            with contextlib.suppress(BackendError):  # a lost GPU refuses to free, too
                self.close()
            raise

    def close(self) -> None:
        """Free both engines and their memory."""
        super().close()
        for engine in (self._encoder, self._matcher):
            if engine is not None:
                engine.close()
        self._encoder = self._matcher = None

    def _open(self, model: ModelFiles, spec: GraphSpec) -> _Engine:
        path = model.folder / spec.file
        device = self._cuda.device
        key = EngineKey(
            onnx_sha256=spec.sha256,
            tensorrt=self._trt.__version__,
            gpu=device.name,
            compute_capability=device.compute_capability,
            driver=device.driver,
            precision=model.manifest.precision,
            workspace_mb=self._options.workspace_mb,
            opt_level=self._options.opt_level,
        )

        built_here = False

        def build(timing_cache: bytes) -> BuiltEngine:
            nonlocal built_here
            built_here = True
            return build_engine(self._trt, path.read_bytes(), self._options, timing_cache)

        folder = cache_folder() / "engines"

        def start() -> _Engine:
            serialised = load_or_build(folder, key, build, self._any_options)
            return _Engine(self._trt, self._cuda, serialised, spec, str(path))

        try:
            return start()
        except EngineNotLoadedError as error:
            forget(folder, key)
            if built_here:
                raise
            log.warning("%s: it is built again", error)
        return start()

    def _encode(self, z: Image) -> tuple[Float, Float]:
        engine = self._need(self._encoder)
        np.copyto(engine.host("z")[0], z)
        engine.run()
        return engine.host("kernel_cls"), engine.host("kernel_loc")

    def _load_kernels(self, template: Template) -> None:
        engine = self._need(self._matcher)
        np.copyto(engine.host("kernel_cls"), template.kernel_cls)
        np.copyto(engine.host("kernel_loc"), template.kernel_loc)
        engine.upload("kernel_cls", "kernel_loc")

    def _search(self, x: Image) -> tuple[Float, Float]:
        engine = self._need(self._matcher)
        np.copyto(engine.host("x")[0], x)
        engine.run()
        return engine.host("cls")[0], engine.host("loc")[0]

    def _need(self, engine: _Engine | None) -> _Engine:
        if engine is None:
            raise BackendError(f"{self.name} is closed")
        return engine


class EngineNotLoadedError(BackendError):
    """TensorRT does not take a serialised engine."""


class _Engine:
    """One deserialised engine with fixed buffers and its captured graph."""

    def __init__(
        self, trt: TensorRt, cuda: Cuda, serialised: bytes, spec: GraphSpec, label: str
    ) -> None:
        self._cuda = cuda
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        engine = self._runtime.deserialize_cuda_engine(serialised)
        if engine is None:
            raise EngineNotLoadedError(f"TensorRT cannot load the engine of {label} on this GPU")
        check_graph(label, spec, *engine_io(trt, engine))
        context = engine.create_execution_context()
        if context is None:
            raise BackendError(f"TensorRT cannot start the engine of {label}: GPU memory is short")
        self._engine, self._context = engine, context
        self._tensors: dict[str, PinnedTensor] = {}
        self._graph: Any = None
        self._stream = cuda.new_stream()
        try:
            self._set_up(spec)
        except BaseException:
            with contextlib.suppress(BackendError):  # a lost GPU refuses to free, too
                self.close()
            raise

    def _set_up(self, spec: GraphSpec) -> None:
        cuda, context = self._cuda, self._context
        for tensor_spec in (*spec.inputs, *spec.outputs):
            self._tensors[tensor_spec.name] = PinnedTensor(cuda, tensor_spec)
        for name, tensor in self._tensors.items():
            context.set_tensor_address(name, tensor.device_address)
        # The crop alone crosses the bus each frame; the kernels only when the target changes.
        self._inputs = [self._tensors[spec.inputs[0].name]]
        self._outputs = [self._tensors[t.name] for t in spec.outputs]
        for tensor_spec in spec.inputs:
            self._tensors[tensor_spec.name].upload(self._stream)
        # TensorRT sets itself up in its first pass, which a capture would not allow.
        self._queue()
        cuda.call("cudaStreamSynchronize", self._stream)
        self._graph = cuda.capture(self._stream, self._queue)

    def host(self, name: str) -> np.ndarray[Any, Any]:
        """Page-locked array of an input or output; it holds until the next run."""
        return self._tensors[name].host

    def upload(self, *names: str) -> None:
        """Copy inputs that are not part of the captured graph."""
        for name in names:
            self._tensors[name].upload(self._stream)
        self._cuda.call("cudaStreamSynchronize", self._stream)

    def run(self) -> None:
        """Copy in, execute, copy out; returns when the outputs are there."""
        self._cuda.launch(self._graph, self._stream)

    def close(self) -> None:
        """Free graph, memory and stream."""
        if self._graph is not None:
            self._cuda.call("cudaGraphExecDestroy", self._graph)
        for tensor in self._tensors.values():
            tensor.free()
        self._cuda.call("cudaStreamDestroy", self._stream)

    def _queue(self) -> None:
        for tensor in self._inputs:
            tensor.upload(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise BackendError("TensorRT refused to execute; its log says why")
        for tensor in self._outputs:
            tensor.download(self._stream)


def engine_io(
    trt: TensorRt, engine: ICudaEngine
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of an engine."""
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape = tuple(engine.get_tensor_shape(name))
        spec = TensorSpec(name, shape, dtype_name(engine.get_tensor_dtype(name)))
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        (inputs if is_input else outputs).append(spec)
    return tuple(inputs), tuple(outputs)


def load_tensorrt() -> TensorRt:
    """Import TensorRT.

    Raises:
        MissingExtraError: it is not installed.
        BackendError: it is, but does not load.
    """
    try:
        import tensorrt
    except ModuleNotFoundError:
        raise MissingExtraError("tensorrt", "gpu") from None
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(f"tensorrt is installed, but does not load: {error}") from error
    return cast("TensorRt", tensorrt)
