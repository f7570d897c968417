"""`mlkd serve` as a process, for tests and measurements against the loopback drone."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.olympe.loopback import ROOT, Device, wait_until
from tests.olympe.pictures import TARGET

PCMD = "ardrone3.Piloting.PCMD"
START_S = 60.0


def command_of(source: str, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "gcs.cli", "serve", "--source", source, "--port", "0"]
    return [*command, "--flights-dir", str(folder)]


class Service:
    """`mlkd serve` as a process, and its HTTP side."""

    def __init__(self, source: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            command_of(source, folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_until(
            lambda: self._address_line() is not None or self.process.poll() is not None, START_S
        )
        line = self._address_line()
        assert line is not None, "".join(self.lines)
        self.address = re.findall(r"http://\S+?(?=/?$)", line.strip())[0]

    def _address_line(self) -> str | None:
        return next((line for line in self.lines if "MLKD-Track on" in line), None)

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.address}{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))

    def told(self, kind: str) -> list[str]:
        with urllib.request.urlopen(f"{self.address}/api/events", timeout=10) as answer:
            return [e["message"] for e in json.load(answer) if e["kind"] == kind]

    @property
    def sender_pid(self) -> int:
        """The process that the commands leave from."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and b"drone.sender_child" in _read_bytes(entry / "cmdline"):
                stat = _read_bytes(entry / "stat").decode()
                if int(stat.rpartition(")")[2].split()[1]) == self.process.pid:
                    return int(entry.name)
        raise AssertionError("the service has no sender process")

    def follow(self, video_size: tuple[int, int]) -> None:
        """Wait for commands and video, give the box, let the camera follow."""
        wait_until(lambda: any("commands reach" in m for m in self.told("vehicle")), START_S)
        wait_until(lambda: self.ask("/api/status")["frame_id"] is not None, START_S)
        width, height = video_size
        box = [TARGET[0] * width, TARGET[1] * height, TARGET[2] * width, TARGET[3] * height]
        self.ask("/api/tracking/start", {"box": box})
        self.ask("/api/follow", {"level": "CAMERA"})

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it ended meanwhile


def is_right(line: dict[str, Any]) -> bool:
    """A command that turns clockwise."""
    return line.get("name") == PCMD and line["args"]["yaw"] > 0


def is_zero(line: dict[str, Any]) -> bool:
    """A piloting command that moves nothing."""
    if line.get("name") != PCMD:
        return False
    return not any(line["args"][key] for key in ("roll", "pitch", "yaw", "gaz"))


def comes_to_rest(device: Device, since: int) -> bool:
    """Wait until the sender is silent; tell whether a run of explicit zeros came before that.

    Commands and pictures that were on their way may come in between.
    """
    device.wait(is_zero, 10.0, since)
    heard = -1
    while heard != len(device.commands(PCMD, since)):
        heard = len(device.commands(PCMD, since))
        time.sleep(0.5)
    last = device.commands(PCMD, since)[-10:]
    return len(last) == 10 and all(is_zero(line) for line in last)
