"""ONNX Runtime: the CPU, CUDA and TensorRT providers, never another than was asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from exporter.manifest import GraphSpec, ModelFiles, TensorSpec, check_graph
from exporter.runtime.graphs import GraphBackend, buffer_of
from exporter.runtime.threads import fastest_threads, usable_cpus
from exporter.tensorrt import cache_folder
from model.backend import Template
from model.errors import BackendError, InputError, MissingExtraError, ModelFileError
from model.geometry import Float, Image

log = logging.getLogger(__name__)

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_LOOK_AT = (
    "check that a GPU, its driver and the CUDA libraries of pip install 'mlkd-track[gpu]' are there"
)
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16"}


class OnnxRuntimeBackend(GraphBackend):
    """Two sessions with bound buffers; on a GPU the buffers live there."""

    def __init__(
        self,
        model: ModelFiles,
        provider: str = "cpu",
        threads: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Open both sessions.

        Args:
            model: verified files.
            provider: `cpu`, `cuda` or `tensorrt`.
            threads: of the CPU provider; None probes for the fastest count.
            options: replaces the provider's default options.

        Raises:
            MissingExtraError: onnxruntime is not installed.
            InputError: this build of onnxruntime has no such provider.
            BackendError: the provider did not start (onnxruntime would take the CPU in silence).
            ModelFileError: a graph cannot be read or does not fit its manifest.
        """
        self._ort = _library(provider)
        self._provider = provider
        manifest = model.manifest
        self._options = (
            _default_options(provider, manifest.precision) if options is None else options
        )
        if threads is None:
            threads = self._probe(model) if provider == "cpu" else 1
        self._encoder: _Session | None = self._open(model.template_path, manifest.template, threads)
        self._matcher: _Session | None = self._open(model.search_path, manifest.search, threads)
        plural = "s" if threads > 1 else ""
        device = f"CPU, {threads} thread{plural}" if provider == "cpu" else "GPU"
        super().__init__(model, self.describe(f"onnxruntime-{provider}", model, device))

    def close(self) -> None:
        """Free both sessions."""
        super().close()
        self._encoder = self._matcher = None

    def _probe(self, model: ModelFiles) -> int:
        def make_pass(count: int) -> Callable[[], object]:
            return self._open(model.search_path, model.manifest.search, count).run

        return fastest_threads(make_pass, usable_cpus())

    def _open(self, path: Path, spec: GraphSpec, threads: int) -> _Session:
        settings = self._ort.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 3
        wanted = PROVIDERS[self._provider]
        if self._provider != "cpu":
            # Else the nodes that the provider does not know would run on the CPU in silence.
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            session = self._ort.InferenceSession(
                str(path), settings, providers=[(wanted, self._options)]
            )
        except Exception as error:  # its error classes are made at import and share no base
            reason = str(error).splitlines()[0][:200]
            if self._provider != "cpu":
                raise BackendError(
                    f"onnxruntime cannot start {wanted}: {reason}; {_LOOK_AT}"
                ) from error
            raise ModelFileError(
                f"{path} cannot be read by ONNX Runtime: {reason}; export the model again with: "
                "mlkd export"
            ) from error
        used = session.get_providers()[0]
        if used != wanted:
            raise BackendError(f"onnxruntime took {used} instead of {wanted}; {_LOOK_AT}")
        check_graph(
            str(path),
            spec,
            tuple(_spec_of(v) for v in session.get_inputs()),
            tuple(_spec_of(v) for v in session.get_outputs()),
        )
        device = "cpu" if self._provider == "cpu" else "cuda"
        return _Session(self._ort, session, spec, device)

    def _encode(self, z: Image) -> tuple[Float, Float]:
        if self._encoder is None:
            raise BackendError(f"{self.name} is closed")
        self._encoder.write("z", z[None])
        self._encoder.run()
        return self._encoder.read("kernel_cls"), self._encoder.read("kernel_loc")

    def _load_kernels(self, template: Template) -> None:
        if self._matcher is None:
            raise BackendError(f"{self.name} is closed")
        self._matcher.write("kernel_cls", template.kernel_cls)
        self._matcher.write("kernel_loc", template.kernel_loc)

    def _search(self, x: Image) -> tuple[Float, Float]:
        if self._matcher is None:
            raise BackendError(f"{self.name} is closed")
        self._matcher.write("x", x[None])
        self._matcher.run()
        return self._matcher.read("cls")[0], self._matcher.read("loc")[0]


class _Session:
    """One session whose inputs and outputs keep their addresses, as a CUDA graph asks."""

    def __init__(self, ort: Any, session: Any, spec: GraphSpec, device: str) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._device = device
        self._arrays: dict[str, np.ndarray[Any, Any]] = {}
        self._values: dict[str, Any] = {}
        for tensor in (*spec.inputs, *spec.outputs):
            array = buffer_of(tensor)
            # On the CPU the value shares the array's memory; on a GPU it is a copy there.
            value = ort.OrtValue.ortvalue_from_numpy(array, device, 0)
            self._arrays[tensor.name], self._values[tensor.name] = array, value
            bind = (
                self._binding.bind_ortvalue_input
                if tensor in spec.inputs
                else self._binding.bind_ortvalue_output
            )
            bind(tensor.name, value)

    def write(self, name: str, array: np.ndarray[Any, Any]) -> None:
        """Fill an input."""
        if self._device == "cpu":
            np.copyto(self._arrays[name], array)
        else:
            self._values[name].update_inplace(np.ascontiguousarray(array))

    def read(self, name: str) -> Float:
        """Return an output; on the CPU it holds until the next run."""
        if self._device == "cpu":
            return self._arrays[name]
        return np.asarray(self._values[name].numpy(), np.float32)

    def run(self) -> None:
        """Run once over the bound buffers."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            reason = str(error).splitlines()[0][:200]
            raise BackendError(f"ONNX Runtime failed: {reason}") from error


def _library(provider: str) -> Any:
    library, extra = ("onnxruntime", "cpu") if provider == "cpu" else ("onnxruntime-gpu", "gpu")
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(library, extra) from None
    wanted = PROVIDERS[provider]
    if wanted not in onnxruntime.get_available_providers():
        raise InputError(
            f"the installed onnxruntime has no {wanted}: replace it with "
            f"pip uninstall onnxruntime && pip install 'mlkd-track[{extra}]'"
        )
    return onnxruntime


def _default_options(provider: str, precision: str) -> dict[str, Any]:
    if provider == "cuda":
        return {"enable_cuda_graph": "1", "cudnn_conv_algo_search": "EXHAUSTIVE"}
    if provider == "tensorrt":
        options = {"trt_cuda_graph_enable": "1"}
        if precision in ("fp16", "int8"):
            options[f"trt_{precision}_enable"] = "1"
        return options | _kept_engines(cache_folder() / "onnxruntime")
    return {}


def _kept_engines(folder: Path) -> dict[str, str]:
    """Options of the engine cache; none where its folder cannot be made.

    ONNX Runtime makes one level of it alone.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("built engines cannot be kept in %s: %s", folder, error.strerror)
        return {}
    return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}


def _spec_of(value: Any) -> TensorSpec:
    shape = tuple(n if isinstance(n, int) else -1 for n in value.shape)
    return TensorSpec(value.name, shape, _DTYPES.get(value.type, value.type))
