"""The part of TensorRT's Python API that this project uses, for the type checker and a test.

No TensorRT wheel ships types. The names are those of TensorRT 10.x and 11.x and of TensorRT for
RTX, which shares the API; a test asserts that each of them exists there.
"""

from __future__ import annotations

from typing import Any, Protocol


class ITensor(Protocol):
    """An input or output of a network."""

    name: str
    shape: Any
    dtype: Any


class INetworkDefinition(Protocol):
    """What the parser fills."""

    num_inputs: int
    num_outputs: int

    def get_input(self, index: int) -> ITensor:
        """Return one input."""
        ...

    def get_output(self, index: int) -> ITensor:
        """Return one output."""
        ...


class ITimingCache(Protocol):
    """Measured kernels, kept from build to build."""

    def serialize(self) -> Any:
        """Return a buffer."""
        ...


class IBuilderConfig(Protocol):
    """How an engine is built."""

    builder_optimization_level: int
    max_aux_streams: int
    hardware_compatibility_level: Any

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        """Limit a pool, bytes."""
        ...

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        """Make a cache, of an earlier one's bytes or empty."""
        ...

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        """Use a cache; False where it does not fit."""
        ...

    def get_timing_cache(self) -> ITimingCache | None:
        """Return the cache in use."""
        ...


class Builder(Protocol):
    """Makes networks and engines."""

    def create_network(self, flags: int) -> INetworkDefinition:
        """Make an empty network."""
        ...

    def create_builder_config(self) -> IBuilderConfig:
        """Make the settings."""
        ...

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> Any:
        """Return the engine's buffer, or None."""
        ...


class OnnxParser(Protocol):
    """Reads ONNX into a network."""

    num_errors: int

    def parse(self, model: bytes) -> bool:
        """Tell whether it could be read."""
        ...

    def get_error(self, index: int) -> Any:
        """Return one error; its text says what."""
        ...


class IExecutionContext(Protocol):
    """Runs an engine."""

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Bind an input or output to device memory."""
        ...

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue one pass on a CUDA stream."""
        ...


class ICudaEngine(Protocol):
    """A built engine."""

    num_io_tensors: int

    def get_tensor_name(self, index: int) -> str:
        """Name of one input or output."""
        ...

    def get_tensor_shape(self, name: str) -> Any:
        """Its shape."""
        ...

    def get_tensor_dtype(self, name: str) -> Any:
        """Its type, as `DataType.UINT8`."""
        ...

    def get_tensor_mode(self, name: str) -> Any:
        """`TensorIOMode.INPUT` or `OUTPUT`."""
        ...

    def create_execution_context(self) -> IExecutionContext | None:
        """Make what runs it; None where memory is short."""
        ...


class Runtime(Protocol):
    """Loads engines."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        """Load an engine; None where it does not fit this GPU or version."""
        ...


class TensorRt(Protocol):
    """The module itself: `tensorrt`, or `tensorrt_rtx` to check graphs without a GPU."""

    __version__: str
    Logger: Any
    MemoryPoolType: Any
    NetworkDefinitionCreationFlag: Any
    HardwareCompatibilityLevel: Any
    TensorIOMode: Any
    DataType: Any

    def Builder(self, logger: Any) -> Builder:  # noqa: N802
        """Make a builder."""
        ...

    def OnnxParser(self, network: INetworkDefinition, logger: Any) -> OnnxParser:  # noqa: N802
        """Make a parser that fills a network."""
        ...

    def Runtime(self, logger: Any) -> Runtime:  # noqa: N802
        """Make a runtime."""
        ...
