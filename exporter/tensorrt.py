"""TensorRT: a graph becomes an engine for one GPU, and the engine is kept beside its key."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.manifest import TensorSpec
from exporter.tensorrt_api import IBuilderConfig, INetworkDefinition, ITensor, TensorRt
from model.errors import BackendError, InputError

log = logging.getLogger(__name__)

BUILD_OPTIONS = ("workspace_mb", "opt_level")
"""Fields of an engine's key that change its speed alone."""
TIMING_FILE = "timing.cache"


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is built; precision lives in the graph (the network is strongly typed)."""

    workspace_mb: int = 1024
    """GPU memory that a kernel may use while it runs."""
    opt_level: int = 5
    """Builder optimisation level, 0..5: effort against build time."""
    compute_capability: str | None = None
    """Build ahead of time for another GPU, as `SM86`; only TensorRT for RTX can."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.workspace_mb < 1:
            raise InputError(f"workspace is {self.workspace_mb} MB: expected 1 or more")
        if not 0 <= self.opt_level <= 5:
            raise InputError(f"opt-level is {self.opt_level}: expected 0..5")


@dataclass(frozen=True)
class BuiltEngine:
    """A serialised engine, the network's interface, and the timing cache after the build."""

    engine: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    timing_cache: bytes


@dataclass(frozen=True)
class EngineKey:
    """What an engine was built from and for; another value of any field needs another engine."""

    onnx_sha256: str
    tensorrt: str
    gpu: str
    compute_capability: str
    driver: str
    precision: str
    workspace_mb: int
    opt_level: int


def build_engine(
    trt: TensorRt, graph: bytes, options: BuildOptions, timing_cache: bytes = b""
) -> BuiltEngine:
    """Parse an ONNX graph and build its engine.

    Args:
        trt: the module `tensorrt`, or `tensorrt_rtx`.
        graph: the ONNX file's bytes.
        options: see there.
        timing_cache: of an earlier build, or empty.

    Raises:
        BackendError: the parser refuses the graph, the message holds its errors; or the builder
            gives no engine.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise BackendError(f"TensorRT {trt.__version__} cannot read the graph: {errors[:600]}")
    config = _configure(trt, builder.create_builder_config(), options, timing_cache)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError(
            f"TensorRT {trt.__version__} built no engine; the log above says why "
            f"(workspace {options.workspace_mb} MB, opt-level {options.opt_level})"
        )
    # TensorRT for RTX, which alone builds ahead of time, times its kernels on the GPU later.
    cache = None if options.compute_capability else config.get_timing_cache()
    inputs, outputs = network_io(network)
    return BuiltEngine(
        bytes(engine), inputs, outputs, b"" if cache is None else bytes(cache.serialize())
    )


def _configure(
    trt: TensorRt, config: IBuilderConfig, options: BuildOptions, timing_cache: bytes
) -> IBuilderConfig:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    config.builder_optimization_level = options.opt_level
    # A second stream inside the engine would cost more in synchronisation than it overlaps.
    config.max_aux_streams = 0
    config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.NONE
    if options.compute_capability is not None:
        ahead: Any = config
        ahead.num_compute_capabilities = 1
        capabilities: Any = trt
        wanted = getattr(capabilities.ComputeCapability, options.compute_capability, None)
        if wanted is None:
            raise InputError(f"TensorRT knows no GPU {options.compute_capability!r}, as SM86")
        ahead.set_compute_capability(wanted, 0)
    else:
        config.set_timing_cache(config.create_timing_cache(timing_cache), ignore_mismatch=False)
    return config


def network_io(
    network: INetworkDefinition,
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a parsed network, in order."""
    inputs = (network.get_input(i) for i in range(network.num_inputs))
    outputs = (network.get_output(i) for i in range(network.num_outputs))
    return tuple(map(_spec_of, inputs)), tuple(map(_spec_of, outputs))


