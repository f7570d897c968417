"""The connection to a Parrot drone: one thread connects, watches, reconnects and disconnects."""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from drone.errors import ControlError
from drone.olympe_models import OlympeModel, checked_ip, identify
from drone.olympe_sdk import OlympeSdk, Sdk, SdkDrone, last_states
from drone.olympe_settings import SettingResult, VehicleSettings, apply_settings
from drone.olympe_telemetry import EVENTS, TelemetrySnapshot, TelemetryStore
from model.errors import MissingExtraError

logger = logging.getLogger(__name__)


class LinkState(enum.Enum):
    """What the connection is doing."""

    CLOSED = "CLOSED"
    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    WAITING = "WAITING"
    """It was lost, or refused; the next attempt comes after a pause."""


@dataclass(frozen=True)
class LinkTiming:
    """Waiting times of the connection.

    Attributes:
        identify_s: longest wait for a word from the address.
        open_s: longest that `open` waits for the first connection.
        backoff_first_s, backoff_most_s: pause after a failure; doubles each time.
        watch_s: how often the SDK is asked whether it is still connected.
        close_s: longest that `close` waits for the disconnection.
        abort_s: the same while there is no connection yet: the SDK may sit in it for 45 s.
    """

    identify_s: float = 2.5
    open_s: float = 20.0
    backoff_first_s: float = 0.5
    backoff_most_s: float = 5.0
    watch_s: float = 0.05
    close_s: float = 8.0
    abort_s: float = 2.0


class Backoff:
    """Pauses that double with each failure and start anew after a success."""

    def __init__(self, first_s: float, most_s: float) -> None:
        """Start at `first_s`."""
        self._first_s, self._most_s = first_s, most_s
        self._next_s = first_s

    def next_s(self) -> float:
        """The pause to make now."""
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, self._most_s)
        return pause_s

    def reset(self) -> None:
        """Begin again at the first pause."""
        self._next_s = self._first_s


@dataclass
class FirstAttempt:
    """Outcome of the first attempt, for the thread that waits in `open`."""

    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    since_s: float | None = None
    """When the drone was first asked; to import the SDK before that takes what it takes."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for the outcome; False when it took longer than `timeout_s`."""
        while not self.done.wait(0.05):
            if self.since_s is not None and time.monotonic() - self.since_s > timeout_s:
                return False
        return True


