"""Which Host and Origin headers are answered: DNS rebinding reaches nothing, on any path."""

from __future__ import annotations

from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.settings import ServingSettings

_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_ANY_ADDRESS = ("0.0.0.0", "::")


def transport_security(settings: ServingSettings) -> TransportSecuritySettings:
    """The hosts and origins of this server: where it listens and its public name; local ones where it is local."""
    names = {settings.origin.partition("://")[2], f"{settings.host}:{settings.port}"}
    if settings.host in (*_LOCAL, "::1", *_ANY_ADDRESS):
        names.update(f"{name}:*" for name in _LOCAL)
    origins = {settings.origin, *(f"http://{name}" for name in names)}
    return TransportSecuritySettings(allowed_hosts=sorted(names), allowed_origins=sorted(origins))


class CheckHost:
    """ASGI middleware that answers only requests for this server's own names, from its own origins."""

    def __init__(self, app: ASGIApp, security: TransportSecuritySettings) -> None:
        self._app = app
        self._check = TransportSecurityMiddleware(security)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = await self._check.validate_request(Request(scope), is_post=False)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
