"""Too much at once is refused early, before a body is read: 503 with Retry-After."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http import HTTPStatus

from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.budget import account_of
from mcp_server.connection import Headers, TurnedAway
from mcp_server.credentials import guarded
from mcp_server.endpoint import PATH
from mcp_server.fairness import Shares, busy
from mcp_server.identity import caller_of
from mcp_server.pace import Pace
from mcp_server.problem import problem_response
from mcp_server.refusals import DoorRefusals
from mcp_server.stopping import Stopping, stopping_now
from mcp_server.subscriptions import METHOD
from mcp_server.tarpit import Tarpit
from semantic_layer.principal import Principal


class RefuseOverload:
    """ASGI middleware that counts requests in flight on the guarded paths and turns away those past `most`.

    It stands behind the one that tells who asks: where one caller floods the server, others still get in. A server
    that is stopping turns away every new request.
    """

    def __init__(self, app: ASGIApp, pace: Pace, stopping: Stopping, refusals: DoorRefusals) -> None:
        self._app = app
        self._refusals = refusals
        self._pace = pace
        self._in_flight = Shares(pace.places)
        self._busy = busy()
        self._refusal = _on_the_wire(problem_response(self._busy))
        self._stopping = stopping
        self.tarpit = Tarpit(self._refusal)
        stopping.at_once(self.tarpit.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        if listens(scope) and not self._stopping.begun:
            await self._app(scope, receive, send)
            return
        caller = caller_of(scope)
        who = account_of(caller)
        if self._stopping.begun or not self._admits(who):
            refusal = stopping_now() if self._stopping.begun else busy()
            self._refusals.note_error(scope, refusal, caller.subject)
            headers = {"Connection": "close"} if self._stopping.begun else {}
            await problem_response(refusal, headers=headers)(scope, receive, send)
            return
        self._in_flight.take(who)
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight.give(who)
            room = self._pace.places - self._in_flight.held
            if 2 * room > self._pace.places:
                self.tarpit.release(room)

    def turns_away(
        self, caller: Principal | None, headers: Headers, client: tuple[str, int] | None
    ) -> TurnedAway | None:
        """What becomes of a request of this caller that would be turned away; None where it may come in, and where
        the application must look at it itself."""
        if caller is None or self._stopping.begun or self._admits(account_of(caller)):
            return None
        if any(name == b"mcp-method" and value == METHOD.encode() for name, value in headers):
            return None
        subject = caller.subject

        def refused(count: int) -> None:
            if count:
                self._refusals.note_error({"path": PATH, "client": client}, self._busy, subject, count=count)

        def hold(connection: socket.socket, resume: Callable[[], None]) -> bool:
            def returned(count: int) -> None:
                refused(count)
                resume()

            return self.tarpit.hold(connection, headers, returned)

        refused(1)
        return TurnedAway(self._refusal, hold)

    @property
    def full(self) -> bool:
        """Whether anybody may be turned away now."""
        return self._in_flight.held >= self._pace.places

    def _admits(self, who: str) -> bool:
        self._in_flight.most = self._pace.places
        return self._in_flight.admits(who)


class AskedByConnections:
    """What connections ask before there is a request for the application; `known` tells who some headers are of."""

    def __init__(self, overload: RefuseOverload, known: Callable[[Headers], Principal | None]) -> None:
        self._overload = overload
        self._known = known

    @property
    def full(self) -> bool:
        """Whether anybody may be turned away now."""
        return self._overload.full

    def __call__(self, headers: Headers, client: tuple[str, int] | None) -> TurnedAway | None:
        """What becomes of a request that would be turned away; None where the application must look at it."""
        return self._overload.turns_away(self._known(headers), headers, client)


def _on_the_wire(response: Response) -> bytes:
    """A response as HTTP/1.1 writes it."""
    status = HTTPStatus(response.status_code)
    head = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() + head + b"\r\n" + bytes(response.body)


def listens(scope: Scope) -> bool:
    """Whether a request opens a stream of changes: those stay open, and are counted where they are served.

    The headers are believed because the protocol refuses a request whose body says something else than they do; in a
    revision that has no such rule, or given twice, they count for nothing.
    """
    found = [(name, value) for name, value in scope["headers"] if name in (b"mcp-method", b"mcp-protocol-version")]
    held = dict(found)
    version = held.get(b"mcp-protocol-version", b"").decode("latin-1")
    return len(found) == 2 and held.get(b"mcp-method") == METHOD.encode() and version in MODERN_PROTOCOL_VERSIONS
