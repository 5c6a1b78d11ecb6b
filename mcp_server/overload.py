"""Too much at once is refused early, before a body is read: 503 with Retry-After."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.credentials import GUARDED
from mcp_server.problem import problem_response
from mcp_server.runner import busy


class RefuseOverload:
    """ASGI middleware that counts requests in flight on the guarded paths and turns away those past `most`."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        if self._in_flight >= self._most:
            await problem_response(busy())(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1
