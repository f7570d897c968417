"""A drone on its own WiFi, commanded by a sender process with a connection of its own."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from drone.control import RateCommand, Told
from drone.errors import ControlError
from drone.frame import Telemetry
from drone.olympe_command import PilotingLimits
from drone.olympe_link import Backoff, LinkState
from drone.olympe_vehicle import telemetry_of_report
from drone.sender import SenderProcess, SenderStatus
from drone.watch import Watch
from model.errors import MlkdError

OPEN_S = 30.0
"""The sender's process imports the SDK and connects; a busy laptop needs most of this."""
SILENT_S = 2.0
"""A sender process that was not heard of for this long is killed and replaced."""
CLOSE_S = 2.0
LINK = "drone.olympe_vehicle:open_vehicle"


class RemoteVehicle:
    """A drone that a sender process commands; the process is replaced when it dies.

    Nothing here is needed for safety: the process makes neutral of commands that grow old.
    """

    def __init__(
        self,
        ip: str,
        limits: PilotingLimits | None = None,
        *,
        make_sender: Callable[[str], SenderProcess] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name the drone; nothing is started."""
        self._ip = ip
        options = {"ip": ip, "limits": dataclasses.asdict(limits or PilotingLimits())}
        self._make = make_sender or (lambda _ip: SenderProcess(LINK, options))
        self._clock = clock
        self._sender: SenderProcess | None = None
        self._opening: SenderProcess | None = None
        self._closing = False
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
        self._closing = False
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
        self._closing = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end(0.0)
            opening = self._opening
            if opening is not None:
                opening.close(grace_s=0.0)  # it has commanded nothing yet
            watch.end(CLOSE_S)
        self._drop("closed")

    def _look(self) -> None:
        sender = self._sender
        if sender is None:
            self._connect()
            return
        status = sender.status
        reason = self._fault(status)
        if reason is not None:
            # Nothing that it could still send reaches the drone: it is not waited for.
            self._drop(reason, grace_s=0.0)
            self._told(f"commands to {self._ip} are interrupted: {self._error}")
            return
        overrules = int((status.report or {}).get("overrules", 0))
        if overrules > self._overrules:
            self._overruled()
        self._overrules = overrules

    def _fault(self, status: SenderStatus) -> str | None:
        """Why a sender has to be replaced."""
        deaf = status.beat_age_s is not None and status.beat_age_s > SILENT_S
        silent = status.beat_age_s is None and self._clock() - self._opened_s > SILENT_S
        if not status.alive or deaf or silent:
            return "the sender process does not answer"
        if _state(status.report) == LinkState.CLOSED.value:
            return "the sender process has given its connection up"
        return None

    def _connect(self) -> None:
        sender = self._opening = self._make(self._ip)
        try:
            sender.open(timeout_s=OPEN_S)
        except (ControlError, MlkdError, OSError) as error:
            if self._closing:
                return
            fresh, self._error = str(error) != self._error, str(error)
            if fresh:
                self._told(f"no command link: {error}")
            if self._watch is not None:
                self._watch.wait(self._backoff.next_s())
            return
        self._backoff.reset()
        self._overrules, self._opened_s = 0, self._clock()
        self._sender, self._error, self._opening = sender, "", None
        self._told(f"commands reach {self._ip}")

    def _drop(self, why: str, grace_s: float = CLOSE_S) -> None:
        sender, self._sender = self._sender, None
        self._error = why
        if sender is not None:
            sender.close(grace_s=grace_s)


def _is_connected(report: object) -> bool:
    return _state(report) == LinkState.CONNECTED.value


def _state(report: object) -> object:
    return report.get("state") if isinstance(report, dict) else None
