"""Answers tool calls of the stateless era that are in good order; whatever is not goes to the SDK as it came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from anyio import CancelScope
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import Server
from mcp.server.runner import modern_error_data
from mcp_types import SERVER_INFO_META_KEY
from starlette.types import Receive, Scope, Send

from mcp_server.identity import bearer_of, caller_of
from mcp_server.plain_request import METHOD, Named, PlainCall, call_in, named_in, read_whole, replayed
from mcp_server.protocol import tool_result
from mcp_server.result_link import result_link
from mcp_server.runner import CallRunner
from mcp_server.session import Caller
from mcp_server.tracing import traced
from semantic_layer.principal import ANONYMOUS

PING_SECONDS = 15.0
"""A call that takes longer sends a space so often (JSON may begin with them), lest a proxy think nobody is there."""
_JSON = b"application/json"

Context = ServerRequestContext[Any, Any]
Measured = Callable[[Context, CallNext], Awaitable[HandlerResult]]
"""The middleware that times every operation of the protocol."""


class PlainCalls:
    """The short way of a request: the same answer as by the SDK's handler, without its machinery for everything else.

    It takes only what it knows whole: the headers each once and equal to the body, nothing in the body beyond a call
    and its envelope, a tool of the caller's, no extension, no progress, nobody who traces. All else, and every request
    that is refused by the protocol's own rules, is the SDK's.
    """

    def __init__(self, server: Server[Any], runner: CallRunner, measured: Measured) -> None:
        self._runner = runner
        self._measured = measured
        self._most_bytes = runner.service.settings.max_request_bytes
        self._meta = {SERVER_INFO_META_KEY: server.server_info_stamp}

    async def answered(self, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """Answer the request and return None; or return where to receive it from, for somebody else to answer."""
        named = self._named(scope)
        if named is None:
            return receive
        read, body = await read_whole(receive)
        call = call_in(body, named) if body is not None else None
        if call is None:
            return replayed(read, receive)
        await self._answer(call, scope, receive, send)
        return None

    def _named(self, scope: Scope) -> Named | None:
        """The tool that the headers name, where they are in order and the caller may use it."""
        named = None if traced() else named_in(scope["headers"], self._most_bytes)
        tool = self._runner.service.tools.get(named.tool) if named is not None else None
        return named if tool is not None and tool.scope in caller_of(scope).scopes else None

    async def _answer(self, call: PlainCall, scope: Scope, receive: Receive, send: Send) -> None:
        response = _Response(send)
        if self._runner.service.tools[call.tool].at_once:
            await response.end(call.id, await self._said(call, scope))
            return
        with CancelScope() as while_heard:
            watching = asyncio.create_task(_watch(receive, response, while_heard))
            try:
                said = await self._said(call, scope)
            finally:
                watching.cancel()
            await response.end(call.id, said)

    async def _said(self, call: PlainCall, scope: Scope) -> dict[str, Any]:
        """What the response says beside its id."""
        context = ServerRequestContext[Any, Any](
            session=cast("Any", None),  # this era has none
            lifespan_context=None,
            protocol_version=call.version,
            method=METHOD,
            params={"name": call.tool},
            request_id=call.id,
            request=scope,
        )

        async def result(_: Context) -> dict[str, Any]:
            return await self._result(call, _caller(scope, call.client))

        try:
            return {"result": await self._measured(context, result)}
        except Exception as failure:
            return {"error": modern_error_data(failure).model_dump(by_alias=True, exclude_none=True)}

    async def _result(self, call: PlainCall, caller: Caller) -> dict[str, Any]:
        service = self._runner.service
        answer = await self._runner.call(caller, call.tool, call.arguments)
        link = result_link(service, caller, call.tool, call.arguments, answer)
        return {**tool_result(answer, link), "_meta": self._meta}


def _caller(scope: Scope, client: str) -> Caller:
    bearer = bearer_of(scope)
    if bearer is None:
        return Caller(ANONYMOUS, "http", client)
    return Caller(bearer.principal, "http", client, bearer.verified.expires_at)


class _Response:
    """One JSON response, begun early where its caller waits long."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def ping(self) -> None:
        """Show that somebody is there."""
        await self._begin([])
        await self._send({"type": "http.response.body", "body": b" ", "more_body": True})

    async def end(self, number: str | int, said: Mapping[str, Any]) -> None:
        """Send the whole of it."""
        body = json.dumps({"jsonrpc": "2.0", "id": number, **said}, separators=(",", ":")).encode()
        await self._begin([(b"content-length", str(len(body)).encode())])
        await self._send({"type": "http.response.body", "body": body})

    async def _begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        if not self._begun:
            self._begun = True
            await self._send(
                {"type": "http.response.start", "status": 200, "headers": [*headers, (b"content-type", _JSON)]}
            )


async def _watch(receive: Receive, response: _Response, scope: CancelScope) -> None:
    """End the scope when the caller hangs up; until then show it now and then that somebody is there."""
    while True:
        try:
            async with asyncio.timeout(PING_SECONDS):
                message = await receive()
        except TimeoutError:
            await response.ping()
            continue
        if message["type"] == "http.disconnect":
            scope.cancel()
            return
