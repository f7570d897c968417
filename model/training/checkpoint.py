"""Checkpoints: the only place that reads and writes weight files."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from model.errors import InputError, ModelFileError


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint so that a crash or a full disk leaves the previous one whole.

    The content goes to a temporary file beside it, reaches the disk, and takes the name last.

    Raises:
        OSError: the disk is full or cannot be written; `path` is unchanged and no temporary
            file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            torch.save(dict(content), stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except RuntimeError as error:  # torch's zip writer hides the OSError of a full disk
        free_mb = shutil.disk_usage(path.parent).free / 1e6
        raise OSError(
            f"checkpoint {path} could not be written, {free_mb:.0f} MB are free there; the one "
            f"before it, if any, is kept ({str(error).splitlines()[0]})"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of tensors and plain values (`weights_only`: it cannot run code).

    Raises:
        ModelFileError: missing, truncated, or not a weight file.
    """
    if not path.is_file():
        raise ModelFileError(f"weight file {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's text advises loading with code allowed
        raise ModelFileError(
            f"weight file {path} is damaged or no weight file: expected what torch.save wrote, of "
            "tensors and plain values alone"
        ) from error
    except (
        zipfile.BadZipFile, RuntimeError, EOFError, ValueError, KeyError,
        AttributeError, TypeError, IndexError, OSError,
    ) as error:  # fmt: skip
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise ModelFileError(
            f"weight file {path} is damaged or no weight file: {reason}"
        ) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ModelFileError(f"weight file {path} holds a {kind}: expected a dict of weights")
    return content


def load_into(module: torch.nn.Module, state: Mapping[str, Any], origin: str) -> None:
    """Fill a module strictly; `num_batches_tracked` may be absent (old checkpoints lack it).

    Raises:
        ModelFileError: names or shapes do not fit; names the first missing, unexpected and
            misshapen keys.
    """
    wanted = module.state_dict()
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in wanted]
    wrong = [
        f"{k} {tuple(getattr(state[k], 'shape', ()))} instead of {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in state and getattr(state[k], "shape", None) != v.shape
    ]
    problems = [
        _named(missing, "missing"),
        _named(unexpected, "unexpected"),
        _named(wrong, "shape"),
    ]
    if any(problems):
        raise ModelFileError(f"{origin} does not fit: {'; '.join(p for p in problems if p)}")
    module.load_state_dict({**wanted, **state})


def require_keys(content: Mapping[str, Any], keys: Sequence[str], problem: str) -> None:
    """Check that a checkpoint holds what a run goes on from.

    Raises:
        InputError: a key is missing; the message is `problem` and names the first.
    """
    missing = [key for key in keys if key not in content]
    if missing:
        raise InputError(f"{problem}: it cannot be resumed ({missing[0]} is missing)")


def load_optimizer(optimizer: torch.optim.Optimizer, state: Any, origin: str) -> None:
    """Fill an optimiser with the state that a checkpoint holds.

    Raises:
        ModelFileError: it is that of other parameters, or damaged.
    """
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{origin}: the optimiser's state does not fit ({error})") from error


def state_digest(module: torch.nn.Module) -> str:
    """SHA-256 over the names and values of a module's tensors."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def take_over(module: torch.nn.Module, path: Path) -> None:
    """Load a whole network, or a backbone alone (the rest stays as it was made).

    Raises:
        ModelFileError: the file is missing, damaged or of another network.
    """
    content = load_checkpoint(path)
    state = content.get("state_dict", content)
    if not is_whole(content):
        state = {**module.state_dict(), **state}
    load_into(module, state, str(path))


def is_whole(content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint holds a whole network and not a backbone alone."""
    state = content.get("state_dict", content)
    return not all(str(name).startswith("backbone.") for name in state)


def _named(keys: list[str], label: str, most: int = 3) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return f"{label}: {', '.join(keys[:most])}{more}"


def mean_state(
    states: Sequence[Mapping[str, torch.Tensor]], shares: Sequence[float] | None = None
) -> dict[str, torch.Tensor]:
    """The mean of several state dicts of one architecture; integers (counters) of the first.

    Args:
        states: one or more.
        shares: weight of each, brought to a sum of 1; equal by default.
    """
    given = [1.0] * len(states) if shares is None else list(shares)
    weights = torch.tensor(given, dtype=torch.float64) / sum(given)
    first = states[0]
    return {
        name: _weighted([state[name] for state in states], weights)
        if value.dtype.is_floating_point
        else value
        for name, value in first.items()
    }


def average_checkpoints(paths: Sequence[Path], shares: Sequence[float] | None, out: Path) -> None:
    """Write the mean of trackers that come from one another, as a baseline and its students.

    Networks that were trained from different starts have no meaningful mean.

    Raises:
        ModelFileError: a file is missing, damaged, no tracker, or of another network.
    """
    contents = [load_checkpoint(path) for path in paths]
    first = contents[0]
    for path, content in zip(paths, contents, strict=True):
        state = content.get("state_dict")
        if not isinstance(state, dict):
            raise ModelFileError(f"{path} holds no tracker: expected a baseline or a student")
        if content.get("kind") != first.get("kind") or _shapes(state) != _shapes(
            first["state_dict"]
        ):
            raise ModelFileError(
                f"{path} is of kind {content.get('kind')!r}, {paths[0]} of {first.get('kind')!r}: "
                "expected one network"
            )
    mean = mean_state([content["state_dict"] for content in contents], shares)
    save_checkpoint(out, {**first, "state_dict": mean})


def _weighted(values: Sequence[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    total = torch.stack([v.double() * w for v, w in zip(values, weights, strict=True)]).sum(0)
    return total.to(values[0].dtype)


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}
