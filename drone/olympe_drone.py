"""A Parrot drone as one thing: connection, video and command sender, opened and closed together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType

from drone.olympe_command import FullScale, PilotingLimits
from drone.olympe_control import OlympeControl
from drone.olympe_link import OlympeLink
from drone.olympe_models import MEDIA_NAME
from drone.olympe_sdk import OlympeSdk, Sdk
from drone.olympe_settings import VehicleSettings
from drone.olympe_source import OlympeSource
from drone.olympe_vehicle import OlympeVehicle
from drone.sender_core import SenderConfig

logger = logging.getLogger(__name__)


class OlympeDrone:
    """Video and control over one connection of this process; the way through a SkyController."""

    def __init__(
        self,
        ip: str,
        *,
        url: str | None = None,
        media_name: str = MEDIA_NAME,
        limits: PilotingLimits | None = None,
        sender: SenderConfig | None = None,
        settings: VehicleSettings | None = None,
        speed_m_s: float = FullScale.speed_m_s,
        make_sdk: Callable[[], Sdk] = OlympeSdk,
    ) -> None:
        """Name the drone; nothing is opened yet.

        Raises:
            ControlError: not an IPv4 address.
        """
        self.link = OlympeLink(ip, settings, make_sdk=make_sdk)
        self.source = OlympeSource(ip, self.link, url=url, media_name=media_name)
        self.vehicle = OlympeVehicle(self.link, limits, speed_m_s)
        self.control = OlympeControl(self.vehicle, sender)

    def open(self) -> None:
        """Connect, play, and be ready to command; nothing is commanded.

        Raises:
            ControlError: no drone, the wrong model, or it refuses; nothing stays open.
            SourceError: it gives no video; nothing stays open.
            MissingExtraError: the SDK is not installed.
        """
        try:
            self.link.open()
            self.source.open()
            self.control.open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Zeros, sticks back, video off, connection closed; calling it twice is allowed."""
        self.control.close()
        self.source.close()
        self.link.close()

    def __enter__(self) -> OlympeDrone:
        """Open it."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
