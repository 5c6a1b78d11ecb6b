"""A real HTTP server in a thread, for tests that go over the wire."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fastapi import FastAPI
from starlette.types import ASGIApp

from mcp_server.app import build_app
from mcp_server.identity import TokenAuthority
from mcp_server.keys import token_keys
from mcp_server.opening import serving
from mcp_server.service import Service
from mcp_server.serving import http_server
from mcp_server.settings import ServingSettings, serving_settings
from mcp_server.stopping import Stopping
from semantic_layer.principal import Principal
from tests.workspace_factory import BuiltWorkspace


@dataclass(frozen=True)
class Running:
    """A server that answers, and how to be let in."""

    root: Path
    settings: ServingSettings

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return self.settings.origin

    @property
    def url(self) -> str:
        """The MCP endpoint."""
        return self.settings.resource_url

    def token(self, principal: Principal, audience: str | None = None) -> str:
        """A token for this principal and server."""
        return TokenAuthority(token_keys(self.settings.home), audience or self.url).issue(principal)


@contextlib.contextmanager
def running_server(
    workspace: BuiltWorkspace, make_app: Callable[[Service], ASGIApp] = build_app, **changes: object
) -> Iterator[Running]:
    """Serve the workspace over HTTP on a free port until the block ends."""
    # asyncio turns Nagle's algorithm off only for sockets that say they are TCP, as `uvicorn.run` makes them.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        settings = replace(serving_settings(workspace.door), port=listening.getsockname()[1], **changes)
        with serving(settings, {}) as service:
            app = make_app(service)
            stopping = app.state.stopping if isinstance(app, FastAPI) else Stopping()
            server = http_server(app, settings, stopping)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                while not server.started and thread.is_alive():
                    thread.join(0.01)
                yield Running(workspace.root, settings)
            finally:
                server.should_exit = True
                thread.join()
