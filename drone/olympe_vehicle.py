"""Commands to a Parrot drone: who holds the sticks, what goes on the wire, and when it stops."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from drone.control import RateCommand
from drone.errors import ControlError
from drone.frame import Telemetry
from drone.olympe_command import (
    NEUTRAL,
    FullScale,
    PilotingCommand,
    PilotingLimits,
    piloting_command,
)
from drone.olympe_link import LinkState, OlympeLink

logger = logging.getLogger(__name__)

PCMD = "ardrone3.Piloting.PCMD"
GIMBAL = "gimbal.set_target"
PILOTING_SOURCE = "skyctrl.CoPiloting.setPilotingSource"
GIMBAL_EVERY_S = 0.1
GIMBAL_ZEROS = 5
"""The gimbal keeps its last speed for ever: its stop is said several times."""
IDLE_RELEASE_S = 0.5
"""Sticks that nobody commands for so long go back to the pilot."""


class OlympeVehicle:
    """Writes rate commands to a drone; the `VehicleLink` of the sender, in whichever process.

    Through a SkyController the sticks fly the drone until `setPilotingSource` gives them to us:
    that happens with the first command that is not neutral, and is undone when the commands end.
    `overrules` counts how often the pilot took them back from us.
    While the drone flies home nothing but neutral goes out. Motors are never cut from here.
    """

    def __init__(
        self,
        link: OlympeLink,
        limits: PilotingLimits | None = None,
        speed_m_s: float = FullScale.speed_m_s,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Use an open link, which it does not close."""
        self.link = link
        self._limits = limits or PilotingLimits()
        self._speed_m_s = speed_m_s
        self._clock = clock
        # Commands and releases may come from two threads; the SDK takes one at a time.
        self._lock = threading.RLock()
        self._session = 0
        self._taken = False
        self._confirmed = False
        self._overruled = False
        self.overrules = 0
        self._written_ns = 0
        self._gimbal = 0.0
        self._gimbal_ns = 0
        self._gimbal_zeros = GIMBAL_ZEROS
        self._gimbal_unsure = False
        self._gimbal_moved = False

    @property
    def full_scale(self) -> FullScale:
        """What 100 % means to this drone."""
        default = FullScale(speed_m_s=self._speed_m_s)
        return FullScale(
            yaw_deg_s=self.link.state_of("yaw_full_deg_s") or default.yaw_deg_s,
            up_m_s=self.link.state_of("up_full_m_s") or default.up_m_s,
            gimbal_deg_s=self.link.state_of("gimbal_full_deg_s") or default.gimbal_deg_s,
            speed_m_s=default.speed_m_s,
        )

    @property
    def holds_sticks(self) -> bool:
        """True between the first command and the release."""
        return self._taken

    def write(self, command: RateCommand) -> None:
        """Put one command on the wire; does not wait for the drone.

        Raises:
            ControlError: not connected, the drone flies home, or the pilot took the sticks back.
                A neutral command has gone out instead where there is a connection.
        """
        with self._lock:
            self._notice()
            if command.is_neutral:
                self._overruled = False
                refusal = None
            else:
                refusal = self._refusal()
                if refusal is None:
                    self._take()
            idle = refusal is not None or command.is_neutral
            asked = NEUTRAL if idle else piloting_command(command, self._limits, self.full_scale)
            self._send_piloting(asked)
            self._renew_gimbal(asked.gimbal)
            if refusal is not None:
                raise ControlError(f"{self.link.ip}: {refusal}")

    def release(self) -> None:
        """Stop the drone and the gimbal, and give the sticks back; nothing where not needed."""
        with self._lock:
            self._notice()
            moved = self._taken or self._gimbal or self._gimbal_unsure
            if self.link.state is not LinkState.CONNECTED or not moved:
                return
            taken, self._taken = self._taken, False
            try:
                self._send_piloting(NEUTRAL)
                self._send_gimbal(0.0)
                if taken and self._through_controller:
                    self.link.command(PILOTING_SOURCE, source="SkyController", _no_expect=True)
            except ControlError as error:
                logger.warning("release: %s", error)

    def release_if_idle(self) -> None:
        """Give the sticks back when no command went out for half a second.

        Where they are back already, the gimbal's zeros are said to their end.
        """
        with self._lock:
            if self._clock() - self._written_ns > IDLE_RELEASE_S * 1e9:
                self.release()
            self._notice()
            if self._taken or self.link.state is not LinkState.CONNECTED:
                return
            try:
                self._renew_gimbal(0.0)
            except ControlError as error:
                logger.warning("the gimbal's zeros: %s", error)

    def zoom(self, level: float) -> None:
        """Set the zoom level, 1 (none) up to what the camera offers.

        Raises:
            ControlError: not connected, or no such level.
        """
        most = self.link.state_of("zoom_most") or 1.0
        if not 1.0 <= level <= most:
            raise ControlError(f"zoom level {level!r}: expected 1..{most:g}")
        args = {"control_mode": "level", "target": float(level), "_no_expect": True}
        model = self.link.model
        if model is not None and model.camera == "camera2":
            camera = self.link.state_of("camera") or 0
            self.link.command("camera2.Command.SetZoomTarget", camera_id=camera, **args)
        else:
            self.link.command("camera.set_zoom_target", cam_id=0, **args)

    def report(self) -> Mapping[str, object]:
        """Say what the drone says, as plain JSON values; see `telemetry_of_report`."""
        self.release_if_idle()
        seen = self.link.telemetry()
        model = self.link.model
        return {
            "state": self.link.state.value,
            "model": None if model is None else model.name,
            "session": self.link.session,
            "holds_sticks": self._taken,
            "overrules": self.overrules,
            "app_pilots": seen.app_pilots,
            "returning_home": seen.returning_home,
            "heard_age_s": seen.heard_age_s,
            "telemetry": dataclasses.asdict(seen.telemetry),
            "age_s": dict(seen.age_s),
            "error": self.link.last_error,
            "settings": [str(one) for one in self.link.settings_read_back if not one.applied],
        }

    def close(self) -> None:
        """Give the sticks back."""
        self.release()

    @property
    def _through_controller(self) -> bool:
        model = self.link.model
        return model is not None and model.through_controller

    def _notice(self) -> None:
        """Take note of what happened to the connection and to the sticks."""
        if self.link.session != self._session:
            # Whoever commanded before may have died while the gimbal turned, and it turns for ever;
            # our own zeros may not have come through. Behind a controller its pilot may turn it.
            if not self._through_controller or self._gimbal_moved:
                self._gimbal_unsure, self._gimbal_zeros = True, 0
            self._gimbal_moved = False
        if self.link.session != self._session or self.link.state is not LinkState.CONNECTED:
            self._session = self.link.session
            self._taken = self._confirmed = False
        if not self._taken or not self._through_controller:
            return
        app_pilots = self.link.telemetry().app_pilots
        if app_pilots:
            self._confirmed = True
        elif self._confirmed:
            self._taken = self._confirmed = False
            self._overruled = True
            self.overrules += 1

    def _refusal(self) -> str | None:
        if self.link.telemetry().returning_home:
            return "the drone flies home; commands wait until it has ended"
        if self._overruled:
            return "the pilot took the sticks back; stop commanding before taking them again"
        return None

    def _take(self) -> None:
        if self._taken:
            return
        if self._through_controller:
            self.link.command(PILOTING_SOURCE, source="Controller", _no_expect=True)
        self._taken, self._confirmed = True, False

    def _send_piloting(self, out: PilotingCommand) -> None:
        rates = {"roll": out.roll, "pitch": out.pitch, "yaw": out.yaw, "gaz": out.gaz}
        self.link.command(PCMD, flag=out.flag, **rates, timestampAndSeqNum=0)
        self._written_ns = self._clock()

    def _renew_gimbal(self, speed: float) -> None:
        """Send a changed speed at once, the same one now and then, and zeros a few times."""
        if speed == self._gimbal:
            due = self._clock() - self._gimbal_ns >= GIMBAL_EVERY_S * 1e9
            if not due or (not speed and self._gimbal_zeros >= GIMBAL_ZEROS):
                return
        self._send_gimbal(speed)

    def _send_gimbal(self, speed: float) -> None:
        self.link.command(
            GIMBAL,
            gimbal_id=0,
            control_mode="velocity",
            yaw_frame_of_reference="none",
            yaw=0.0,
            pitch_frame_of_reference="relative",
            pitch=float(speed),
            roll_frame_of_reference="none",
            roll=0.0,
            _no_expect=True,
        )
        self._gimbal_zeros = 0 if speed else self._gimbal_zeros + 1
        self._gimbal, self._gimbal_ns = speed, self._clock()
        self._gimbal_moved = self._gimbal_moved or bool(speed)
        self._gimbal_unsure = False


def telemetry_of_report(report: Mapping[str, Any] | None) -> Telemetry:
    """Read the telemetry out of what `OlympeVehicle.report` said, in another process perhaps."""
    return Telemetry(**report["telemetry"]) if report else Telemetry()


class OwnedVehicle(OlympeVehicle):
    """An OlympeVehicle that closes its own link with itself."""

    def close(self) -> None:
        """Give the sticks back and disconnect."""
        super().close()
        self.link.close()


def open_vehicle(
    ip: str, limits: Mapping[str, int] | None = None, speed_m_s: float = FullScale.speed_m_s
) -> OwnedVehicle:
    """Connect, for a sender process: `drone.olympe_vehicle:open_vehicle` with plain options.

    Raises:
        ControlError: no drone, the wrong model, or limits that cannot be.
        MissingExtraError: the SDK is not installed.
    """
    checked = PilotingLimits(**(limits or {}))
    link = OlympeLink(ip)
    link.open()
    return OwnedVehicle(link, checked, speed_m_s)
