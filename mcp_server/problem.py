"""Errors over HTTP as RFC 9457 problem details, with the same code, sentence and next step as everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from mcp_server.answer import Answer
from semantic_layer.errors import WellheadError

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1

_STATUS: Mapping[str, int] = {
    "invalid_argument": 400,
    "invalid_filter": 400,
    "unknown_name": 404,
    "refused": 403,
    "unauthenticated": 401,
    "busy": 503,
    "engine_unavailable": 503,
    "edition_conflict": 409,
    "deadline_exceeded": 504,
}
"""HTTP status by error code; every other failure is a 500."""


def status_of(error: WellheadError) -> int:
    """The HTTP status for an error."""
    return _STATUS.get(error.code, 500)


def problem(error: WellheadError, **more: Any) -> dict[str, Any]:
    """The problem object: type, title, status, detail, and ours: code, hint, retryable."""
    form: dict[str, Any] = {
        "type": f"urn:wellhead:error:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": status_of(error),
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
    }
    if error.hint:
        form["hint"] = error.hint
    return {**form, **more}


def problem_response(
    error: WellheadError, *, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """The response for an error; one that a retry may mend says when."""
    status = status_of(error)
    sent = dict(headers or {})
    if status == 503:
        sent.setdefault("Retry-After", str(RETRY_SECONDS))
    return JSONResponse(problem(error, **more), status_code=status, headers=sent, media_type=MEDIA_TYPE)


def answer_problem(answer: Answer, error: WellheadError) -> JSONResponse:
    """The response for an answer that is a refusal or failure; the receipt comes with it."""
    more: dict[str, Any] = {"receipt": answer.receipt.to_json()}
    detail = answer.data.get("error")
    if isinstance(detail, dict) and "rule" in detail:
        more["rule"] = detail["rule"]
    return problem_response(error, **more)
