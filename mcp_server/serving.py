"""Runs the HTTP application in this process until it is told to stop."""

from __future__ import annotations

import sys

import uvicorn

from mcp_server.app import build_app
from mcp_server.service import Service

GRACE_SECONDS = 5


def serve_http(service: Service) -> None:
    """Serve on the settings' host and port; calls that run get GRACE_SECONDS to end at a stop."""
    settings = service.settings
    print(
        f"MCP {settings.resource_url} · REST {settings.origin}/api · stop with Ctrl-C", file=sys.stderr, flush=True
    )
    uvicorn.run(
        build_app(service),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=64 * 1024,
    )
