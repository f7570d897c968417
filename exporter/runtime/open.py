"""Opens an engine by name, or the first of the documented order that works here."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from exporter.manifest import ModelFiles, open_model
from exporter.models import DEFAULT_NAME, default_model, is_shipped_name, shipped_model
from model.backend import Backend
from model.errors import BackendError, InputError, MissingExtraError, MlkdError, ModelFileError

log = logging.getLogger(__name__)

TORCH_SUFFIXES = (".pt", ".pth", ".bin")
AUTO_ORDER = ("tensorrt", "onnxruntime-cuda", "openvino", "onnxruntime-cpu")
"""What `auto` tries, best first."""
GROUPS = {"auto": AUTO_ORDER, "cpu": ("openvino", "onnxruntime-cpu")}
"""Names that stand for the first engine that works here, of several."""

Opener = Callable[[ModelFiles, "int | None"], Backend]
ModelOf = Callable[[str], ModelFiles]
"""The model that an engine runs, by the engine's name."""


def _openvino(hint: str) -> Opener:
    def open_it(model: ModelFiles, threads: int | None) -> Backend:
        from exporter.runtime.openvino import OpenVinoBackend

        return OpenVinoBackend(model, hint, threads)

    return open_it


def _onnxruntime(provider: str) -> Opener:
    def open_it(model: ModelFiles, threads: int | None) -> Backend:
        from exporter.runtime.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(model, provider, threads)

    return open_it


def _tensorrt(model: ModelFiles, threads: int | None) -> Backend:
    from exporter.runtime.tensorrt import TensorRtBackend

    return TensorRtBackend(model)


OPENERS: dict[str, Opener] = {
    "tensorrt": _tensorrt,
    "onnxruntime-tensorrt": _onnxruntime("tensorrt"),
    "onnxruntime-cuda": _onnxruntime("cuda"),
    "openvino": _openvino("auto"),
    "openvino-bf16": _openvino("bf16"),
    "openvino-f32": _openvino("f32"),
    "onnxruntime-cpu": _onnxruntime("cpu"),
}
ENGINES = (*GROUPS, *OPENERS, "torch")
"""Names that `open_backend` knows."""


def open_backend(path: Path | None, engine: str = "auto", threads: int | None = None) -> Backend:
    """Open a model and run it once.

    Args:
        path: a model folder, its manifest, or torch weights for the engine `torch`; the name of a
            model that ships, or None for the default one, in the form that suits the engine and
            this CPU.
        engine: one of `ENGINES`. `auto` takes the first of `AUTO_ORDER` that works here and logs
            why, `cpu` the first that needs no GPU; a named engine never falls back to another.
        threads: CPU threads; None probes for the fastest count.

    Returns:
        A warm engine; the caller closes it.

    Raises:
        InputError: an unknown name, or an engine that does not fit the file.
        MissingExtraError: the named engine's library is not installed.
        ModelFileError: the model is missing, damaged or does not fit its manifest.
        BackendError: the engine does not start, or answers with values that are not finite.
    """
    if engine not in ENGINES:
        raise InputError(f"engine is {engine!r}: expected one of {', '.join(ENGINES)}")
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}: expected 1 or more")
    if engine == "torch" or (path is not None and path.suffix in TORCH_SUFFIXES):
        backend = _open_torch(path or default_model(), engine)
    else:
        model_of = models_of(path)
        backend = (
            _open_first(model_of, GROUPS[engine], threads)
            if engine in GROUPS
            else _warm(OPENERS[engine](model_of(engine), threads))
        )
    log.info("engine: %s", backend.name)
    return backend


def models_of(path: Path | None) -> ModelOf:
    """Find the model for each engine: of one that ships, the form that suits it.

    Args:
        path: a model folder, its manifest, the name of a model that ships, or None for the default.

    Raises:
        ModelFileError: here or in the answer's call: missing, damaged, or not its manifest's.
    """
    if path is None or is_shipped_name(path):
        name = DEFAULT_NAME if path is None else str(path)
        return lambda engine: open_model(shipped_model(name, engine))
    model = open_model(path)
    return lambda engine: model


def _open_torch(path: Path, engine: str) -> Backend:
    if path.suffix not in TORCH_SUFFIXES:
        raise InputError(
            f"the engine torch runs weights ({', '.join(TORCH_SUFFIXES)}), not the exported model "
            f"{path}: give a checkpoint or another engine"
        )
    if engine not in (*GROUPS, "torch"):
        raise InputError(
            f"the engine {engine} runs exported models, not the weights {path}: make one with "
            "mlkd export, or use the engine torch"
        )
    try:
        from exporter.runtime.torch import TorchBackend
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("torch", "train") from None
    return _warm(TorchBackend.from_checkpoint(path))


def _open_first(model_of: ModelOf, names: tuple[str, ...], threads: int | None) -> Backend:
    reasons = []
    for name in names:
        try:
            backend = _warm(OPENERS[name](model_of(name), threads))
        except ModelFileError:
            raise  # a damaged model is the user's to mend, whatever the engine
        except MlkdError as error:
            reasons.append(f"{name}: {error}")
            continue
        log.info("engine %s chosen; before it: %s", name, "; ".join(reasons) or "nothing")
        return backend
    raise BackendError(f"no engine works here: {'; '.join(reasons)}")


def _warm(backend: Backend) -> Backend:
    """Run both halves once, so that a broken engine shows now and the first frame is quick."""
    try:
        _try_out(backend)
    except BaseException:
        with contextlib.suppress(BackendError):  # a lost GPU refuses to free, too
            backend.close()
        raise
    return backend


def _try_out(backend: Backend) -> None:
    config = backend.config
    template = backend.encode_template(
        np.full((config.template_px, config.template_px, 3), 64, np.uint8)
    )
    x = np.full((config.search_px, config.search_px, 3), 64, np.uint8)
    for _ in range(2):
        cls, loc = backend.predict(template, x)
    if not (np.isfinite(cls).all() and np.isfinite(loc).all()):
        raise BackendError(f"{backend.name}: the maps of a grey crop are not finite")
