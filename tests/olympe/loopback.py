"""Starts the loopback ANAFI (device and video, a process each) and reads what reached it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IP = "127.0.0.1"
DISCOVERY_PORT = 44445


class Part:
    """A child process that talks in lines of JSON."""

    def __init__(self, module: str, *args: str) -> None:
        command = [sys.executable, "-m", module, *args]
        pipe = subprocess.PIPE
        # Its own session: a signal to the test run does not reach it twice.
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, start_new_session=True
        )
        self._changed = threading.Condition()
        self._lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            if text.startswith("{"):
                with self._changed:
                    self._lines.append(json.loads(text))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def lines(self, since: int = 0) -> list[dict[str, Any]]:
        with self._changed:
            return self._lines[since:]

    def mark(self) -> int:
        """A place in its output; `wait(…, since=mark)` looks only at what follows."""
        with self._changed:
            return len(self._lines)

    def wait(
        self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = 10.0, since: int = 0
    ) -> dict[str, Any]:
        """The first line that is wanted.

        Raises:
            AssertionError: none came in time, or the process ended.
        """
        deadline_s = time.monotonic() + timeout_s
        seen = since
        with self._changed:
            while True:
                for line in self._lines[seen:]:
                    if wanted(line):
                        return line
                seen = len(self._lines)
                left_s = deadline_s - time.monotonic()
                tail = self._lines[-3:]
                assert self._process.poll() is None, f"the process ended; last lines {tail}"
                assert left_s > 0, f"no such line in {timeout_s} s; last lines {tail}"
                self._changed.wait(min(left_s, 0.2))

    def tell(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does; the kernel keeps its connections open."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash or a cut cable does; again is allowed."""
        if self._process.poll() is not None:
            return
        self._process.kill()
        self._process.wait(5)
        self._reader.join(5)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


class Video(Part):
    """The RTSP server."""

    def __init__(self, *args: str, port: int = 0) -> None:
        super().__init__("tests.olympe.rtsp", "--port", str(port), *args)
        self.port = int(self.wait(lambda line: "ready" in line)["ready"])
        self.url = f"rtsp://{IP}:{self.port}/live"


class Device(Part):
    """The drone's command interface."""

    def __init__(self) -> None:
        super().__init__("tests.olympe.anafi")
        try:
            # The SDK's import takes 2 s of a free core, and much longer on a busy machine.
            assert self.wait(lambda line: "ready" in line, 90.0)["ready"], "cannot listen"
        except BaseException:
            self.kill()
            raise
        self.kind = ("anafi", False)

    def become(self, model: str, *, stubborn: bool = False) -> None:
        """Be another model, or one that keeps the streaming mode it has."""
        if self.kind != (model, stubborn):
            since = self.mark()
            self.tell(become=model, stubborn=stubborn)
            assert self.wait(lambda line: "ready" in line, since=since)["ready"], "cannot listen"
            self.kind = (model, stubborn)

    def forget(self) -> None:
        """Let go of a controller that has left, and accept the next one at once."""
        since = self.mark()
        self.tell(forget=True)
        self.wait(lambda line: "forgot" in line, 40.0, since)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, name: str, timeout_s: float = 10.0, since: int = 0, **args: Any) -> Any:
        """The first command of this name whose arguments are `args`."""

        def wanted(line: dict[str, Any]) -> bool:
            got = line.get("args", {})
            return line.get("name") == name and all(got.get(k) == v for k, v in args.items())

        return self.wait(wanted, timeout_s, since)

    def commands(self, name: str, since: int = 0) -> list[dict[str, Any]]:
        return [line for line in self.lines(since) if line.get("name") == name]

    def send(self, name: str, **args: Any) -> None:
        """Let the drone report a state."""
        self.tell(send=name, args=args)


def ports_are_free() -> bool:
    """False when something already listens where a drone would."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((IP, DISCOVERY_PORT)) != 0


def wait_until(reached: Callable[[], bool], timeout_s: float = 15.0) -> None:
    """Wait for something that has no event.

    Raises:
        AssertionError: it did not come true.
    """
    deadline_s = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline_s, f"not reached in {timeout_s} s"
        time.sleep(0.02)