def _spec_of(tensor: ITensor) -> TensorSpec:
    return TensorSpec(tensor.name, tuple(tensor.shape), dtype_name(tensor.dtype))


def dtype_name(dtype: Any) -> str:
    """The numpy name of a TensorRT type: `DataType.UINT8` → `uint8`."""
    names = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8"}
    short = str(dtype).rpartition(".")[2]
    return names.get(short, short)


def cache_folder() -> Path:
    """Where built engines are kept: `MLKD_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("MLKD_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mlkd-track"


def load_or_build(
    folder: Path,
    key: EngineKey,
    build: Callable[[bytes], BuiltEngine],
    any_options: bool = False,
) -> bytes:
    """Return the cached engine, or build it and keep it; the log says which and why.

    Args:
        folder: of the cache; made if absent. Where it cannot be, the engine is not kept.
        key: of the engine that is needed here.
        build: makes it, given the timing cache of earlier builds.
        any_options: take a cached engine whatever workspace and level it was built with.
    """
    path = engine_path(folder, key)
    engine = _read(path)
    reason = why_stale(path, engine, key, BUILD_OPTIONS if any_options else ())
    if reason is None:
        log.info("TensorRT engine %s taken from the cache", path)
        return engine or b""
    log.warning("building a TensorRT engine, which takes a minute or more: %s", reason)
    built = build(_read(folder / TIMING_FILE) or b"")
    try:
        _keep(path, key, built)
    except OSError as error:
        log.warning(
            "the engine is used, but cannot be kept in %s (%s), so that each start builds it: set "
            "MLKD_CACHE to a folder that can be written",
            folder,
            error.strerror,
        )
    return built.engine


def engine_path(folder: Path, key: EngineKey) -> Path:
    """Where the engine of a key is kept: a file for each graph, TensorRT, GPU and driver."""
    values = dataclasses.asdict(key)
    fixed = {name: value for name, value in values.items() if name not in BUILD_OPTIONS}
    digest = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()
    return folder / f"{key.onnx_sha256[:16]}-{digest[:12]}.engine"


def _keep(path: Path, key: EngineKey, built: BuiltEngine) -> None:
    """Write engine, timing cache and sidecar.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, built.engine)
    _replace(path.with_name(TIMING_FILE), built.timing_cache)
    sidecar: dict[str, Any] = {
        "key": dataclasses.asdict(key),
        "sha256": hashlib.sha256(built.engine).hexdigest(),
    }
    for kind, specs in (("inputs", built.inputs), ("outputs", built.outputs)):
        sidecar[kind] = [dataclasses.asdict(spec) for spec in specs]
    _replace(path.with_suffix(".json"), json.dumps(sidecar, indent=2).encode())


def why_stale(
    path: Path, engine: bytes | None, key: EngineKey, ignored: tuple[str, ...] = ()
) -> str | None:
    """Say why a cached engine cannot be used here; None if it can.

    Args:
        path: the engine's file; its sidecar stands beside it.
        engine: what was read from it, None where that failed.
        key: of the engine that is needed.
        ignored: fields of the key that may differ.
    """
    sidecar = path.with_suffix(".json")
    text = _read(sidecar)
    if engine is None or text is None:
        return "there is none for this model, GPU, driver and TensorRT yet"
    try:
        values = json.loads(text)
        known = dict(values["key"])
        sha256 = values["sha256"]
    except (ValueError, LookupError, TypeError):
        return f"{sidecar.name} is damaged"
    for name, wanted in dataclasses.asdict(key).items():
        if name not in ignored and known.get(name) != wanted:
            return f"the cached one is for {name} {known.get(name)!r}, here it is {wanted!r}"
    if hashlib.sha256(engine).hexdigest() != sha256:
        return f"{path.name} is damaged"
    return None


def forget(folder: Path, key: EngineKey) -> None:
    """Drop a cached engine, so that it is built again."""
    with contextlib.suppress(OSError):
        engine_path(folder, key).unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