class OlympeLink:
    """Keeps a drone connected. All slow calls of the SDK happen in its own thread.

    A drone that was lost is connected again with growing pauses: it refuses for about 8 s, until
    it has dropped the connection that it still believes in.
    """

    def __init__(
        self,
        ip: str,
        settings: VehicleSettings | None = None,
        timing: LinkTiming | None = None,
        *,
        make_sdk: Callable[[], Sdk] = OlympeSdk,
        find: Callable[[str, float], OlympeModel] = identify,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Name the drone; nothing is connected yet.

        Args:
            ip: IPv4 address of the drone or of its SkyController.
            settings: what to set at each connection.
            timing: waiting times.
            make_sdk, find, clock: the SDK, who is there, and the host's monotonic clock.

        Raises:
            ControlError: not an IPv4 address.
        """
        self.ip = checked_ip(ip)
        self._settings = settings or VehicleSettings()
        self._timing = timing or LinkTiming()
        self._make_sdk, self._find, self._clock = make_sdk, find, clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sdk: Sdk | None = None
        self._drone: SdkDrone | None = None
        self._refused: tuple[OlympeModel, SdkDrone] | None = None
        self._store = TelemetryStore()
        self.state = LinkState.CLOSED
        self.model: OlympeModel | None = None
        self.session = 0
        """Counts connections; a change means that everything sent before is forgotten."""
        self.last_error: str | None = None
        self.settings_read_back: tuple[SettingResult, ...] = ()

    @property
    def sdk(self) -> Sdk:
        """The SDK; available after `open`."""
        if self._sdk is None:
            raise ControlError(f"{self.ip}: the link was not opened")
        return self._sdk

    @property
    def drone(self) -> SdkDrone:
        """The live connection.

        Raises:
            ControlError: there is none now.
        """
        drone = self._drone
        if drone is None:
            reason = f" ({self.last_error})" if self.last_error else ""
            raise ControlError(f"{self.ip}: not connected{reason}")
        return drone

    def telemetry(self) -> TelemetrySnapshot:
        """The newest states with their ages."""
        return self._store.snapshot(self._clock())

    def state_of(self, name: str) -> Any:
        """One value that the drone reported, such as `yaw_full_deg_s`; None where it did not."""
        return self._store.get(name)

    def command(self, name: str, **args: Any) -> None:
        """Send one command without waiting for the drone's answer.

        Raises:
            ControlError: not connected.
        """
        drone = self.drone
        try:
            drone(self.sdk.message(name)(**args))
        except RuntimeError as error:
            raise ControlError(f"{self.ip}: {name} was not sent: {error}") from error

    def open(self) -> None:
        """Connect, and stay connected until `close`.

        Raises:
            ControlError: nobody answers (within `identify_s`), the model is not supported, or
                the drone refuses; nothing stays open.
            MissingExtraError: the SDK is not installed.
        """
        if self._thread is not None:
            raise ControlError(f"{self.ip}: the link is open already")
        self._stop = threading.Event()
        first = FirstAttempt()
        self._thread = threading.Thread(
            target=self._run, args=(first, self._stop), name="olympe-link", daemon=True
        )
        self._thread.start()
        if not first.wait(self._timing.open_s):
            first.error = ControlError(
                f"{self.ip} answers but does not accept the connection within "
                f"{self._timing.open_s:g} s ({self.last_error or 'no reason given'}); is another "
                "application connected? A lost connection is let go after about 10 s"
            )
        if first.error is not None:
            self.close()
            raise first.error

    def close(self) -> None:
        """Disconnect and free everything; calling it twice is allowed."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            connected = self.state is LinkState.CONNECTED
            thread.join(self._timing.close_s if connected else self._timing.abort_s)
            if thread.is_alive():
                logger.warning("%s: the SDK does not let go; it is left to its thread", self.ip)

    def _run(self, first: FirstAttempt, stop: threading.Event) -> None:
        backoff = Backoff(self._timing.backoff_first_s, self._timing.backoff_most_s)
        try:
            while not stop.is_set():
                try:
                    self._session(first, stop)
                    backoff.reset()
                except Exception as error:
                    told = self._told(error)
                    self.last_error = str(told)
                    # Nobody there, or the wrong model: the user has to act, not to wait.
                    if not first.done.is_set() and self.state is not LinkState.WAITING:
                        first.error = told
                        return
                if stop.is_set():
                    return
                self.state = LinkState.WAITING
                pause_s = backoff.next_s()
                logger.warning("%s: %s; again in %.1f s", self.ip, self.last_error, pause_s)
                stop.wait(pause_s)
        finally:
            self._discard_refused()
            self.state = LinkState.CLOSED
            if self._thread is threading.current_thread():
                self._thread = None
            first.done.set()

    def _told(self, error: Exception) -> Exception:
        """What to tell of a session's end; one of the SDK's own errors is a lost connection."""
        if isinstance(error, (ControlError, MissingExtraError)):
            return error
        logger.warning("%s: the connection failed", self.ip, exc_info=error)
        return ControlError(f"the connection to {self.ip} failed: {error!r}")

    def _session(self, first: FirstAttempt, stop: threading.Event) -> None:
        """Connect once, and return when the connection ended."""
        was_waiting = self.state is LinkState.WAITING
        if not was_waiting:
            self.state = LinkState.CONNECTING
        self.model = self._find(self.ip, self._timing.identify_s)
        if self._sdk is None:
            self._sdk = self._make_sdk()
        self.state = LinkState.CONNECTING
        first.since_s = first.since_s or time.monotonic()
        drone = self._connect(self._sdk, self.model)
        try:
            self._serve(drone, first, stop)
        finally:
            self._drone = None
            self._store.clear()
            self._let_go(drone)

    def _connect(self, sdk: Sdk, model: OlympeModel) -> SdkDrone:
        """Make a connection, with the object that was refused before where there is one.

        To destroy a refused one leaves four of the SDK's files open.
        """
        if self._refused is not None and self._refused[0] == model:
            drone = self._refused[1]
        else:
            self._discard_refused()
            drone = sdk.drone(self.ip, model.kind)
        self._refused = None
        if drone.connect(retry=1):
            return drone
        self.state = LinkState.WAITING
        if getattr(drone.connection_state, "name", "") == "Created":
            self._refused = (model, drone)
        else:
            self._let_go(drone)
        raise ControlError(f"{model.name} at {self.ip} refused the connection")

    def _discard_refused(self) -> None:
        refused, self._refused = self._refused, None
        if refused is not None:
            self._free(refused[1].destroy)

    def _let_go(self, drone: SdkDrone) -> None:
        self._free(drone.disconnect)
        self._free(drone.destroy)

    def _free(self, end: Callable[[], object]) -> None:
        try:
            end()
        except Exception:
            logger.warning("%s: the SDK does not let go", self.ip, exc_info=True)

    def _serve(self, drone: SdkDrone, first: FirstAttempt, stop: threading.Event) -> None:
        subscriptions = self._subscribe(drone)
        try:
            camera = self.model.camera if self.model else "camera"
            self.settings_read_back = apply_settings(drone, self.sdk, self._settings, camera)
            for result in self.settings_read_back:
                if not result.applied:
                    logger.warning("%s: %s", self.ip, result)
            self.session += 1
            self._drone = drone
            self.state = LinkState.CONNECTED
            self.last_error = None
            first.done.set()
            while not stop.is_set() and drone.connected:
                stop.wait(self._timing.watch_s)
            self.last_error = None if stop.is_set() else "the connection was lost"
        finally:
            self._drone = None
            for subscription in subscriptions:
                drone.unsubscribe(subscription)

    def _subscribe(self, drone: SdkDrone) -> list[Any]:
        subscriptions = []
        for name, read in EVENTS.items():
            message = self.sdk.message(name)
            subscriptions.append(drone.subscribe(self._receiver(read), message(_policy="wait")))
            # What the drone said while it connected, before anybody listened.
            for state in last_states(drone, message):
                if state:
                    self._store.put(read(state), self._clock())
        return subscriptions

    def _receiver(self, read: Callable[[Any], dict[str, Any]]) -> Callable[[Any, Any], None]:
        def receive(event: Any, _drone: Any) -> None:
            self._store.put(read(event.args), self._clock())

        return receive
