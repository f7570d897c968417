"""The sender's own process: `python -m drone.sender_child SPEC` with commands on its stdin.

It knows nothing of frames or trackers. It looks at the age of the newest command at every tick,
so whatever happens to its parent (busy, stopped, killed) ends in neutral commands.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from drone.control import RateCommand
from drone.errors import DroneError
from drone.sender_core import MOST_RATE_HZ, RECORD, Mode, Sender, SenderConfig, give, tick, unpack
from model.errors import MlkdError

logger = logging.getLogger(__name__)

REPORT_EVERY_NS = 100_000_000
READ_BYTES = 65536


class VehicleLink(Protocol):
    """Writes commands to one vehicle, from one thread. Neither call may block."""

    def write(self, command: RateCommand) -> None:
        """Put one command on the wire."""
        ...

    def report(self) -> Mapping[str, object] | None:
        """Say what the vehicle says, as plain JSON values; None for nothing new."""
        ...

    def close(self) -> None:
        """Give the vehicle back to its pilot and free everything."""
        ...


@dataclass
class Stop:
    """Set by a signal; read by the loop."""

    asked: bool = False


class SenderLoop:
    """Reads records, writes new ones at once and repeats them, reports to the parent."""

    def __init__(
        self,
        link: VehicleLink,
        config: SenderConfig,
        input_fd: int,
        output_fd: int,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Take the ends of the two pipes; both are made non-blocking."""
        os.set_blocking(input_fd, False)
        os.set_blocking(output_fd, False)
        self.stop = Stop()
        self._link, self._config, self._clock = link, config, clock
        self._input_fd, self._output_fd = input_fd, output_fd
        self._sender = Sender()
        self._mode = Mode.SILENT
        self._rest = b""
        self._orphan = False
        self._sent = self._failures = 0
        self._error: str | None = None
        self._reported_ns = 0
        self._written_ns = 0
        self._fresh = False

    def run(self) -> None:
        """Work until the parent is gone and the last explicit zeros are out."""
        period_ns = round(1e9 / self._config.rate_hz)
        gap_ns = round(1e9 / MOST_RATE_HZ)
        next_ns = self._clock()
        while not (self._orphan and self._mode is Mode.SILENT):
            due_ns = min(next_ns, self._written_ns + gap_ns) if self._fresh else next_ns
            urgent = self._receive(max(due_ns - self._clock(), 0) / 1e9)
            now_ns = self._clock()
            fresh = self._fresh and now_ns - self._written_ns >= gap_ns
            if now_ns < next_ns and not urgent and not fresh:
                continue
            self._tick(now_ns)
            # The beat starts anew: the next new command finds the way free.
            next_ns = now_ns + period_ns
            if self._mode is Mode.ACTIVE:
                end_ns = self._sender.command.issued_ns + round(self._config.expiry_s * 1e9) + 1
                next_ns = min(next_ns, max(end_ns, now_ns))

    def _receive(self, wait_s: float) -> bool:
        """Wait for records; tell whether one must go out before the next tick."""
        if self._orphan:
            time.sleep(wait_s)
            return False
        ready, _, _ = select.select([self._input_fd], [], [], wait_s)
        data = b""
        try:
            while ready and (part := os.read(self._input_fd, READ_BYTES)):
                data += part
            ended = bool(ready)
        except BlockingIOError:
            ended = False
        if ended or self.stop.asked:
            self._orphan = True
            self._sender = replace(self._sender, command=RateCommand())
            return True
        data = self._rest + data
        whole = len(data) - len(data) % RECORD.size
        self._rest = data[whole:]
        if not whole:
            return False
        newest = unpack(data[whole - RECORD.size : whole])
        self._sender = give(self._sender, newest, self._config)
        self._fresh = True
        return self._mode is Mode.ACTIVE and self._sender.command.is_neutral

    def _tick(self, now_ns: int) -> None:
        self._fresh = False
        self._sender, mode, command = tick(self._sender, now_ns, self._config)
        if command is not None:
            self._written_ns = now_ns
            try:
                self._link.write(command)
                self._sent += 1
            except Exception as error:
                # The next tick tries again; to die here would leave the vehicle without zeros.
                self._failures += 1
                self._error = f"{type(error).__name__}: {error}"
        if mode is not self._mode or now_ns - self._reported_ns >= REPORT_EVERY_NS:
            self._mode = mode
            self._reported_ns = now_ns
            self._report(now_ns)

    def _report(self, now_ns: int) -> None:
        line = {
            "beat_ns": now_ns,
            "mode": self._mode.value,
            "sent": self._sent,
            "failures": self._failures,
            "error": self._error,
            "report": self._link.report(),
        }
        say(self._output_fd, line)


def say(fd: int, line: Mapping[str, object]) -> None:
    """Write one JSON line to the parent; a parent that does not read misses it."""
    try:
        os.write(fd, json.dumps(line).encode() + b"\n")
    except (BlockingIOError, BrokenPipeError):
        logger.debug("the parent does not read")


def open_link(name: str, options: Mapping[str, Any]) -> VehicleLink:
    """Make a link from `module:callable` and its arguments."""
    module, _, attribute = name.partition(":")
    link: VehicleLink = getattr(importlib.import_module(module), attribute)(**options)
    return link


def main(argv: list[str]) -> int:
    """Run as a child process.

    Args:
        argv: one JSON object: `link`, `options` and `config`.

    Returns:
        0 after a clean stop, 1 when the vehicle could not be reached.
    """
    spec = json.loads(argv[0])
    # What a vendor's library prints must not fall between our lines.
    output_fd = os.dup(1)
    os.dup2(2, 1)
    try:
        link = open_link(spec["link"], spec["options"])
    except (DroneError, MlkdError, OSError, ImportError) as error:
        say(output_fd, {"refused": str(error)})
        return 1
    try:
        config = SenderConfig(**spec["config"])
        loop = SenderLoop(link, config, sys.stdin.fileno(), output_fd)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(loop.stop, "asked", True))
        say(output_fd, {"ready": True})
        loop.run()
    finally:
        link.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
