"""Runs the HTTP application in this process until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from indexes.duck.connection import keep_pandas_out
from indexes.duck.workers import shared_workers
from mcp_server.app import build_app
from mcp_server.collector import spare_collector
from mcp_server.connection import MOST_HEAD_BYTES
from mcp_server.identity_metadata import require_safe_address
from mcp_server.listening import require_free
from mcp_server.logs import log_to
from mcp_server.member import Member
from mcp_server.metrics import exposing
from mcp_server.service import Service
from mcp_server.settings import ServingSettings
from mcp_server.stopping import Stopping
from mcp_server.tracing import export_traces

GRACE_SECONDS = 5
"""How long calls that run may take to end at a stop; after that they are answered that the server is stopping."""
UNREADY_SECONDS = 0.5
"""How long a server that was told to stop still answers `/readyz`, red, so that it is sent no more calls."""
LAST_SECONDS = 2
SWITCH_SECONDS = 0.0001
"""How long a thread that computes may keep the others from running: the one that reads and writes waits for it at
every request, and again for each such thread."""
MOST_CONNECTIONS = 4_096
ACCEPTED_AT_ONCE = 8
"""New connections that are taken before the loop turns to those it has: many at once would keep it from them."""
BACKLOG = 2_048
"""New connections that the system keeps until they are taken."""
H11 = "mcp_server.connection_h11:PatientH11"
HTTPTOOLS = "mcp_server.connection_httptools:PatientHttpTools"


def serve_http(service: Service, member: Member | None = None) -> None:
    """Serve on the settings' host and port until a signal; a `member` of several processes on its own sockets.

    Raises InvalidArgument where tokens of an issuer would cross a network in the clear, or the address is not free.
    """
    settings = service.settings
    keep_pandas_out()
    require_safe_address(settings)
    if member is None:
        require_free(settings.host, settings.port)
    else:
        member.end_with_parent()
        shared_workers().bound(member.part(shared_workers().limits.processes))
    if member is None or member.number == 0:
        said = f"MCP {settings.resource_url} · REST {settings.origin}/api · stop with Ctrl-C"
        print(said, file=sys.stderr, flush=True)
    log_to(sys.stderr, settings.log)
    export_traces(os.environ, settings.name)
    sys.setswitchinterval(SWITCH_SECONDS)
    spare_collector()
    app = build_app(service)
    with contextlib.ExitStack() as stack:
        if settings.metrics:
            host, _, port = settings.metrics.rpartition(":")
            stack.enter_context(exposing(app.state.metrics, host or "127.0.0.1", int(port)))
        server = http_server(app, settings, app.state.stopping)
        if member is not None:
            server.when_started = member.say_ready
        server.run(member.sockets() if member is not None else None)


def http_server(app: ASGIApp, settings: ServingSettings, stopping: Stopping) -> HttpServer:
    """The server of an application, not yet running."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="asyncio",
        http=H11 if find_spec("httptools") is None else HTTPTOOLS,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS + LAST_SECONDS,
        timeout_keep_alive=30,
        limit_concurrency=MOST_CONNECTIONS,
        backlog=ACCEPTED_AT_ONCE,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        lifespan="on",
    )
    return HttpServer(config, stopping)


class HttpServer(uvicorn.Server):
    """Stops in order: first not ready, then no new connections, then an end to what still runs. Ends with code 0."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping) -> None:
        super().__init__(config)
        self.when_started: Callable[[], None] | None = None
        self._stopping = stopping
        self._stop_at = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins a stop in order, the second stops at once."""
        if self._stopping.begun:
            self.should_exit = self.force_exit = True
            return
        self._stopping.begin()
        self._stop_at = time.monotonic() + (UNREADY_SECONDS if sig == signal.SIGTERM else 0.0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        for one in (one for server in self.servers for one in server.sockets):
            # asyncio takes as many connections at a time as it asks the system to keep: here these are two numbers.
            with socket.socket(fileno=os.dup(one.fileno())) as same:
                same.listen(BACKLOG)
        if self.when_started is not None:
            self.when_started()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or time.monotonic() >= self._stop_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.let_go()
        last = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._stopping.finish)
        try:
            await super().shutdown(sockets)
        finally:
            last.cancel()
