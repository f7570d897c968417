"""A Parrot drone for a ground station: its video here, its commands from where they outlive us.

On the drone's own WiFi the commands leave from a sender process with a connection of its own.
Through a SkyController, which takes one connection alone, video and commands share this process.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

from drone.control import RateCommand, StationVehicle, Told
from drone.errors import ControlError, SourceError
from drone.frame import Frame, Telemetry
from drone.olympe_drone import OlympeDrone
from drone.olympe_link import Backoff, LinkState
from drone.olympe_models import OlympeModel, checked_ip, identify
from drone.olympe_source import MEDIA_NAME, OlympeSource
from drone.olympe_vehicle import telemetry_of_report
from drone.sender import SenderProcess
from drone.source import FrameSource
from model.errors import MlkdError

logger = logging.getLogger(__name__)

WATCH_S = 0.05
OPEN_S = 30.0
"""The sender's process imports the SDK and connects; a busy laptop needs most of this."""
SILENT_S = 2.0
"""A sender process that was not heard of for this long is replaced."""
CONTROLLER_NET = "192.168.53."
LINK = "drone.olympe_vehicle:open_vehicle"


def station_drone(
    spec: str, find: Callable[[str], OlympeModel] = identify
) -> tuple[FrameSource, StationVehicle]:
    """Make the video source and the vehicle of `ADDRESS[:PORT][/MEDIA NAME]`; opens neither.

    A drone that does not answer yet is taken for one on its own WiFi, at a SkyController's usual
    address for one behind that.

    Raises:
        SourceError: it does not have this form, or what answers there is no such drone.
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
    url = f"rtsp://{ip}:{port}/live" if port else None
    if _through_controller(ip, find):
        drone = OlympeDrone(ip, url=url, media_name=media_name or MEDIA_NAME)
        return TetheredSource(drone), TetheredVehicle(drone)
    vehicle = RemoteVehicle(ip)
    source = OlympeSource(
        ip, url=url, media_name=media_name or MEDIA_NAME, telemetry=vehicle.telemetry
    )
    return source, vehicle


def _through_controller(ip: str, find: Callable[[str], OlympeModel]) -> bool:
    try:
        return find(ip).through_controller
    except ControlError as error:
        if "expected a powered drone" not in str(error):
            raise SourceError(f"olympe:{ip}: {error}") from None
        logger.warning("%s; waiting for it", error)
        return ip.startswith(CONTROLLER_NET)


class Watch:
    """Calls a function every `WATCH_S` in a thread of its own until it is ended."""

    def __init__(self, look: Callable[[], None], name: str) -> None:
        """Start looking."""
        self._look = look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(WATCH_S):
            self._try()

    def _try(self) -> None:
        try:
            self._look()
        except Exception:
            logger.exception("%s: goes on", self._thread.name)

    def wait(self, pause_s: float) -> bool:
        """Pause within `look`; True when it is to end."""
        return self._stop.wait(pause_s)

    def end(self, timeout_s: float) -> None:
        """Stop looking; waits for a look that is under way."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)


