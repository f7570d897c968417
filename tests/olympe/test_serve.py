"""The whole service against the loopback drone: `mlkd serve`, a box over HTTP, commands at it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.olympe.loopback import IP, ROOT, Device, Video, wait_until
from tests.olympe.service import PCMD, Service, comes_to_rest, command_of, is_right

PARKED = ("--pictures", "tests.olympe.pictures:parked", "--fps", "10")
"""Few enough pictures that a machine with other work keeps up: a box older than 250 ms, and a
picture that waited for two intervals, command nothing."""
PATIENCE_S = 60.0
pytestmark = pytest.mark.timeout(300)


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
    return start_video(*PARKED)


@pytest.fixture
def following(device: Device, parked: Video, serve: Callable[[str], Service]) -> Service:
    """A service whose camera follows: the drone is turning to the right."""
    service = serve(f"olympe:{IP}:{parked.port}")
    mark = device.mark()
    service.follow((640, 360))
    device.wait(is_right, PATIENCE_S, mark)
    return service


def goes_on(device: Device, service: Service) -> bool:
    """Wait until the target is held again, then until the camera follows it."""
    wait_until(lambda: service.ask("/api/status")["state"] == "TRACKING", 60.0)
    # Without a good box for 5 s the level has fallen to OFF: the operator grants it anew.
    service.ask("/api/follow", {"level": "CAMERA"})
    mark = device.mark()
    return bool(device.wait(is_right, PATIENCE_S, mark))


def test_a_box_over_http_turns_the_drone_towards_the_target_and_a_click_stops_it(
    device: Device, following: Service
) -> None:
    turning = [line for line in device.commands(PCMD) if is_right(line)]
    assert all(line["args"]["pitch"] == 0 for line in turning)  # CAMERA never flies forward
    assert following.ask("/api/status")["control"] == "CAMERA"
    following.ask("/api/follow/override", {"source": "key"})
    assert comes_to_rest(device, device.mark())
    assert following.ask("/api/status")["control"] == "OFF"


def test_a_service_that_is_killed_leaves_a_drone_that_hovers(
    device: Device, following: Service
) -> None:
    following.process.kill()
    assert comes_to_rest(device, device.mark())


def test_a_service_that_stalls_leaves_a_drone_that_hovers_and_goes_on_later(
    device: Device, following: Service
) -> None:
    following.process.send_signal(signal.SIGSTOP)
    try:
        assert comes_to_rest(device, device.mark())
    finally:
        following.process.send_signal(signal.SIGCONT)
    assert goes_on(device, following)


def test_a_service_that_is_stopped_sends_zeros_last(device: Device, following: Service) -> None:
    following.process.send_signal(signal.SIGTERM)
    assert comes_to_rest(device, device.mark())
    following.process.wait(20)


def test_video_that_freezes_ends_in_zeros(
    device: Device, parked: Video, following: Service
) -> None:
    parked.freeze()
    try:
        assert comes_to_rest(device, device.mark())
    finally:
        parked.thaw()


def test_video_that_is_killed_ends_in_zeros_and_is_followed_again_when_it_is_back(
    device: Device, parked: Video, following: Service, start_video: Callable[..., Video]
) -> None:
    parked.kill()
    assert comes_to_rest(device, device.mark())
    start_video(*PARKED, port=parked.port)
    assert goes_on(device, following)


def test_a_sender_that_is_killed_is_replaced(device: Device, following: Service) -> None:
    reached = len([m for m in following.told("vehicle") if "commands reach" in m])
    os.kill(following.sender_pid, signal.SIGKILL)
    wait_until(lambda: any("interrupted" in m for m in following.told("vehicle")))
    device.forget()  # a real drone lets go of a lost connection by itself, after 8 s
    wait_until(
        lambda: len([m for m in following.told("vehicle") if "commands reach" in m]) > reached, 60.0
    )
    assert goes_on(device, following)


def refusal_of(source: str, folder: Path) -> str:
    """Last line of a service that does not start."""
    ended = subprocess.run(
        command_of(source, folder), capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr.strip().splitlines()[-1]


def test_what_cannot_be_flown_is_refused_in_one_line(
    device: Device, parked: Video, tmp_path: Path
) -> None:
    offered = refusal_of(f"olympe:{IP}:{parked.port}/Rear camera", tmp_path)
    assert "no media named 'Rear camera'; the drone offers 'Front camera'" in offered
    device.become("bebop2")
    wrong = refusal_of(f"olympe:{IP}", tmp_path)
    assert "model 0x090c: expected ANAFI, ANAFI USA" in wrong
