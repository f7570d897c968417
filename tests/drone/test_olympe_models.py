from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from drone.errors import ControlError
from drone.olympe_models import checked_ip, identify, model_of


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def answer(server: socket.socket, text: bytes) -> threading.Thread:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(text)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_drone_says_which_it_is(server: socket.socket) -> None:
    said = b'{ "model.id": "0x0914","serial": "1", "port": 44444,"name": "x"}\0'
    thread = answer(server, said)
    model = identify("127.0.0.1", 2.0, server.getsockname()[1])
    thread.join(5)
    assert (model.name, model.kind, model.through_controller) == ("ANAFI", "Anafi", False)


@pytest.mark.parametrize(
    ("number", "kind", "through_controller"),
    [
        ("0x091e", "AnafiUSA", False),
        ("0x091a", "AnafiAi", False),
        ("0x0918", "SkyController3", True),
        ("0x091c", "SkyControllerUSA", True),
    ],
)
def test_supported_models(number: str, kind: str, through_controller: bool) -> None:
    model = model_of(b'{"model.id": "%s"}' % number.encode(), "1.2.3.4")
    assert (model.kind, model.through_controller) == (kind, through_controller)


def test_another_model_is_named(server: socket.socket) -> None:
    with pytest.raises(ControlError, match="model 0x090c: expected ANAFI, ANAFI USA, ANAFI Ai"):
        model_of(b'{"model.id": "0x090c"}\0', "1.2.3.4")


@pytest.mark.parametrize("text", [b"", b"SSH-2.0-x", b"[]", b'{"model.id": "big"}', b"{}"])
def test_something_else_on_that_port_is_no_drone(text: bytes) -> None:
    with pytest.raises(ControlError, match="answers, but not as a drone does"):
        model_of(text, "1.2.3.4")


def test_nobody_there_is_said_with_what_was_expected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ControlError, match=r"no drone at 127\.0\.0\.1: port \d+ does not answer"):
        identify("127.0.0.1", 1.0, port)


def test_an_address_that_accepts_and_stays_silent_is_given_up(server: socket.socket) -> None:
    with pytest.raises(ControlError, match=r"does not say what it is .*timed out.*expected ANAFI"):
        identify("127.0.0.1", 0.4, server.getsockname()[1])


@pytest.mark.parametrize("text", ["", "drone", "192.168.42", "::1", "192.168.42.1:80"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ControlError, match=r"expected e\.g\. 192\.168\.42\.1"):
        checked_ip(text)


def test_an_address_is_taken() -> None:
    assert checked_ip(" 192.168.42.1 ") == "192.168.42.1"
