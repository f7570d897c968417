"""Sign in with the station's token."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gcs.guard import COOKIE, Keeper, address_of
from gcs.problems import ProblemError
from gcs.schemas import Problem, SignInRequest

router = APIRouter(tags=["access"])


@router.post(
    "/api/sign-in",
    status_code=204,
    responses={401: {"model": Problem}, 429: {"model": Problem}},
)
async def sign_in(body: SignInRequest, request: Request) -> Response:
    """Exchange the token for a session cookie that scripts cannot read."""
    keeper = request.app.state.keeper
    assert isinstance(keeper, Keeper)
    session = keeper.sign_in(body.token, address_of(request.scope))
    if session is None:
        raise ProblemError(
            401, "Wrong token", "the token is not this station's", mend="ask who started it"
        )
    response = Response(status_code=204)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, session, httponly=True, samesite="strict", secure=secure)
    return response
