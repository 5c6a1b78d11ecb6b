"""Errors over HTTP as RFC 9457 problem details, with the same code, sentence and next step as everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from mcp_server.answer import Answer
from semantic_layer.errors import LimitExceeded, UnknownName, WellheadError

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1

_STATUS: Mapping[str, int] = {
    "invalid_argument": 400,
    "invalid_filter": 400,
    "unknown_name": 404,
    "refused": 403,
    "unauthenticated": 401,
    "busy": 503,
    "limit_exceeded": 429,
    "engine_unavailable": 503,
    "edition_conflict": 409,
    "deadline_exceeded": 504,
}
"""HTTP status by error code; every other failure is a 500."""


def status_of(error: WellheadError) -> int:
    """The HTTP status for an error. A misspelt part of the request is a 400, an unknown thing asked for a 404."""
    if isinstance(error, UnknownName) and ("argument" in error.kind or "key" in error.kind):
        return 400
    return _STATUS.get(error.code, 500)


def problem_response(
    error: WellheadError, *, status: int = 0, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """The response for an error, under its own status where none is given; one that a retry may mend says when.

    The problem object holds type, title, status and detail, and ours: code, hint, retryable and `more`.
    """
    status = status or status_of(error)
    form: dict[str, Any] = {
        "type": f"urn:wellhead:error:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": status,
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
    }
    if error.hint:
        form["hint"] = error.hint
    sent = dict(headers or {})
    if status in (429, 503):
        sent.setdefault(
            "Retry-After", str(error.retry_after if isinstance(error, LimitExceeded) else RETRY_SECONDS)
        )
    return JSONResponse({**form, **more}, status_code=status, headers=sent, media_type=MEDIA_TYPE)


def answer_problem(answer: Answer, error: WellheadError) -> JSONResponse:
    """The response for an answer that is a refusal or failure; the receipt comes with it."""
    more: dict[str, Any] = {"receipt": answer.receipt.to_json()}
    detail = answer.data.get("error")
    if isinstance(detail, dict) and "rule" in detail:
        more["rule"] = detail["rule"]
    return problem_response(error, **more)
