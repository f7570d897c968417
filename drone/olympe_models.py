"""Which drone or controller answers at an address, found out in milliseconds, without the SDK."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from drone.errors import ControlError, SourceError

DISCOVERY_PORT = 44445
MUX_PORT = 4321
"""The SkyController 4 carries everything over one connection to this port."""
MEDIA_NAME = "Front camera"
MODEL_TEXT = "ANAFI, ANAFI USA, ANAFI Ai, SkyController 3, USA or 4"


@dataclass(frozen=True)
class OlympeModel:
    """A model that is supported.

    Attributes:
        name: as on the box.
        kind: the SDK's class.
        through_controller: a SkyController stands between; its sticks pilot until they are taken.
        camera: the feature of its camera messages: `camera2` on ANAFI Ai, `camera` before it.
    """

    name: str
    kind: str
    through_controller: bool = False
    camera: str = "camera"


MODELS = {
    0x0914: OlympeModel("ANAFI", "Anafi"),
    0x091E: OlympeModel("ANAFI USA", "AnafiUSA"),
    0x091A: OlympeModel("ANAFI Ai", "AnafiAi", camera="camera2"),
    0x0918: OlympeModel("SkyController 3", "SkyController3", True),
    0x091C: OlympeModel("SkyController USA", "SkyControllerUSA", True),
}
"""By the number that the device announces itself with."""
MUX_MODEL = OlympeModel("SkyController 4", "SkyController4", True, "camera2")


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


class AbsentError(ControlError):
    """Nobody answers at the address; a drone may come there later."""


@dataclass(frozen=True)
class DroneAddress:
    """What stands behind `olympe:`.

    Attributes:
        ip: IPv4 address of the drone or of its SkyController.
        url: RTSP address where a port was given, else None.
        media_name: the camera's stream, as the drone offers it.
    """

    ip: str
    url: str | None
    media_name: str


def parse_address(spec: str) -> DroneAddress:
    """Read `ADDRESS[:PORT][/MEDIA NAME]`.

    Raises:
        SourceError: it does not have this form.
    """
    parts = re.fullmatch(r"([^:/]+)(?::(\d{1,5}))?(?:/(.+))?", spec.strip())
    if parts is None:
        raise SourceError(
            f"olympe:{spec}: expected olympe:ADDRESS, as olympe:192.168.42.1, and behind it "
            "/MEDIA NAME for another camera"
        )
    address, port, media_name = parts.groups()
    try:
        ip = checked_ip(address)
    except ControlError as error:
        raise SourceError(f"olympe:{spec}: {error}") from None
    return DroneAddress(ip, f"rtsp://{ip}:{port}/live" if port else None, media_name or MEDIA_NAME)


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
        AbsentError: nobody answers.
        ControlError: it is a model that is not supported, or no drone at all.
    """
    deadline_s = clock() + timeout_s
    try:
        connection = socket.create_connection((ip, port), timeout_s * 0.6)
    except OSError as reason:
        left_s = deadline_s - clock()
        if left_s > 0 and _answers(ip, MUX_PORT, left_s):
            return MUX_MODEL
        raise AbsentError(
            f"no drone at {ip}: port {port} does not answer ({reason}); expected a powered drone "
            "or SkyController, and this computer in its network"
        ) from None
    with connection:
        return model_of(_announcement(connection, ip, timeout_s * 0.3), ip)


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


def _announcement(connection: socket.socket, ip: str, timeout_s: float) -> bytes:
    connection.settimeout(timeout_s)
    received = b""
    try:
        while not received.endswith(b"\0") and len(received) < 4096:
            part = connection.recv(4096)
            if not part:
                break
            received += part
    except OSError as reason:
        raise ControlError(
            f"{ip} takes a connection but does not say what it is ({reason}); expected "
            f"{MODEL_TEXT}; one that hangs has to be restarted"
        ) from None
    return received


def _answers(ip: str, port: int, timeout_s: float) -> bool:
    try:
        socket.create_connection((ip, port), timeout_s).close()
    except OSError:
        return False
    return True
