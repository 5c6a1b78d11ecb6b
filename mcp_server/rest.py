"""The REST twin: each tool is `POST /api/tools/{name}`, from the same functions, grants and receipts."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mcp_server.answer_schema import ANSWER_SCHEMA
from mcp_server.arguments import input_schema
from mcp_server.credentials import PURPOSE_HEADER
from mcp_server.identity import caller_of
from mcp_server.problem import MEDIA_TYPE, answer_problem, problem_response
from mcp_server.refusals import DoorRefusals
from mcp_server.runner import CallRunner
from mcp_server.session import Caller
from mcp_server.tool import Tool
from semantic_layer.errors import InvalidArgument

PREFIX = "/api"
_PROBLEM_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "hint": {"type": "string"},
        "rule": {"type": "string"},
        "retryable": {"type": "boolean"},
        "receipt": {"type": "object"},
    },
    "required": ["type", "title", "status", "detail", "code", "retryable"],
}
COMPONENTS: Mapping[str, Any] = {
    "schemas": {
        "Answer": {name: value for name, value in ANSWER_SCHEMA.items() if name != "$schema"},
        "Problem": _PROBLEM_SCHEMA,
    },
    "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
}
"""What the paths of the OpenAPI document refer to."""

_FAILURES = {
    "400": "An argument cannot be used as given.",
    "401": "No usable credential.",
    "403": "Refused by policy; `rule` names it.",
    "404": "A name that does not exist for this caller.",
    "413": "The body is too large.",
    "429": "One of the caller's own limits is used up; Retry-After says when to call again.",
    "500": "The server failed; the receipt's audit id finds the reason in its log.",
    "503": "Busy, or an engine does not answer; Retry-After says when to try again.",
    "504": "Past the deadline.",
}


class BodyTooLarge(InvalidArgument):
    """A body that is not read to its end."""


def rest_routes(runner: CallRunner, refusals: DoorRefusals) -> APIRouter:
    """One path a tool, and one for every other name: a tool that the caller may not know answers as one that is not.

    The OpenAPI document at /api/openapi.json holds the tools of the caller's scopes.
    """
    routes = APIRouter(prefix=PREFIX)
    for tool in runner.service.tools.values():
        routes.add_api_route(
            f"/tools/{tool.name}",
            _endpoint(runner, refusals, tool.name),
            methods=["POST"],
            name=tool.name,
            operation_id=tool.name,
            summary=tool.description.split(". ")[0].rstrip(".") + ".",
            description=tool.description,
            tags=["tools"],
            response_class=JSONResponse,
            openapi_extra=_openapi(tool),
        )
    routes.add_api_route(
        "/tools/{name}", _endpoint(runner, refusals), methods=["POST"], name="unknown", include_in_schema=False
    )
    routes.add_api_route("/openapi.json", _document(runner), methods=["GET"], include_in_schema=False)
    return routes


def _document(runner: CallRunner) -> Callable[[Request], Awaitable[Response]]:
    async def document(request: Request) -> Response:
        """The OpenAPI document of this caller's tools."""
        app: FastAPI = request.app
        known = {tool.name for tool in runner.service.tools_of(caller_of(request.scope))}
        described = app.openapi()
        hidden = {f"{PREFIX}/tools/{name}" for name in runner.service.tools if name not in known}
        paths = {path: item for path, item in described["paths"].items() if path not in hidden}
        return JSONResponse({**described, "paths": paths})

    return document


def _endpoint(
    runner: CallRunner, refusals: DoorRefusals, known: str = ""
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        name = known or str(request.path_params["name"])
        caller = Caller(caller_of(request.scope), "rest", request.headers.get("user-agent", ""))
        try:
            arguments = await _arguments(request, runner.service.settings.max_request_bytes)
        except InvalidArgument as error:
            large = isinstance(error, BodyTooLarge)
            why = "the body is too large." if large else "the body is no JSON object."
            refusals.note(request.scope, error.code, why, caller.principal.subject)
            return problem_response(error, status=413 if large else 0)
        found = await runner.call(caller, name, arguments)
        if found.error is not None:
            return answer_problem(found, found.error)
        return JSONResponse(found.to_json())

    return answer


async def _arguments(request: Request, most_bytes: int) -> Mapping[str, Any]:
    """The JSON object in the body. Raises InvalidArgument for anything else; numbers must be finite."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most_bytes:
            raise BodyTooLarge(f"the body is larger than {most_bytes} bytes.", hint="Send less.")
    if not body:
        return {}
    try:
        data: Any = json.loads(body, parse_constant=_not_finite, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"the body is not JSON: {str(error)[:100]}.", hint="Send an object with the tool's arguments."
        ) from None
    if not isinstance(data, dict):
        raise InvalidArgument("the body must be a JSON object.", hint="Send an object with the tool's arguments.")
    return cast("dict[str, Any]", data)


def _not_finite(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} stands twice")
        found[name] = value
    return found


def _openapi(tool: Tool) -> dict[str, Any]:
    failure = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
    responses: dict[str, Any] = {
        code: {"description": words, "content": failure} for code, words in _FAILURES.items()
    }
    responses["200"] = {"description": "The answer.", "content": answer}
    purpose = {
        "name": PURPOSE_HEADER,
        "in": "header",
        "required": False,
        "description": "Act for this one of the caller's purposes.",
        "schema": {"type": "string", "maxLength": 100},
    }
    return {
        "parameters": [purpose],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": input_schema(tool.arguments)}},
        },
        "responses": responses,
        "security": [{"bearer": []}, {}],
    }
