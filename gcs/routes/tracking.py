"""Start and stop a track."""

from __future__ import annotations

from fastapi import APIRouter

from gcs.beginning import NoVideoError, UnknownTargetError
from gcs.history import FrameGoneError
from gcs.problems import ProblemError
from gcs.requests import GivenUpError, StartOrder, StopOrder
from gcs.schemas import Problem, Started, StartRequest, Stopped
from gcs.session import SessionError
from gcs.station import CurrentStation, unavailable
from model.errors import BackendError, BoxError
from model.geometry import MIN_TARGET_PX

router = APIRouter(prefix="/api/tracking", tags=["tracking"])

REFUSALS: dict[int | str, dict[str, object]] = {
    409: {"model": Problem, "description": "the state does not allow it"},
    410: {"model": Problem, "description": "the frame is gone"},
    422: {"model": Problem, "description": "the request cannot be used"},
    503: {"model": Problem, "description": "no video or no engine"},
}


@router.post("/start", responses=REFUSALS)
async def start_tracking(request: StartRequest, station: CurrentStation) -> Started:
    """Start a track with a box or a point, on the frame the operator saw."""
    try:
        started = await station.ask(StartOrder(request))
    except SessionError as error:
        raise ProblemError(
            409,
            "Already tracking",
            str(error),
            expected="state IDLE",
            mend="POST /api/tracking/stop first, or send replace: true",
        ) from None
    except BoxError as error:
        raise ProblemError(
            422,
            "Unusable box",
            str(error),
            received=request.box_values() or request.point_values(),
            expected=f"a box inside the frame, at least {MIN_TARGET_PX:g} px a side",
            mend="draw the box around the whole target",
        ) from None
    except FrameGoneError as error:
        raise ProblemError(
            410,
            "Frame gone",
            str(error),
            received=request.frame_id,
            expected="the frame_id of a recent picture",
            mend="draw on a newer picture",
        ) from None
    except UnknownTargetError as error:
        raise ProblemError(
            422, "Unknown target", str(error), received=request.target, mend="leave target out"
        ) from None
    except GivenUpError as error:
        raise ProblemError(
            409,
            "Stopped",
            str(error),
            expected="no stop while the start is made ready",
            mend="POST /api/tracking/start again",
        ) from None
    except NoVideoError as error:
        raise unavailable(str(error)) from None
    except BackendError as error:
        raise unavailable(f"the engine failed: {error}") from None
    assert isinstance(started, Started)
    return started


@router.post("/stop", responses={409: REFUSALS[409], 503: REFUSALS[503]})
async def stop_tracking(station: CurrentStation) -> Stopped:
    """Stop the track; the vehicle hovers at once."""
    station.calm()
    try:
        stopped = await station.ask(StopOrder())
    except SessionError as error:
        raise ProblemError(
            409,
            "Nothing tracked",
            str(error),
            expected="state TRACKING or LOST",
            mend="POST /api/tracking/start first",
        ) from None
    except NoVideoError as error:
        raise unavailable(str(error)) from None
    assert isinstance(stopped, Stopped)
    return stopped
