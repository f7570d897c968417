"""Grant a level of control, confirm forward flight, take over."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection

from gcs.pilot import GrantError, Pilot
from gcs.problems import ProblemError
from gcs.schemas import LevelName, Problem, Strict
from gcs.situation import ControlLevel
from gcs.station import LEVEL_NAMES

router = APIRouter(
    prefix="/api/follow",
    tags=["follow"],
    responses={409: {"model": Problem, "description": "the state does not allow it"}},
)


SOURCES = ("stick", "key", "api")
"""Who can take over."""
BODY_TIMEOUT_S = 0.1
"""An override does not wait longer for the word who it was."""


class LevelRequest(Strict):
    """The level that the operator grants."""

    level: LevelName = Field(description="CAMERA: yaw and gimbal; FOLLOW: forward too")


class FollowStatus(BaseModel):
    """What may be commanded now, and why."""

    level: LevelName
    confirmed: bool = Field(description="forward flight is confirmed for this target")
    action: str | None = Field(default=None, description="what the newest decision let through")
    rule: str | None = Field(default=None, description="line of the table in docs/safety.md")
    reason: str | None = None


def pilot_of(connection: HTTPConnection) -> Pilot:
    """The follow controller of this station.

    Raises:
        ProblemError: the source cannot be commanded.
    """
    pilot = getattr(connection.app.state, "pilot", None)
    if not isinstance(pilot, Pilot):
        raise ProblemError(
            409,
            "No vehicle control",
            "the source of this station cannot be commanded",
            expected="a source that answers to commands",
            mend="serve the simulator or a drone",
        )
    return pilot


CurrentPilot = Annotated[Pilot, Depends(pilot_of)]


@router.get("")
async def follow_status(pilot: CurrentPilot) -> FollowStatus:
    """The level, the confirmation and the newest decision with its reason."""
    return _status(pilot)


@router.post("")
async def grant_level(request: LevelRequest, pilot: CurrentPilot) -> FollowStatus:
    """Grant a level; OFF hovers at once. FOLLOW flies forward only after it is confirmed."""
    pilot.grant(ControlLevel[request.level])
    return _status(pilot)


@router.post("/confirm")
async def confirm_follow(pilot: CurrentPilot) -> FollowStatus:
    """Let the vehicle fly forward on the target that it holds now."""
    try:
        pilot.confirm()
    except GrantError as error:
        raise ProblemError(
            409,
            "Not confirmed",
            str(error),
            expected="level FOLLOW and a target that is surely tracked",
            mend="grant FOLLOW, wait for the target to be held, confirm again",
        ) from None
    return _status(pilot)


OVERRIDE_BODY = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"source": {"enum": list(SOURCES)}}}
            }
        },
    }
}


@router.post("/override", openapi_extra=OVERRIDE_BODY)
async def take_over(request: Request, pilot: CurrentPilot) -> FollowStatus:
    """Take over: neutral has gone out when this answers, and the level is OFF.

    No body is needed, and none is refused: `{"source": "key"}` (`stick`, `api`) names who took
    over in the flight log.
    """
    pilot.hover()  # at once: the body may be long in coming
    body = b""
    with contextlib.suppress(HTTPException, ClientDisconnect, asyncio.TimeoutError, TimeoutError):
        body = await asyncio.wait_for(request.body(), BODY_TIMEOUT_S)
    pilot.override(_source_in(body))
    return _status(pilot)


def _source_in(body: bytes) -> str:
    try:
        source = json.loads(body)["source"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return "api"
    return source if source in SOURCES else "api"


def _status(pilot: Pilot) -> FollowStatus:
    status = pilot.status
    verdict = status.verdict
    return FollowStatus(
        level=LEVEL_NAMES[status.level],
        confirmed=status.confirmed,
        action=None if verdict is None else verdict.action.name,
        rule=None if verdict is None else verdict.rule,
        reason=None if verdict is None else verdict.reason,
    )
