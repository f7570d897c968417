"""A Parrot drone for a ground station: its video here, its commands from where they outlive us.

On the drone's own WiFi the commands leave from a sender process with a connection of its own.
Through a SkyController, which takes one connection alone, video and commands share this process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from drone.control import StationVehicle
from drone.errors import ControlError, SourceError
from drone.olympe_command import PilotingLimits
from drone.olympe_drone import OlympeDrone
from drone.olympe_models import (
    AbsentError,
    DroneAddress,
    OlympeModel,
    identify,
    parse_address,
)
from drone.olympe_remote import RemoteVehicle
from drone.olympe_rtsp import MediaNameError
from drone.olympe_source import OlympeSource
from drone.olympe_tethered import TetheredSource, TetheredVehicle
from drone.source import FrameSource

logger = logging.getLogger(__name__)

CONTROLLER_NET = "192.168.53."


def station_drone(
    spec: str,
    limits: PilotingLimits | None = None,
    find: Callable[[str], OlympeModel] = identify,
) -> tuple[FrameSource, StationVehicle]:
    """Make the video source and the vehicle of `ADDRESS[:PORT][/MEDIA NAME]`; opens neither.

    A drone that does not answer yet is taken for one on its own WiFi, at a SkyController's usual
    address for one behind that.

    Args:
        spec: what stands behind `olympe:`.
        limits: hard limits of the commands.
        find: says who is there.

    Raises:
        SourceError: it does not have this form, what answers there is no such drone, or it does
            not offer that media name.
    """
    address = parse_address(spec)
    ip, url, media_name = address.ip, address.url, address.media_name
    model = _model(address, find)
    tethered = model.through_controller if model else ip.startswith(CONTROLLER_NET)
    if tethered:
        drone = OlympeDrone(ip, url=url, media_name=media_name, limits=limits)
        return TetheredSource(drone), TetheredVehicle(drone)
    vehicle = RemoteVehicle(ip, limits)
    source = OlympeSource(ip, url=url, media_name=media_name, telemetry=vehicle.telemetry)
    if model is not None:
        _check_media(source)
    return source, vehicle


def _model(address: DroneAddress, find: Callable[[str], OlympeModel]) -> OlympeModel | None:
    """Say who is there; None for nobody, who may come later."""
    try:
        return find(address.ip)
    except AbsentError as error:
        logger.warning("%s; waiting for it", error)
        return None
    except ControlError as error:
        raise SourceError(f"olympe:{address.ip}: {error}") from None


def _check_media(source: OlympeSource) -> None:
    try:
        source.check_media()
    except MediaNameError:
        raise
    except SourceError as error:
        logger.warning("%s; waiting for it", error)
