"""Opens what training left behind as it will fly: exported, on the best engine of this machine."""

from __future__ import annotations

from pathlib import Path

from exporter.export import export_model
from exporter.manifest import open_model, sha256_of
from exporter.runtime.open import open_backend
from model.backend import Backend
from model.errors import ModelFileError
from model.training.checkpoint import load_checkpoint
from model.training.eager import open_checkpoint
from model.training.night_teacher import KIND


def open_trained(path: Path, engine: str = "auto") -> Backend:
    """Open a checkpoint through its export (`<name>.engine` beside it), a teacher in eager torch.

    The export is made when it is absent or of another checkpoint; two processes must not make it
    at once.

    Raises:
        ModelFileError: the checkpoint is missing, damaged, or of an unknown network.
        BackendError: the engine does not start.
    """
    if load_checkpoint(path).get("kind") == KIND:
        return open_checkpoint(path, engine, "bf16")
    folder = path.with_suffix(".engine")
    if not _is_export_of(folder, path):
        export_model(path, folder)
    return open_backend(folder, engine)


def _is_export_of(folder: Path, checkpoint: Path) -> bool:
    try:
        manifest = open_model(folder).manifest
    except ModelFileError:
        return False
    return manifest.source.get("sha256") == sha256_of(checkpoint)
