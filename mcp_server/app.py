"""The HTTP server: MCP at /mcp, its REST twin under /api, health checks, and what runs beside them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware, get_access_token
from mcp.server.lowlevel import Server
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from mcp_server.credentials import Authenticate
from mcp_server.health import health_routes
from mcp_server.hosts import CheckHost, transport_security
from mcp_server.identity import principal_of
from mcp_server.identity_metadata import metadata_routes
from mcp_server.logs import log_call
from mcp_server.metrics import Metrics
from mcp_server.overload import RefuseOverload
from mcp_server.problem import MEDIA_TYPE
from mcp_server.protocol import Context, Identify, build_server
from mcp_server.refresher import refreshing
from mcp_server.rest import COMPONENTS, rest_routes
from mcp_server.runner import CallRunner
from mcp_server.service import Service
from mcp_server.session import Caller
from mcp_server.stopping import Stopping
from mcp_server.worker import working

MakeServer = Callable[[CallRunner, Identify, str], Server[Any]]

SPARE_REQUESTS = 16
"""Requests beyond those running and waiting that may be in flight: lists, health, slow bodies."""


class WellheadApp(FastAPI):
    """The application; its OpenAPI document holds each schema once."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document."""
        document = super().openapi()
        document.setdefault("components", {}).update(COMPONENTS)
        return document


def build_app(service: Service, *, make_server: MakeServer = build_server, sessions: bool = False) -> FastAPI:
    """The ASGI application of a service. Its lifespan follows the ledger and, where told so, runs the worker.

    `make_server` builds the MCP server. No session is kept between requests unless `sessions` says so: only
    what a server asks of a client of the handshake era needs one, and no tool of ours asks anything.
    """
    metrics = Metrics(service)
    service = replace(service, observers=(*service.observers, metrics.observe, log_call))
    settings = service.settings
    runner, stopping = CallRunner(service), Stopping()
    stopping.at_last(runner.stop)
    server = make_server(runner, http_caller, version("wellhead"))
    server.middleware.append(metrics.operation)
    security = transport_security(settings)
    mcp_app = server.streamable_http_app(
        stateless_http=not sessions,
        transport_security=security,
        max_request_body_size=settings.max_request_bytes,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with (
            server.session_manager.run(),
            refreshing(service.library, settings.refresh_seconds),
            working(settings.worker_command),
        ):
            yield
        await service.verifier.close()

    app = WellheadApp(
        title="Wellhead",
        description="Governed data products: every answer carries a receipt.",
        version=version("wellhead"),
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(health_routes(service, stopping))
    app.include_router(metadata_routes(settings))
    app.include_router(rest_routes(runner))
    app.state.stopping = stopping
    app.state.metrics = metrics
    app.add_exception_handler(HTTPException, _http_problem)
    app.router.routes.extend(mcp_app.routes if sessions else _post_only(mcp_app.routes))

    most = settings.concurrent_calls + settings.waiting_calls + SPARE_REQUESTS
    app.add_middleware(AuthContextMiddleware)
    app.add_middleware(RefuseOverload, most=most, stopping=stopping)
    app.add_middleware(Authenticate, settings=settings, verifier=service.verifier)
    app.add_middleware(CheckHost, security=security)
    return app


def http_caller(ctx: Context) -> Caller:
    """Who sent an MCP request over HTTP: the verified token's principal, or ANONYMOUS."""
    return Caller(principal_of(get_access_token()), "http", client_name(ctx))


def client_name(ctx: Context) -> str:
    """What the client calls itself; for the audit log, never trusted."""
    given = ctx.session.client_params
    return f"{given.client_info.name} {given.client_info.version}" if given else ""


def _post_only(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    """The protocol's routes for POST alone: without sessions a GET would hold a stream on which nothing ever comes."""
    return [Route(one.path, one.endpoint, methods=["POST"]) for one in routes if isinstance(one, Route)]


async def _http_problem(request: Request, error: Exception) -> Response:
    """Paths and methods that are not, in the one error shape."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(error.detail) if isinstance(error, HTTPException) else "the server failed."
    body = {
        "type": "about:blank",
        "title": detail,
        "status": status,
        "detail": f"{request.method} {request.url.path}: {detail.lower()}.",
        "code": "unknown_path" if status == 404 else "http",
        "retryable": False,
    }
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE)
