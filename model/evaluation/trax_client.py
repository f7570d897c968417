"""Drives any tracker that speaks TraX, the protocol of the VOT toolkit."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence as Listing
from contextlib import suppress
from typing import IO, Any

import numpy as np

from model.errors import MissingExtraError
from model.evaluation.errors import PeerError
from model.geometry import Box, Image

START_TIMEOUT_S = 60
_WATCH_S = 0.1
_LAST_WORDS_S = 1.0


def load_trax() -> Any:
    """Import the TraX library.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        for part in ("client", "server"):
            importlib.import_module(f"trax.{part}")
        return importlib.import_module("trax")
    except ModuleNotFoundError:
        raise MissingExtraError("vot-trax", "eval") from None


class TraxTracker:
    """One TraX tracker process, reached over a loopback socket; started at the first `init`."""

    def __init__(self, command: Listing[str]) -> None:
        """Args: command: program and arguments."""
        self._trax = load_trax()
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Any = None
        self._socket: socket.socket | None = None
        self._errors: IO[bytes] | None = None

    @property
    def engine(self) -> str:
        """The name that the tracker tells, or its command."""
        told = self._client.tracker_name if self._client is not None else ""
        return f"TraX {told or self._command[0]}"

    def init(self, image: Image, box: Box) -> None:
        """Start the tracker, tell it the target."""
        self.close()
        self._connect()
        region = self._trax.Rectangle.create(*box)
        self._ask(lambda: self._client.initialize(self._wrap(image), [(region, {})], {}))

    def update(self, image: Image) -> tuple[Box, float | None]:
        """Send a frame, take the answer."""
        objects, _ = self._ask(lambda: self._client.frame(self._wrap(image), {}, []))
        if not objects:
            raise PeerError(f"{self.engine}: expected one region, found none")
        region, properties = objects[0]
        return self._box(region), self._score(properties)

    def close(self) -> None:
        """End the session and the process."""
        if self._client is not None:
            with suppress(Exception):  # the tracker may be gone already
                self._client.quit()
            self._client = None
        if self._process is not None:
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        """Start the process and wait for it at a loopback socket."""
        self._socket = listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
        environment = {**os.environ, "TRAX_SOCKET": str(port)}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                self._command, env=environment, stdin=subprocess.DEVNULL, stderr=self._errors
            )
        except OSError as error:
            text = f"{' '.join(self._command)}: {error.strerror}"
            raise PeerError(f"the TraX tracker does not start: {text}") from None
        connected = threading.Event()
        watch = threading.Thread(
            target=_release, args=(self._process, port, connected), daemon=True
        )
        watch.start()
        # The library listens on the descriptor. Its default, no log, does not work in 4.0.2: it
        # needs something to call.
        self._client = self._ask(
            lambda: self._trax.client.Client(listener.fileno(), START_TIMEOUT_S, log=_log_nothing)
        )
        connected.set()

    def _ask(self, call: Any) -> Any:
        try:
            return call()
        except self._trax.TraxException as error:
            raise PeerError(
                f"the TraX tracker {' '.join(self._command)}: {self._why(error)}"
            ) from None

    def _why(self, error: Exception) -> str:
        """What went wrong: that the process ended, and its last words, where it did."""
        if self._process is None or self._errors is None:
            return str(error)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_LAST_WORDS_S)
        code = self._process.poll()
        if code is None:
            return str(error)
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        said = "; ".join(line.strip() for line in lines[-2:]) or "it said nothing"
        return f"ended with exit code {code}: {said}"

    def _wrap(self, image: Image) -> Any:
        rgb = np.ascontiguousarray(image[..., ::-1])
        return {self._trax.ImageChannel.COLOR: self._trax.MemoryImage.create(rgb)}

    def _box(self, region: Any) -> Box:
        if region.type == self._trax.Region.RECTANGLE:
            x, y, w, h = (float(v) for v in region.bounds())
            return Box(x, y, w, h)
        if region.type == self._trax.Region.POLYGON:
            points = np.array([region.get(i) for i in range(region.size())], np.float64)
            x, y = (float(v) for v in points.min(axis=0))
            right, bottom = (float(v) for v in points.max(axis=0))
            return Box(x, y, right - x, bottom - y)
        if region.type == self._trax.Region.SPECIAL:  # the tracker says that the target is gone
            return Box(0.0, 0.0, 0.0, 0.0)
        raise PeerError(f"{self.engine}: expected a rectangle or polygon, found a {region.type}")

    @staticmethod
    def _score(properties: Any) -> float | None:
        text = properties.get("confidence", None)
        try:
            return None if text is None else float(text)
        except ValueError:
            return None


def _release(process: subprocess.Popen[bytes], port: int, connected: threading.Event) -> None:
    """End the library's wait when the process is gone before it connected.

    The library waits for a connection for its whole time limit; one that closes at once ends it.
    """
    while not connected.wait(_WATCH_S):
        if process.poll() is not None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return


def _log_nothing(message: str) -> None:
    """Take the protocol's messages and drop them."""
    del message
