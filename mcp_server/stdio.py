"""The same tools over standard input and output, for one local client and its configured principal."""

from __future__ import annotations

from importlib.metadata import version

import anyio
from mcp.server.stdio import stdio_server

from indexes.duck.connection import keep_pandas_out
from mcp_server.app import client_name
from mcp_server.collector import spare_collector
from mcp_server.protocol import Context, build_server
from mcp_server.refresher import refreshing
from mcp_server.runner import CallRunner
from mcp_server.service import Service
from mcp_server.session import Caller
from mcp_server.subscriptions import Subscriptions
from mcp_server.worker import working
from semantic_layer.errors import InvalidArgument


def serve_stdio(service: Service) -> None:
    """Serve until the client closes the pipe. Nothing but the protocol is ever written to standard output."""
    keep_pandas_out()
    spare_collector()
    anyio.run(_serve, service)


async def _serve(service: Service) -> None:
    settings = service.settings
    principal = settings.stdio
    if principal is None:
        raise InvalidArgument("no principal is set for stdio.", hint="Set stdio.principal in wellhead.yaml.")
    known = principal

    def stdio_caller(ctx: Context) -> Caller:
        return Caller(known, "stdio", client_name(ctx))

    runner = CallRunner(service)
    subscriptions = Subscriptions(runner, stdio_caller)
    server = build_server(runner, stdio_caller, version("wellhead"), subscriptions)
    subscriptions.serve_connection(server)
    async with (
        refreshing(service.library, settings.refresh_seconds, subscriptions.look),
        working(settings.worker_command),
        stdio_server() as (reading, writing),
    ):
        await server.run(reading, writing, server.create_initialization_options())
