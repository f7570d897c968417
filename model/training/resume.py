"""Stopping a run so that it can go on, and going on only with the settings it was made with."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from model.errors import ConfigError, InputError
from model.training.config import TrainConfig
from model.training.mutual_config import MutualConfig

Settings = TypeVar("Settings", TrainConfig, MutualConfig)

_MAY_DIFFER = frozenset(
    {
        "optim.steps",
        "optim.max_hours",
        "run.workers",
        "run.log_steps",
        "run.checkpoint_minutes",
        "students.epoch_steps",
    }
)
_BATCH = "run.batch"
_MOST_NAMED = 4


@dataclass
class StopRequest:
    """Whether the user, or torchrun, asked the run to stop.

    Attributes:
        asked: set by SIGINT or SIGTERM.
    """

    asked: bool = False


@contextmanager
def stop_between_steps() -> Iterator[StopRequest]:
    """Let a run end at the end of its step when SIGINT or SIGTERM comes, not within it.

    The second signal has its usual effect. Outside the main thread signals cannot be caught; they
    then have their usual effect at once.
    """
    request = StopRequest()
    before: dict[int, Any] = {}

    def ask(number: int, _frame: FrameType | None) -> None:
        request.asked = True
        signal.signal(number, before[number])

    try:
        for number in (int(signal.SIGINT), int(signal.SIGTERM)):
            before[number] = signal.getsignal(number)
            signal.signal(number, ask)
    except ValueError:  # not the main thread
        before.clear()
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def saved_settings(kind: type[Settings], content: Mapping[str, Any], path: Path) -> Settings:
    """The settings in a checkpoint; those that are newer than it have their defaults.

    Raises:
        InputError: they are no settings of this version.
    """
    try:
        return kind.from_mapping(content["config"])
    except (ConfigError, TypeError, AttributeError) as error:
        raise InputError(f"{path} holds settings that cannot be read: {error}") from error


def check_same_settings(
    saved: Mapping[str, Any], now: Mapping[str, Any], path: Path, pairs: tuple[int, int] | None
) -> None:
    """Refuse to go on with other settings: the curve would be of neither.

    Length, log and checkpoint times, and worker processes may differ.

    Args:
        saved: settings in the checkpoint, as sections.
        now: the run's settings, as sections.
        path: the checkpoint, named in errors.
        pairs: pairs a step over all processes, then and now: as many may be dealt out otherwise.
            None where the checkpoint does not tell.

    Raises:
        InputError: settings differ; the first are named with both values.
    """
    old, new = _flat(saved), _flat(now)
    keys = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    keys = [key for key in keys if key not in _MAY_DIFFER]
    if pairs is not None:
        keys = [key for key in keys if key != _BATCH]
        if pairs[0] != pairs[1]:
            keys.append("pairs a step")
            old["pairs a step"], new["pairs a step"] = pairs
    if keys:
        named = "; ".join(_difference(key, old, new) for key in keys[:_MOST_NAMED])
        more = f"; and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
        raise InputError(
            f"{path} was made with other settings: {named}{more}: go on with those, or choose "
            "another --out"
        )


def _difference(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    then, now = old.get(key), new.get(key)
    if isinstance(then, list) or isinstance(now, list):
        return f"{key} differs"
    return f"{key} was {then!r} and is {now!r}"


def _flat(sections: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys; tuples as lists."""
    flat: dict[str, Any] = {}
    for key, value in sections.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = _plain(value)
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
