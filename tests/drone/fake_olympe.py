"""A fake of the few members of Parrot's SDK that `drone.olympe_sdk` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


class FakeMessage:
    """A message type: called with arguments it gives (name, arguments)."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, **args: Any) -> tuple[str, dict[str, Any]]:
        return self.name, args


class FakeAnswer:
    def wait(self) -> FakeAnswer:
        return self


class FakeEvent:
    def __init__(self, args: Mapping[str, Any]) -> None:
        self.args = args


class FakeState:
    name = "Created"


class FakeDrone:
    def __init__(self, sdk: FakeSdk, kind: str) -> None:
        self._sdk = sdk
        self.kind = kind
        self.connected = False
        self.connection_state = FakeState()
        self.streaming = None
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.callbacks: dict[str, Callable[[Any, Any], None]] = {}
        self.destroyed = False

    def connect(self, *, retry: int) -> bool:
        assert not self.destroyed
        self._sdk.attempts += 1
        self.connected = self._sdk.attempts > self._sdk.refusals
        return self.connected

    def disconnect(self) -> bool:
        self.connected = False
        return True

    def destroy(self) -> None:
        self.destroyed = True

    def subscribe(self, callback: Callable[[Any, Any], None], expectation: Any) -> str:
        name: str = expectation[0]
        self.callbacks[name] = callback
        return name

    def unsubscribe(self, subscriber: str) -> None:
        del self.callbacks[subscriber]

    def get_state(self, message: FakeMessage) -> Mapping[str, Any]:
        if message.name not in self._sdk.states:
            raise ValueError(message.name)
        return self._sdk.states[message.name]

    def tell(self, name: str, **args: Any) -> None:
        """Let the drone report a state."""
        self.callbacks[name](FakeEvent(args), self)

    def __call__(self, expectation: tuple[str, dict[str, Any]]) -> FakeAnswer:
        self.sent.append(expectation)
        return FakeAnswer()

    def take(self, name: str) -> list[dict[str, Any]]:
        """Arguments of the commands of this name, which are forgotten."""
        taken = [args for sent, args in self.sent if sent == name]
        self.sent = [one for one in self.sent if one[0] != name]
        return taken


class FakeSdk:
    """Refuses the first `refusals` connections; answers `get_state` from `states`."""

    def __init__(self) -> None:
        self.refusals = 0
        self.attempts = 0
        self.states: dict[str, Mapping[str, Any]] = {}
        self.drones: list[FakeDrone] = []

    def drone(self, ip: str, kind: str) -> FakeDrone:
        self.drones.append(FakeDrone(self, kind))
        return self.drones[-1]

    def video(self) -> Any:
        raise AssertionError("no video in this fake")

    def message(self, name: str) -> FakeMessage:
        return FakeMessage(name)


class FakePicture:
    """A picture of the SDK that counts its references."""

    def __init__(self, yuv: npt.NDArray[np.uint8] | None = None, **says: Any) -> None:
        self._yuv = yuv
        self._says = says
        self.references = 1

    def ref(self) -> None:
        self.references += 1

    def unref(self) -> None:
        self.references -= 1

    def info(self) -> dict[str, Any]:
        layout = {"format": "YUV420/ABCD/LINEAR/8/PLANAR", "info": {"full_range": False}}
        known = {"raw": {"frame": layout}, "capture_timestamp": 0, "ntp_raw_timestamp": 5}
        return {**known, **self._says}

    def vmeta(self) -> tuple[None, dict[str, Any]]:
        return None, {}

    def as_ndarray(self) -> npt.NDArray[np.uint8] | None:
        return self._yuv
