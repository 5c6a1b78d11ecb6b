"""Which Host and Origin headers are answered: DNS rebinding reaches nothing, on any path."""

from __future__ import annotations

from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.refusals import DoorRefusals
from mcp_server.settings import ServingSettings

MISDIRECTED = 421
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_ANY_ADDRESS = ("0.0.0.0", "::")
_MOST_PASSED = 1_000
"""What passed is remembered; any port of a local name passes, so that a stranger could make up many."""


def transport_security(settings: ServingSettings) -> TransportSecuritySettings:
    """The hosts and origins of this server: where it listens and its public name; local ones where it is local."""
    names = {settings.origin.partition("://")[2], f"{settings.host}:{settings.port}"}
    if settings.host in (*_LOCAL, "::1", *_ANY_ADDRESS):
        names.update(f"{name}:*" for name in _LOCAL)
    origins = {settings.origin, *(f"http://{name}" for name in names)}
    return TransportSecuritySettings(allowed_hosts=sorted(names), allowed_origins=sorted(origins))


class CheckHost:
    """ASGI middleware that answers only requests for this server's own names, from its own origins."""

    def __init__(self, app: ASGIApp, security: TransportSecuritySettings, refusals: DoorRefusals) -> None:
        self._app = app
        self._refusals = refusals
        self._check = TransportSecurityMiddleware(security)
        self._passed: set[tuple[tuple[bytes, bytes], ...]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (named := _named(scope)) not in self._passed:
            refusal = await self._check.validate_request(Request(scope), is_post=False)
            if refusal is not None:
                code = "host" if refusal.status_code == MISDIRECTED else "origin"
                self._refusals.note(scope, code, f"the {code.capitalize()} header names another.")
                await refusal(scope, receive, send)
                return
            if len(self._passed) < _MOST_PASSED:
                self._passed.add(named)
        await self._app(scope, receive, send)


def _named(scope: Scope) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that say which host is meant and which site asks, all of them and in their order."""
    return tuple([header for header in scope["headers"] if header[0] in (b"host", b"origin")])
