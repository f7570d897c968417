"""The command sender of a Parrot drone in this process: a thread that never trusts its caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from drone.control import RateCommand
from drone.errors import ControlError
from drone.olympe_link import LinkState
from drone.olympe_vehicle import OlympeVehicle
from drone.sender_core import Sender, SenderConfig, give, tick

CLOSING_ZEROS = 5
URGENT_ZEROS = 3
"""After `neutral`, when nobody says more, so many zeros go out before the sticks go back."""
LAST_ZEROS = 7
"""The same after a neutral command: it is renewed with each picture, or it was the last one."""


class OlympeControl:
    """A `VehicleControl` in this process: a thread of its own sends at a fixed rate.

    It looks at the age of the newest command at every tick; who calls `send` may hang or die and
    the drone gets explicit zeros. Neutral that nobody renews is the end of the commands: the
    sticks go back to the pilot after a few zeros, 0.1 to 0.3 s later. For a sender that outlives
    this process see `drone.sender`.
    """

    def __init__(
        self,
        vehicle: OlympeVehicle,
        config: SenderConfig | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Send over `vehicle`; starts with `open`."""
        self._vehicle = vehicle
        self._config = config or SenderConfig()
        self._clock = clock
        self._changed = threading.Condition()
        self._sender = Sender()
        self._urgent = False
        self._zeros_left: int | None = None
        self._closing = False
        self._thread: threading.Thread | None = None
        self.sent = self.failures = 0
        self.last_error: str | None = None

    @property
    def expiry_s(self) -> float:
        """Age at which a command turns neutral by itself."""
        return self._config.expiry_s

    @property
    def alive(self) -> bool:
        """True while the sending thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def open(self) -> None:
        """Start the thread; nothing is sent before the first command."""
        if self._thread is not None:
            raise ControlError("the control is open already")
        self._closing = False
        self._sender, self._zeros_left = Sender(), None
        self._thread = threading.Thread(target=self._run, name="olympe-control", daemon=True)
        self._thread.start()

    def send(self, command: RateCommand) -> None:
        """Replace the current command; it goes out at once, and again until it expires.

        Raises:
            ControlError: the drone is not connected, or the sender is not running.
        """
        if not self.alive:
            raise ControlError("the command sender is not running: call open first")
        if self._vehicle.link.state is not LinkState.CONNECTED:
            raise ControlError(f"{self._vehicle.link.ip}: not connected")
        with self._changed:
            self._sender = give(self._sender, command, self._config)
            self._zeros_left = LAST_ZEROS if self._sender.command.is_neutral else None
            self._urgent = True
            self._changed.notify()

    def neutral(self) -> None:
        """Hover and hold the gimbal at once; safe at any time."""
        with self._changed:
            if self._sender.started:
                now = RateCommand(issued_ns=self._clock())
                self._sender = give(self._sender, now, self._config)
                self._zeros_left = URGENT_ZEROS
                self._urgent = True
                self._changed.notify()

    def close(self) -> None:
        """Send zeros, give the sticks back and end the thread; calling it twice is allowed."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(2.0)

    def _run(self) -> None:
        period_s = 1 / self._config.rate_hz
        try:
            while True:
                with self._changed:
                    if not self._urgent and not self._closing:
                        self._changed.wait(period_s)
                    self._urgent = False
                    if self._closing:
                        self._zeros_left = None
                        break
                    self._sender, _, command = tick(self._sender, self._clock(), self._config)
                self._put(command)
            for _ in range(CLOSING_ZEROS if self._sender.started else 0):
                self._put(RateCommand())
                time.sleep(period_s)
        finally:
            self._vehicle.release()

    def _put(self, command: RateCommand | None) -> None:
        try:
            if command is None:
                self._vehicle.release_if_idle()
                return
            self._vehicle.write(command)
            self.sent += 1
            if self._is_last(command):
                self._vehicle.release()
        except Exception as error:
            # The next tick tries again; a dead sender would leave the drone without its zeros.
            self.failures += 1
            self.last_error = f"{type(error).__name__}: {error}"

    def _is_last(self, command: RateCommand) -> bool:
        """Count a command that went out; true for the last of the zeros that nobody renewed."""
        with self._changed:
            if self._zeros_left is None or not command.is_neutral:
                return False
            self._zeros_left -= 1
            if self._zeros_left > 0:
                return False
            self._sender, self._zeros_left = Sender(), None
        return True
