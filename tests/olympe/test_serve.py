"""The whole service against the loopback drone: `mlkd serve`, a box over HTTP, commands at it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.olympe.loopback import IP, ROOT, Device, Video, wait_until
from tests.olympe.pictures import TARGET

PCMD = "ardrone3.Piloting.PCMD"
GIMBAL = "gimbal.set_target"
START_S = 60.0


class Service:
    """`mlkd serve` as a process, and its HTTP side."""

    def __init__(self, source: str, folder: Path) -> None:
        command = [sys.executable, "-m", "gcs.cli", "serve", "--source", source, "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--flights-dir", str(folder)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_until(lambda: any("MLKD-Track on" in line for line in self.lines), START_S)
        text = next(line for line in self.lines if "MLKD-Track on" in line)
        self.address = re.search(r"http://\S+?(?=/?$)", text.strip())[0]  # type: ignore[index]

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


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    started: list[Service] = []

    def start(source: str) -> Service:
        started.append(Service(source, tmp_path / "flights"))
        return started[-1]

    yield start
    for service in started:
        service.end()


@pytest.fixture
def parked(start_video: Callable[..., Video]) -> Video:
    return start_video("--pictures", "tests.olympe.pictures:parked")


def is_right(line: dict[str, Any]) -> bool:
    return line.get("name") == PCMD and line["args"]["yaw"] > 0


def is_zero(line: dict[str, Any]) -> bool:
    if line.get("name") != PCMD:
        return False
    return not any(line["args"][key] for key in ("roll", "pitch", "yaw", "gaz"))


def test_a_box_over_http_turns_the_drone_towards_the_target_and_a_click_stops_it(
    device: Device, parked: Video, serve: Callable[[str], Service]
) -> None:
    service = serve(f"olympe:{IP}:{parked.port}")
    mark = device.mark()
    service.follow((640, 360))
    device.wait(is_right, 20.0, mark)
    turning = [line for line in device.commands(PCMD, since=mark) if is_right(line)]
    assert all(line["args"]["pitch"] == 0 for line in turning)  # CAMERA never flies forward
    assert service.ask("/api/status")["control"] == "CAMERA"
    mark = device.mark()
    service.ask("/api/follow/override", {"source": "key"})
    device.wait(is_zero, 5.0, mark)
    time.sleep(0.5)
    moves = [line for line in device.commands(PCMD, since=mark) if not is_zero(line)]
    assert len(moves) <= 1  # one may have been on its way
    assert service.ask("/api/status")["control"] == "OFF"


def test_a_service_that_is_killed_leaves_a_drone_that_hovers(
    device: Device, parked: Video, serve: Callable[[str], Service]
) -> None:
    service = serve(f"olympe:{IP}:{parked.port}")
    mark = device.mark()
    service.follow((640, 360))
    device.wait(is_right, 20.0, mark)
    service.process.kill()
    killed = device.mark()
    device.wait(is_zero, 5.0, killed)
    time.sleep(1.0)
    after = device.commands(PCMD, since=killed)
    first_zero = next(n for n, line in enumerate(after) if is_zero(line))
    assert all(is_zero(line) for line in after[first_zero:])


def test_video_that_freezes_ends_in_zeros(
    device: Device, parked: Video, serve: Callable[[str], Service]
) -> None:
    service = serve(f"olympe:{IP}:{parked.port}")
    mark = device.mark()
    service.follow((640, 360))
    device.wait(is_right, 20.0, mark)
    parked.freeze()
    try:
        frozen = device.mark()
        device.wait(is_zero, 5.0, frozen)
        time.sleep(0.6)
        last = device.commands(PCMD, since=frozen)[-1]
        assert is_zero(last)
    finally:
        parked.thaw()
