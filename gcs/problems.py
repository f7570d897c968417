"""Refusals over HTTP: what was sent, what was expected and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from gcs.schemas import Problem

MEDIA_TYPE = "application/problem+json"
_SHOWN_CHARS = 200


class ProblemError(Exception):
    """A request that cannot be done; the route's way to answer 4xx or 503."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        received: object = None,
        expected: str | None = None,
        mend: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(
            type=f"/problems#{title.lower().replace(' ', '-')}",
            title=title,
            status=status,
            detail=detail,
            input=None if received is None else shown(received),
            expected=expected,
            mend=mend,
        )


def shown(value: object) -> str:
    """Write a value for a message: bounded, and valid text for JSON whatever it held."""
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """Turn a problem into its response."""
    return JSONResponse(
        problem.model_dump(exclude_none=True), problem.status, headers, media_type=MEDIA_TYPE
    )


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem_response(error.problem)


async def _on_validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = _nearest(error.errors())
    parts = [str(part) for part in first["loc"] if part != "body"]
    place = ".".join(part for part in parts if not _is_branch(part)) or "body"
    if first["type"] == "json_invalid":
        detail = f"the body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}"
        problem = ProblemError(
            400, "Malformed JSON", detail, expected="one JSON object", mend="see /docs"
        ).problem
        return problem_response(problem)
    title = "Unknown field" if first["type"] == "extra_forbidden" else "Invalid request"
    problem = ProblemError(
        422,
        title,
        f"{place}: {shown(first['msg'])}",
        received=first.get("input"),
        expected=shown(first["msg"]),
        mend=f"correct {place}; the fields are listed at /docs",
    ).problem
    return problem_response(problem)


def _nearest(errors: Sequence[Any]) -> dict[str, Any]:
    """Of a field that may be written in two ways, the complaint about the way that was taken."""
    names_given = (
        e for e in errors if e["type"] != "list_type" or not isinstance(e["input"], dict)
    )
    return dict(next(names_given, errors[0]))


def _is_branch(part: str) -> bool:
    """Whether a part of a place names one of those ways, which the sender did not write."""
    return part.startswith("list[") or part in ("BoxFields", "PointFields")


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    titles = {404: "Not found", 405: "Method not allowed", 413: "Body too large"}
    mends = {
        404: "the addresses are listed at /docs",
        405: "see /docs for the method",
        413: "send one small JSON object",
    }
    problem = ProblemError(
        error.status_code,
        titles.get(error.status_code, "Request refused"),
        str(error.detail),
        mend=mends.get(error.status_code),
    ).problem
    return problem_response(problem, dict(error.headers or {}))


def add_handlers(app: FastAPI) -> None:
    """Answer every refusal of an application with a problem body."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
