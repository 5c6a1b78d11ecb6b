"""The protocol's endpoint as a plain ASGI application: requests that are answered at once skip the event stream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.types import Receive, Scope, Send

from mcp_server.plain_call import PlainCalls

PATH = "/mcp"
BRIEF_METHODS = frozenset({"server/discover", "tools/list", "prompts/list", "resources/templates/list"})
"""Methods that are answered from memory."""
BRIEF_TOOLS = frozenset({"status", "describe", "discover"})
"""Tools that are answered from memory: no engine works for them, so there is nothing to report or to cancel."""
_UNPROTECTED = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""Hosts and origins were checked before, for every path (mcp_server/hosts.py)."""


class McpEndpoint:
    """Answers POSTs of both eras of the protocol.

    What may take long is answered by an event stream where it does: with progress, and cancelled when its caller goes
    away. A brief request of the stateless era gets one JSON body and none of the machinery for the other.
    With `sessions` (of the handshake era) every request may become a stream.
    """

    def __init__(self, server: Server[Any], most_bytes: int, calls: PlainCalls, *, sessions: bool = False) -> None:
        self.methods = frozenset({"POST", "GET", "DELETE"} if sessions else {"POST"})
        """Without sessions a GET would hold a stream on which nothing ever comes."""
        self._streaming = _manager(server, most_bytes, stateless=not sessions)
        self._plain = None if sessions else _manager(server, most_bytes, json_response=True)
        self._streamed = AuthContextMiddleware(self._streaming.asgi_app)
        self._answered = AuthContextMiddleware(self._plain.asgi_app) if self._plain else self._streamed
        self._calls = None if sessions else calls

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Ready for requests while the block runs."""
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._streaming.run())
            if self._plain is not None:
                await stack.enter_async_context(self._plain.run())
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._calls is not None:
            rest = await self._calls.answered(scope, receive, send)
            if rest is None:
                return
            receive = rest
        app = self._answered if is_brief(scope) else self._streamed
        await app(scope, receive, send)


def is_brief(scope: Scope) -> bool:
    """Whether a request says in its headers that it is answered at once; the protocol holds its body to them."""
    said = dict(scope["headers"])
    if said.get(b"mcp-protocol-version", b"").decode("latin-1") not in MODERN_PROTOCOL_VERSIONS:
        return False
    method = said.get(b"mcp-method", b"").decode("latin-1")
    if method == "tools/call":
        return said.get(b"mcp-name", b"").decode("latin-1") in BRIEF_TOOLS
    return method in BRIEF_METHODS


def _manager(
    server: Server[Any], most_bytes: int, *, stateless: bool = True, json_response: bool = False
) -> StreamableHTTPSessionManager:
    return StreamableHTTPSessionManager(
        server,
        stateless=stateless,
        json_response=json_response,
        security_settings=_UNPROTECTED,
        max_request_body_size=most_bytes,
    )
