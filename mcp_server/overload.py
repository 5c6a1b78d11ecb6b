"""Too much at once is refused early, before a body is read: 503 with Retry-After."""

from __future__ import annotations

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.budget import account_of
from mcp_server.credentials import guarded
from mcp_server.fairness import Shares, busy
from mcp_server.identity import principal_of
from mcp_server.problem import problem_response
from mcp_server.stopping import Stopping, stopping_now


class RefuseOverload:
    """ASGI middleware that counts requests in flight on the guarded paths and turns away those past `most`.

    It stands behind the one that tells who asks: where one caller floods the server, others still get in. A server
    that is stopping turns away every new request.
    """

    def __init__(self, app: ASGIApp, most: int, stopping: Stopping) -> None:
        self._app = app
        self._in_flight = Shares(most)
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        who = _who(scope)
        if self._stopping.begun or not self._in_flight.admits(who):
            refusal = stopping_now() if self._stopping.begun else busy()
            await problem_response(refusal, headers={"Connection": "close"})(scope, receive, send)
            return
        self._in_flight.take(who)
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight.give(who)


def _who(scope: Scope) -> str:
    user = scope.get("user")
    return account_of(principal_of(user.access_token if isinstance(user, AuthenticatedUser) else None))
