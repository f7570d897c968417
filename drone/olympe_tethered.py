"""A drone behind a SkyController, which takes one connection: video and commands share it."""

from __future__ import annotations

from collections.abc import Callable

from drone.control import RateCommand, Told
from drone.frame import Frame
from drone.olympe_drone import OlympeDrone
from drone.olympe_link import LinkState
from drone.watch import Watch


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
