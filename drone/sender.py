"""The command sender in a process of its own: it outlives a stalled, stopped or killed parent."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from drone.control import RateCommand
from drone.errors import ControlError
from drone.sender_core import SenderConfig, pack

logger = logging.getLogger(__name__)

HEALTHY_S = 0.5
"""A child that was not heard of for this long is not trusted."""


@dataclass(frozen=True)
class SenderStatus:
    """What the child last said.

    Attributes:
        alive: the process runs.
        beat_age_s: since its last word; None before the first.
        mode: ACTIVE, ZEROS or SILENT.
        sent, failures: commands written, and refused by the link.
        error: the last refusal.
        report: what the vehicle says of itself, as its link tells it.
    """

    alive: bool
    beat_age_s: float | None
    mode: str
    sent: int
    failures: int
    error: str | None
    report: Mapping[str, Any] | None

    @property
    def healthy(self) -> bool:
        """True while commands reach the child."""
        return self.alive and self.beat_age_s is not None and self.beat_age_s < HEALTHY_S


class SenderProcess:
    """A `VehicleControl` whose last step runs elsewhere.

    Commands go through a pipe, newest wins. The child judges each by its `issued_ns` against the
    clock that all processes of a host share, so nobody has to be alive for a command to expire.
    It runs in a session of its own: a Ctrl-C or Ctrl-Z at the terminal does not reach it.
    """

    def __init__(
        self,
        link: str,
        options: Mapping[str, Any] | None = None,
        config: SenderConfig | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Name the vehicle; nothing is started.

        Args:
            link: `module:callable` that gives a `VehicleLink` in the child.
            options: its arguments, plain JSON values.
            config: rate, expiry and limits.
            clock: host's monotonic clock.
        """
        self._link, self._options = link, dict(options or {})
        self._config = config or SenderConfig()
        self._clock = clock
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._answered = threading.Event()
        self._refused: str | None = None
        self._last: dict[str, Any] = {}

    @property
    def expiry_s(self) -> float:
        """Age at which a command turns neutral by itself."""
        return self._config.expiry_s

    @property
    def pid(self) -> int | None:
        """Process id of the child; None before `open`."""
        return None if self._child is None else self._child.pid

    @property
    def status(self) -> SenderStatus:
        """What the child last said, and how long ago."""
        last, child = self._last, self._child
        beat_ns = last.get("beat_ns")
        return SenderStatus(
            alive=child is not None and child.poll() is None,
            beat_age_s=None if beat_ns is None else (self._clock() - beat_ns) / 1e9,
            mode=last.get("mode", "SILENT"),
            sent=last.get("sent", 0),
            failures=last.get("failures", 0),
            error=last.get("error"),
            report=last.get("report"),
        )

    def open(self, timeout_s: float = 5.0) -> None:
        """Start the child and wait until it has reached the vehicle.

        Raises:
            ControlError: it could not, or took too long; no process stays.
        """
        if self._child is not None:
            raise ControlError("the sender is open already: close it first")
        spec = {
            "link": self._link,
            "options": self._options,
            "config": dataclasses.asdict(self._config),
        }
        self._answered.clear()
        self._refused, self._last = None, {}
        child = subprocess.Popen(
            [sys.executable, "-m", "drone.sender_child", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdin is not None
        os.set_blocking(child.stdin.fileno(), False)
        self._child = child
        self._reader = threading.Thread(
            target=self._listen, args=(child,), name="mlkd-sender", daemon=True
        )
        self._reader.start()
        answered = self._answered.wait(timeout_s)
        if not answered or self._refused is not None:
            self.close(grace_s=0.0)
            late = f"no answer from the sender within {timeout_s:g} s"
            raise ControlError(self._refused or late)

    def send(self, command: RateCommand) -> None:
        """Replace the current command; thread-safe, never blocks.

        Raises:
            ControlError: the child is gone or does not read.
        """
        record = pack(command)
        with self._lock:
            child = self._child
            if child is None or child.stdin is None or child.stdin.closed:
                raise ControlError("the sender is not open: call open first")
            try:
                # A record is far below PIPE_BUF: it is written whole or not at all.
                os.write(child.stdin.fileno(), record)
            except BlockingIOError:
                raise ControlError("the sender does not read its commands") from None
            except BrokenPipeError:
                raise ControlError(f"the sender has ended with code {child.poll()}") from None

    def neutral(self) -> None:
        """Hover at once; where the child is gone the vehicle's own expiry has done it."""
        try:
            self.send(RateCommand(issued_ns=self._clock()))
        except ControlError as error:
            logger.warning("neutral: %s", error)

    def close(self, grace_s: float = 2.0) -> None:
        """Let the child send its zeros and end; calling it twice is allowed.

        Args:
            grace_s: how long it may take beyond its zeros before it is killed.
        """
        with self._lock:
            child, reader = self._child, self._reader
            if child is None:
                return
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.close()
            self._child = self._reader = None
        try:
            child.wait(self._config.zeros_s + grace_s if grace_s else 0.5)
        except subprocess.TimeoutExpired:
            logger.warning("the sender does not end: killed")
            child.kill()
            child.wait()
        if reader is not None:
            reader.join(1.0)
        child.stdout.close()

    def __enter__(self) -> SenderProcess:
        """Open it."""
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                logger.warning("the sender said %r", line[:200])
                continue
            if "refused" in said:
                self._refused = said["refused"]
            elif "beat_ns" in said:
                self._last = said
            if "ready" in said or "refused" in said:
                self._answered.set()
        if not self._answered.is_set():
            self._refused = "the sender ended before it was ready"
            self._answered.set()
