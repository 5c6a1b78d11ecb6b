"""The HTTP server: MCP at /mcp, its REST twin under /api, health checks, and what runs beside them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request
from mcp.server.lowlevel import Server
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.connection import TurnsAway
from mcp_server.credentials import Authenticate
from mcp_server.endpoint import PATH, McpEndpoint
from mcp_server.health import health_routes
from mcp_server.hosts import CheckHost, transport_security
from mcp_server.identity import bearer_of
from mcp_server.identity_metadata import metadata_routes
from mcp_server.logs import log_call
from mcp_server.metrics import Metrics
from mcp_server.overload import AskedByConnections, RefuseOverload
from mcp_server.plain_call import PlainCalls
from mcp_server.problem import MEDIA_TYPE
from mcp_server.protocol import Context, Identify, build_server
from mcp_server.refresher import refreshing
from mcp_server.refusals import DoorRefusals
from mcp_server.rest import COMPONENTS, rest_routes
from mcp_server.runner import CallRunner
from mcp_server.service import Service
from mcp_server.session import Caller
from mcp_server.stopping import Stopping
from mcp_server.subscriptions import Subscriptions
from mcp_server.worker import working
from semantic_layer.principal import ANONYMOUS

MakeServer = Callable[[CallRunner, Identify, str, Subscriptions], Server[Any]]


class WellheadApp(FastAPI):
    """The application; its OpenAPI document holds each schema once.

    Every request passes the `door` first, which hands it to `routed`.
    """

    door: ASGIApp
    endpoint: McpEndpoint
    turns_away: TurnsAway

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document."""
        document = super().openapi()
        document.setdefault("components", {}).update(COMPONENTS)
        return document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.door(scope, receive, send)

    async def routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request that was let in to what answers it: the protocol's before any routing."""
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] in self.endpoint.methods:
            await self.endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


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
    refusals = DoorRefusals(service.audit)
    subscriptions = Subscriptions(runner, http_caller)
    stopping.at_once(subscriptions.close)
    server = make_server(runner, http_caller, version("wellhead"), subscriptions)
    server.middleware.append(metrics.operation)
    calls = PlainCalls(server, runner, metrics.operation)
    endpoint = McpEndpoint(server, settings.max_request_bytes, calls, sessions=sessions)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with (
            endpoint.running(),
            refreshing(service.library, settings.refresh_seconds, subscriptions.look),
            working(settings.worker_command),
        ):
            yield
        overload.tarpit.close()
        await service.verifier.close()
        await to_thread.run_sync(refusals.close)

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
    app.include_router(rest_routes(runner, refusals))
    app.state.stopping = stopping
    app.state.metrics = metrics
    app.add_exception_handler(HTTPException, _http_problem)
    app.router.routes.append(Route(PATH, endpoint, methods=sorted(endpoint.methods)))
    app.endpoint = endpoint
    overload = RefuseOverload(app.routed, runner.pace, stopping, refusals)
    authenticate = Authenticate(overload, settings, service.verifier, refusals)
    app.turns_away = AskedByConnections(overload, authenticate.known)
    app.door = CheckHost(authenticate, transport_security(settings), refusals)
    return app


def http_caller(ctx: Context) -> Caller:
    """Who sent an MCP request over HTTP: the verified token's principal, or ANONYMOUS."""
    bearer = bearer_of(ctx.request.scope) if ctx.request is not None else None
    if bearer is None:
        return Caller(ANONYMOUS, "http", client_name(ctx))
    return Caller(bearer.principal, "http", client_name(ctx), bearer.verified.expires_at)


def client_name(ctx: Context) -> str:
    """What the client calls itself; for the audit log, never trusted."""
    given = ctx.session.client_params
    return f"{given.client_info.name} {given.client_info.version}" if given else ""


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