class RemoteVehicle:
    """A drone that a sender process commands; the process is replaced when it dies.

    Nothing here is needed for safety: the process makes neutral of commands that grow old.
    """

    def __init__(
        self,
        ip: str,
        *,
        make_sender: Callable[[str], SenderProcess] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name the drone; nothing is started."""
        self._ip = ip
        self._make = make_sender or (lambda ip: SenderProcess(LINK, {"ip": ip}))
        self._clock = clock
        self._sender: SenderProcess | None = None
        self._expiry_s = self._make(ip).expiry_s
        self._watch: Watch | None = None
        self._overruled: Callable[[], None] = lambda: None
        self._told: Told = lambda _line: None
        self._overrules = 0
        self._error = "connecting"
        self._backoff = Backoff(0.5, 5.0)
        self._opened_s = 0.0

    @property
    def expiry_s(self) -> float:
        """Age at which a command turns neutral by itself."""
        return self._expiry_s

    @property
    def connected(self) -> bool:
        """True while commands reach a drone that answers."""
        sender = self._sender
        if sender is None:
            return False
        status = sender.status
        return status.healthy and bool(status.report) and _is_connected(status.report)

    def telemetry(self) -> Telemetry:
        """What the drone last said of itself; empty without a connection."""
        sender = self._sender
        if sender is None or not sender.status.healthy:
            return Telemetry()
        return telemetry_of_report(sender.status.report)

    def open(self, overruled: Callable[[], None], told: Told) -> None:
        """Begin to connect, in the background."""
        self.close()
        self._overruled, self._told = overruled, told
        self._watch = Watch(self._look, "mlkd-vehicle")

    def send(self, command: RateCommand) -> None:
        """Replace the current command; thread-safe, never blocks.

        Raises:
            ControlError: there is no connection to the drone.
        """
        sender = self._sender
        if sender is None:
            raise ControlError(f"{self._ip}: no command link ({self._error})")
        if not command.is_neutral and not _is_connected(sender.status.report):
            raise ControlError(f"{self._ip}: the command link is down; it is being connected again")
        sender.send(command)

    def neutral(self) -> None:
        """Hover at once; without a connection the drone has done so by itself."""
        sender = self._sender
        if sender is not None:
            sender.neutral()

    def close(self) -> None:
        """End the process after its zeros; calling it twice is allowed."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end(OPEN_S)
        self._drop("closed")

    def _look(self) -> None:
        sender = self._sender
        if sender is None:
            self._connect()
            return
        status = sender.status
        deaf = status.beat_age_s is not None and status.beat_age_s > SILENT_S
        silent = status.beat_age_s is None and self._clock() - self._opened_s > SILENT_S
        if not status.alive or deaf or silent:
            self._drop("the sender process does not answer")
            self._told(f"commands to {self._ip} are interrupted: {self._error}")
            return
        overrules = int((status.report or {}).get("overrules", 0))
        if overrules > self._overrules:
            self._overruled()
        self._overrules = overrules

    def _connect(self) -> None:
        sender = self._make(self._ip)
        try:
            sender.open(timeout_s=OPEN_S)
        except (ControlError, MlkdError, OSError) as error:
            fresh, self._error = str(error) != self._error, str(error)
            if fresh:
                self._told(f"no command link: {error}")
            if self._watch is not None:
                self._watch.wait(self._backoff.next_s())
            return
        self._backoff.reset()
        self._overrules, self._opened_s = 0, self._clock()
        self._sender, self._error = sender, ""
        self._told(f"commands reach {self._ip}")

    def _drop(self, why: str) -> None:
        sender, self._sender = self._sender, None
        self._error = why
        if sender is not None:
            sender.close()


class TetheredVehicle:
    """A drone behind a SkyController, commanded over the connection that its video uses."""

    def __init__(self, drone: OlympeDrone) -> None:
        """Use a drone; it is closed with this."""
        self._drone = drone
        self._watch: Watch | None = None
        self._overruled: Callable[[], None] = lambda: None
        self._told: Told = lambda _line: None
        self._overrules = 0
        self._state: LinkState | None = None

    @property
    def expiry_s(self) -> float:
        """Age at which a command turns neutral by itself."""
        return self._drone.control.expiry_s

    def open(self, overruled: Callable[[], None], told: Told) -> None:
        """Begin to watch; the source connects."""
        self._overruled, self._told = overruled, told
        self._overrules = self._drone.vehicle.overrules
        self._watch = Watch(self._look, "mlkd-vehicle")

    def send(self, command: RateCommand) -> None:
        """See `OlympeControl.send`."""
        self._drone.control.send(command)

    def neutral(self) -> None:
        """See `OlympeControl.neutral`."""
        self._drone.control.neutral()

    def close(self) -> None:
        """Zeros, sticks back, connection closed."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end(1.0)
        self._drone.close()

    def _look(self) -> None:
        overrules = self._drone.vehicle.overrules
        if overrules > self._overrules:
            self._overruled()
        self._overrules = overrules
        state = self._drone.link.state
        if state is not self._state:
            self._state = state
            self._told(f"command link {state.value.lower()}")


class TetheredSource:
    """The video of a drone behind a SkyController; opens the shared connection when needed."""

    live = True

    def __init__(self, drone: OlympeDrone) -> None:
        """Use a drone; its vehicle closes the connection."""
        self._drone = drone

    @property
    def name(self) -> str:
        """`olympe:ADDRESS`."""
        return self._drone.source.name

    @property
    def dropped(self) -> int:
        """Pictures that were replaced before anybody read them."""
        return self._drone.source.dropped

    def open(self) -> None:
        """Connect where that is not done yet, play, and be ready to command.

        Raises:
            ControlError, SourceError, MissingExtraError: as `OlympeDrone.open`.
        """
        if self._drone.link.state is LinkState.CLOSED:
            self._drone.link.open()
        self._drone.source.open()
        if not self._drone.control.alive:
            self._drone.control.open()

    def read(self, timeout_s: float) -> Frame | None:
        """See `OlympeSource.read`."""
        return self._drone.source.read(timeout_s)

    def close(self) -> None:
        """Stop the video; the connection stays for the commands."""
        self._drone.source.close()


def _is_connected(report: object) -> bool:
    return isinstance(report, dict) and report.get("state") == LinkState.CONNECTED.value
