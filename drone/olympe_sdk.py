"""The only door to Parrot's SDK: imported late, without its renderer, and quiet.

The protocols name the few members that this project uses, so that the rest of the package is
checked and tested without the SDK.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import logging
import sys
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from model.errors import MissingExtraError

# The SDK imports these for its head-up display, which is never opened here; servers lack them.
_RENDERER_MODULES = ("sdl2", "sdl2.ext", "OpenGL", "OpenGL.GL", "OpenGL.GLX")
_QUIET = {"loggers": {"olympe": {"level": "ERROR"}, "ulog": {"level": "CRITICAL"}}}
PLAY_TIMEOUT_S = 5.0


class SdkFrame(Protocol):
    """A decoded picture in the SDK's memory; valid in the callback, or between ref and unref."""

    def ref(self) -> None:
        """Keep it; each ref needs an unref, or its memory is lost for good."""
        ...

    def unref(self) -> None:
        """Give it back."""
        ...

    def info(self) -> Mapping[str, Any] | None:
        """Size, layout and timestamps."""
        ...

    def vmeta(self) -> tuple[Any, Mapping[str, Any]]:
        """What the drone said of itself with this picture; an empty mapping where nothing."""
        ...

    def as_ndarray(self) -> npt.NDArray[np.uint8] | None:
        """(1.5 H, W) I420 or NV12, in the SDK's memory."""
        ...


class SdkVideo(Protocol):
    """A player of one stream (the SDK's `Pdraw`)."""

    def play(
        self,
        url: str | None = None,
        *,
        media_name: str = ...,
        raw_cb: Callable[[SdkFrame], None] | None = None,
        flush_raw_cb: Callable[[object], None] | None = None,
        timeout: float = ...,
    ) -> bool:
        """Open and play; callbacks run in a thread of the SDK."""
        ...

    def stop(self, timeout: float = ...) -> bool:
        """Stop playing; it can play again."""
        ...

    def destroy(self) -> None:
        """Free it."""
        ...


class SdkDrone(Protocol):
    """A controller's connection to a drone or to a SkyController."""

    @property
    def connected(self) -> bool:
        """False as soon as the SDK notices."""
        ...

    @property
    def connection_state(self) -> Any:
        """An enum; `Created` when it may connect (again)."""
        ...

    @property
    def streaming(self) -> SdkVideo | None:
        """Its own player, which reaches through a SkyController."""
        ...

    def connect(self, *, retry: int = ...) -> bool:
        """Connect; may take 45 s."""
        ...

    def disconnect(self) -> bool:
        """Disconnect; may take 30 s."""
        ...

    def destroy(self) -> None:
        """Free it and end its threads."""
        ...

    def subscribe(self, callback: Callable[[Any, Any], None], expectation: Any) -> Any:
        """Call back on each such event."""
        ...

    def unsubscribe(self, subscriber: Any) -> None:
        """End a subscription."""
        ...

    def get_state(self, message: Any) -> Mapping[str, Any]:
        """Last event of this kind.

        Raises:
            ValueError: there was none.
        """
        ...

    def __call__(self, expectation: Any) -> Any:
        """Send a command; does not wait."""
        ...


class Sdk(Protocol):
    """What is needed of the SDK."""

    def drone(self, ip: str, kind: str) -> SdkDrone:
        """Make a connection object of the SDK's class `kind`; it is not connected yet."""
        ...

    def video(self) -> SdkVideo:
        """Make a player with threads of its own, which holds one picture at most."""
        ...

    def message(self, name: str) -> Any:
        """Find a message type, as `ardrone3.Piloting.PCMD`."""
        ...


