"""The loopback ANAFI as fixtures. The suite is skipped where the SDK is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.olympe.loopback import Device, Video, ports_are_free

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", r"ignore:'olympe\..*:DeprecationWarning")
    config.addinivalue_line("markers", "olympe: runs Parrot's SDK against the loopback ANAFI")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = importlib.util.find_spec("olympe") is None
    reason = "parrot-olympe is not installed: see docs/olympe.md"
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.olympe)
        if missing:
            item.add_marker(pytest.mark.skip(reason=reason))


class DeviceKeeper:
    """One device for all tests: to start one takes seconds. A killed one is replaced."""

    def __init__(self) -> None:
        self._device: Device | None = None

    def get(self) -> Device:
        if self._device is None or not self._device.running:
            if not ports_are_free():
                pytest.fail("another program listens on the drone's ports 44444 and 44445: stop it")
            self._device = Device()
        self._device.forget()
        self._device.become("anafi")
        return self._device

    def close(self) -> None:
        if self._device is not None:
            self._device.thaw()
            self._device.kill()


@pytest.fixture(scope="session")
def keeper() -> Iterator[DeviceKeeper]:
    keeper = DeviceKeeper()
    yield keeper
    keeper.close()


@pytest.fixture
def start_video() -> Iterator[Callable[..., Video]]:
    """Starts video servers; small pictures where a test does not say otherwise."""
    started: list[Video] = []

    def start(*args: str, port: int = 0) -> Video:
        started.append(Video("--width", "640", "--height", "360", *args, port=port))
        return started[-1]

    yield start
    for video in started:
        video.kill()


@pytest.fixture
def device(keeper: DeviceKeeper) -> Iterator[Device]:
    device = keeper.get()
    yield device
    device.thaw()


@pytest.fixture
def video(start_video: Callable[..., Video]) -> Video:
    return start_video()
