"""Commands as JSON datagrams, to a bridge that flies another make of vehicle."""

from __future__ import annotations

import dataclasses
import json
import socket
import time

from drone.control import RateCommand
from drone.errors import ControlError


class DatagramLink:
    """A vehicle link over UDP: one JSON object a command, with `sent_ns` of this host's clock."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Open the socket; nothing is sent yet.

        Raises:
            ControlError: the address cannot be reached.
        """
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect((host, port))
        except OSError as error:
            self._socket.close()
            raise ControlError(f"bridge at {host}:{port}: {error.strerror or error}") from None

    def write(self, command: RateCommand) -> None:
        """Send one command; never blocks.

        Raises:
            OSError: nobody listens there, or the network is full.
        """
        fields = {**dataclasses.asdict(command), "sent_ns": time.monotonic_ns()}
        self._socket.send(json.dumps(fields).encode())

    def report(self) -> dict[str, object] | None:
        """Nothing comes back."""
        return None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