class OlympeSdk:
    """The real one."""

    def __init__(self) -> None:
        """Import the SDK.

        Raises:
            MissingExtraError: it is not installed, or cannot be imported here.
        """
        self._olympe = import_olympe()
        self._messages: dict[str, Any] = {}

    def drone(self, ip: str, kind: str) -> SdkDrone:
        """Make a connection object of the SDK's class `kind`."""
        drone: SdkDrone = getattr(self._olympe, kind)(ip, video_buffer_queue_size=1)
        return drone

    def video(self) -> SdkVideo:
        """Make a player."""
        video: SdkVideo = self._olympe.Pdraw(buffer_queue_size=1)
        return video

    def message(self, name: str) -> Any:
        """Find a message type."""
        if name not in self._messages:
            found = importlib.import_module("olympe.messages")
            for part in name.split("."):
                found = getattr(found, part)
            self._messages[name] = found
        return self._messages[name]


def last_states(drone: SdkDrone, message: Any) -> list[Mapping[str, Any]]:
    """What the drone last said in this kind of message, once for each camera or gimbal.

    Empty where it said nothing.
    """
    try:
        state = drone.get_state(message)
    except (ValueError, RuntimeError):
        return []
    numbered = [one for one in state.values() if isinstance(one, Mapping)]
    # States of cameras and gimbals are kept by number, and hold nothing else.
    return numbered if numbered and len(numbered) == len(state) else [state]


def detach_pictures(video: SdkVideo) -> None:
    """Take a player's picture event off its thread, before the player is stopped or destroyed.

    The SDK does both at once in two threads; where it loses that race, which is most times, one
    open file stays behind for each session.
    """
    loop = getattr(video, "_callbacks_loop", None)
    for stream in list(getattr(video, "streams", {}).values()):
        event = stream["video_queue_event"]
        if event and loop is not None:
            loop.remove_event_from_loop(event).result_or_cancel(timeout=1.0)
            stream["video_queue_event"] = None


def check_installed() -> None:
    """Look for the SDK without importing it.

    Raises:
        MissingExtraError: it is not installed.
    """
    if importlib.util.find_spec("olympe") is None:
        raise MissingExtraError("parrot-olympe", "olympe")


def import_olympe() -> Any:
    """Import the SDK without its renderer and with errors only in its log (takes about 2 s).

    Raises:
        MissingExtraError: it is not installed, or cannot be imported here.
    """
    loading = logging.getLogger("olympe.module_loader")
    loading.addFilter(lambda record: record.levelno >= logging.WARNING)
    stubs = {name: types.ModuleType(name) for name in _RENDERER_MODULES if name not in sys.modules}
    for name, stub in stubs.items():
        sys.modules[name] = stub
        parent, _, child = name.rpartition(".")
        if parent in stubs:
            setattr(stubs[parent], child, stub)
    first = "olympe" not in sys.modules
    collecting = gc.isenabled()
    gc.disable()  # it makes 300,000 objects that stay: a quarter of the time
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            olympe = importlib.import_module("olympe")
            log = importlib.import_module("olympe.log")
    except (ImportError, OSError, TypeError) as error:
        # TypeError: what its protobuf files raise under a protobuf that is too new.
        if isinstance(error, ModuleNotFoundError) and error.name == "olympe":
            raise MissingExtraError("parrot-olympe", "olympe") from error
        missing = MissingExtraError("parrot-olympe", "olympe")
        missing.args = (f"parrot-olympe cannot be imported ({error}); {missing}",)
        raise missing from error
    finally:
        if collecting:
            gc.enable()
        for name in stubs:
            sys.modules.pop(name, None)
    if first:
        # Else a full collection walks through all of them, in 130 ms, in the midst of a flight.
        gc.collect()
        gc.freeze()
    log.update_config(_QUIET)
    # Its own state changes look through every module, its deprecated ones too, and so warn.
    warnings.filterwarnings("ignore", r"'olympe\..*' is deprecated", DeprecationWarning)
    # It looks for a media server that is not used here, and complains for ever where there is none.
    logging.getLogger("olympe.media").setLevel(logging.CRITICAL)
    return olympe
