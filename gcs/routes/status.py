"""State and health."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gcs.schemas import Health, Notice, Status
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


@router.get("/health", responses={503: {"model": Health}})
async def read_health(station: CurrentStation, response: Response) -> Health:
    """Whether the loop turns, the video lives and the engine answers; 503 when one does not."""
    health = station.health()
    if not health.healthy:
        response.status_code = 503
    return health
