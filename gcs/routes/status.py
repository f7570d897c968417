"""State and health."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gcs.requests import ReopenOrder
from gcs.schemas import Health, Notice, Problem, Status
from gcs.station import CurrentStation

router = APIRouter(tags=["status"])


@router.get("/api/status")
async def read_status(station: CurrentStation) -> Status:
    """The newest state; the header of a video message holds the same."""
    return station.status()


@router.get("/api/events")
async def read_events(station: CurrentStation) -> list[Notice]:
    """The last events, oldest first."""
    return list(station.journal.events)


@router.post("/api/source/reopen", status_code=202, responses={503: {"model": Problem}})
async def reopen_source(station: CurrentStation) -> Response:
    """Open the source anew: a file from its beginning, a camera by a new connection."""
    station.order(ReopenOrder())
    return Response(status_code=202)


@router.get("/health", responses={503: {"model": Health}})
async def read_health(station: CurrentStation, response: Response) -> Health:
    """Whether the loop turns, the video lives and the engine answers; 503 when one does not."""
    health = station.health()
    if not health.healthy:
        response.status_code = 503
    return health
