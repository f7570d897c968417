"""Which drone or controller answers at an address, found out in milliseconds, without the SDK."""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from drone.errors import ControlError

DISCOVERY_PORT = 44445
MUX_PORT = 4321
"""The SkyController 4 carries everything over one connection to this port."""
MODEL_TEXT = "ANAFI, ANAFI USA, ANAFI Ai, SkyController 3, USA or 4"


@dataclass(frozen=True)
class OlympeModel:
    """A model that is supported.

    Attributes:
        name: as on the box.
        kind: the SDK's class.
        through_controller: a SkyController stands between; its sticks pilot until they are taken.
    """

    name: str
    kind: str
    through_controller: bool = False


MODELS = {
    0x0914: OlympeModel("ANAFI", "Anafi"),
    0x091E: OlympeModel("ANAFI USA", "AnafiUSA"),
    0x091A: OlympeModel("ANAFI Ai", "AnafiAi"),
    0x0918: OlympeModel("SkyController 3", "SkyController3", True),
    0x091C: OlympeModel("SkyController USA", "SkyControllerUSA", True),
}
"""By the number that the device announces itself with."""
MUX_MODEL = OlympeModel("SkyController 4", "SkyController4", True)


def checked_ip(text: str) -> str:
    """Return an IPv4 address as it was given.

    Raises:
        ControlError: it is not one.
    """
    try:
        return str(ipaddress.IPv4Address(text.strip()))
    except ValueError:
        raise ControlError(
            f"{text!r} is not an IPv4 address: expected e.g. 192.168.42.1 (the drone's WiFi), "
            "192.168.53.1 (a SkyController) or 10.202.0.1 (Sphinx)"
        ) from None


def identify(
    ip: str,
    timeout_s: float = 2.5,
    port: int = DISCOVERY_PORT,
    clock: Callable[[], float] = time.monotonic,
) -> OlympeModel:
    """Ask who is there.

    Args:
        ip: IPv4 address.
        timeout_s: for everything together.
        port: where a device announces itself.
        clock: seconds.

    Raises:
        ControlError: nobody answers, or it is a model that is not supported.
    """
    deadline_s = clock() + timeout_s
    try:
        announced = _announcement(ip, port, timeout_s * 0.6)
    except OSError as reason:
        left_s = deadline_s - clock()
        if left_s > 0 and _answers(ip, MUX_PORT, left_s):
            return MUX_MODEL
        raise ControlError(
            f"no drone at {ip}: port {port} does not answer ({reason}); expected a powered drone "
            "or SkyController, and this computer in its network"
        ) from None
    return model_of(announced, ip)


def model_of(announced: bytes, ip: str) -> OlympeModel:
    """Read the announcement, a JSON object that ends with a zero byte.

    Raises:
        ControlError: it is none, or the model is not supported.
    """
    try:
        number = int(json.loads(announced.rstrip(b"\0"))["model.id"], 16)
    except (ValueError, KeyError, TypeError):
        raise ControlError(
            f"{ip} answers, but not as a drone does ({announced[:60]!r}); expected {MODEL_TEXT}"
        ) from None
    if number not in MODELS:
        raise ControlError(f"{ip} is model 0x{number:04x}: expected {MODEL_TEXT}")
    return MODELS[number]


def _announcement(ip: str, port: int, timeout_s: float) -> bytes:
    with socket.create_connection((ip, port), timeout_s) as connection:
        connection.settimeout(timeout_s / 2)
        received = b""
        while not received.endswith(b"\0") and len(received) < 4096:
            part = connection.recv(4096)
            if not part:
                break
            received += part
        return received


def _answers(ip: str, port: int, timeout_s: float) -> bool:
    try:
        socket.create_connection((ip, port), timeout_s).close()
    except OSError:
        return False
    return True
