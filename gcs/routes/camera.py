"""Move the camera by hand."""

from __future__ import annotations

from fastapi import APIRouter, Response

from drone.control import RateCommand
from drone.errors import ControlError
from gcs.problems import ProblemError
from gcs.schemas import CameraRequest, Problem
from gcs.station import CurrentStation, unavailable

router = APIRouter(prefix="/api/camera", tags=["camera"])


@router.post("", status_code=204, responses={409: {"model": Problem}, 422: {"model": Problem}})
async def move_camera(request: CameraRequest, station: CurrentStation) -> Response:
    """Turn and move at a rate; it expires by itself within a moment, so send it again to go on.

    Whoever moves by hand takes over: the level of control falls to OFF first.
    """
    if station.control is None:
        raise ProblemError(
            409,
            "No camera control",
            f"the source {station.feed.name} cannot be moved",
            expected="a source with a camera that answers to commands",
            mend="serve the simulator or a drone",
        )
    if station.pilot is not None:
        station.pilot.stick(1.0)
    command = RateCommand(
        yaw_deg_s=request.yaw_deg_s,
        gimbal_pitch_deg_s=request.gimbal_pitch_deg_s,
        forward_m_s=request.forward_m_s,
        issued_ns=station.clock(),
    )
    try:
        if command.is_neutral:
            station.control.neutral()
        else:
            station.control.send(command)
    except ControlError as error:
        raise unavailable(str(error)) from None
    return Response(status_code=204)
