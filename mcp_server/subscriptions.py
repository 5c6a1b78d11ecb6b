"""Tells listening clients what changed for them: other names, or a resource they watch (`subscriptions/listen`)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from anyio import to_thread
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import ListenHandler, ResourcesListChanged, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)
from pydantic import Field

from mcp_server.answer import Answer
from mcp_server.arguments import Arguments
from mcp_server.budget import account_of
from mcp_server.caller_view import CallerView, caller_view, mark_of
from mcp_server.fairness import Shares
from mcp_server.runner import CallRunner
from mcp_server.session import Caller, Session
from mcp_server.tool import Tool
from semantic_layer.errors import WellheadError

METHOD = "subscriptions/listen"
MOST_STREAMS = 256
"""Streams that may be open at a time, shared fairly among callers."""
MOST_WATCHED = 100
"""Resources that one stream may watch."""
LISTEN_SECONDS = 900.0
"""A stream ends after this long, or with its caller's token: who listens on shows a credential again."""

Context = ServerRequestContext[Any, Any]


class ListenArguments(Arguments):
    resources: Annotated[list[Annotated[str, Field(max_length=2_000)]], Field(max_length=MOST_WATCHED)]


def _run(session: Session, asked: ListenArguments) -> Answer:
    return Answer({"resources": asked.resources}, session.receipt({}))


LISTEN = Tool("listen", "Listen for changes.", ListenArguments, _run)
"""Not in any list of tools: that somebody listens is charged and recorded like a call."""


class _Stream:
    """One open stream: whose it is, what it was last told of, and where its events go (a `SubscriptionBus`)."""

    def __init__(self, caller: Caller, view: CallerView) -> None:
        self.caller = caller
        self.view = view
        self._listeners: list[Callable[[ServerEvent], None]] = []

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        self._listeners.append(listener)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return unsubscribe

    async def publish(self, event: ServerEvent) -> None:
        for listener in tuple(self._listeners):
            listener(event)

    async def tell(self, view: CallerView) -> None:
        """Send what is another than it was."""
        before, self.view = self.view, view
        if view.names != before.names:
            await self.publish(ResourcesListChanged())
        for uri in view.changed(before):
            await self.publish(ResourceUpdated(uri))


class _Standing(_Stream):
    """What the one client of a lasting connection watches, told to it over the connection itself."""

    def __init__(self, ctx: Context, caller: Caller, view: CallerView) -> None:
        super().__init__(caller, view)
        self._session = ctx.session

    async def publish(self, event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated):
            await self._session.send_resource_updated(event.uri)


class Subscriptions:
    """The open streams of one server. A caller hears of names and resources that exist for it, and of nothing else.

    What is told is that something changed: reading it again is a call like any other. One per event loop.
    """

    def __init__(self, runner: CallRunner, identify: Callable[[Context], Caller]) -> None:
        self._runner = runner
        self._identify = identify
        self._places = Shares(MOST_STREAMS)
        self._open: dict[ListenHandler, _Stream] = {}
        self._standing: _Standing | None = None

    def serve_connection(self, server: Server[Any]) -> None:
        """Take subscriptions of the handshake revisions too: for a transport whose one connection lasts."""
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribed)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribed)

    async def listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve one stream until its client goes, its time is over or the server stops.

        Raises MCPError where too many are open, and for too many resources.
        """
        caller = self._identify(ctx)
        who = account_of(caller.principal)
        if not self._places.admits(who):
            raise MCPError(INTERNAL_ERROR, "too many streams are open; close one or try again later.")
        self._places.take(who)
        try:
            watched = list(dict.fromkeys(params.notifications.resource_subscriptions or ()))
            return await self._served(ctx, params, _Stream(caller, await self._seen(caller, watched)))
        finally:
            self._places.give(who)

    async def look(self) -> None:
        """Tell every stream what changed for its caller since it was last told."""
        streams = [*self._open.values(), *([self._standing] if self._standing is not None else [])]
        if streams:
            for stream, view in await to_thread.run_sync(self._newer, streams):
                await stream.tell(view)

    def close(self) -> None:
        """End every stream in due form; its client may listen again elsewhere."""
        for handler in tuple(self._open):
            handler.close()

    async def _subscribed(self, ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        watched = dict.fromkeys([*self._watched, str(params.uri)])
        await self._watch(ctx, list(watched))
        return EmptyResult()

    async def _unsubscribed(self, ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        await self._watch(ctx, [uri for uri in self._watched if uri != str(params.uri)])
        return EmptyResult()

    @property
    def _watched(self) -> list[str]:
        return list(self._standing.view.states) if self._standing is not None else []

    async def _watch(self, ctx: Context, watched: Sequence[str]) -> None:
        caller, before = self._identify(ctx), self._standing
        view = await self._seen(caller, watched)
        self._standing = _Standing(ctx, caller, view)
        if before is not None:
            await before.tell(view)  # what changed since the last look, before the new view hides it

    async def _seen(self, caller: Caller, watched: Sequence[str]) -> CallerView:
        try:
            return await self._runner.beside(caller, METHOD, lambda: self._first(caller, watched))
        except WellheadError as error:
            raise MCPError(INVALID_PARAMS, str(error), {"code": error.code, "hint": error.hint}) from None

    async def _served(
        self, ctx: Context, params: SubscriptionsListenRequestParams, stream: _Stream
    ) -> SubscriptionsListenResult:
        handler = ListenHandler(stream, max_subscriptions=1)
        seconds = max(1.0, min(LISTEN_SECONDS, stream.caller.until - time.time()))
        end = asyncio.get_running_loop().call_later(seconds, handler.close)
        self._open[handler] = stream
        try:
            return await handler(ctx, params)
        finally:
            del self._open[handler]
            end.cancel()

    def _first(self, caller: Caller, watched: Sequence[str]) -> CallerView:
        """What the caller sees as it begins to listen, recorded and charged. Raises what refuses the call."""
        answer = self._runner.service.answer(caller, LISTEN, {"resources": list(watched)})
        if answer.error is not None:
            raise answer.error
        library = self._runner.service.library
        with library.pin() as snapshot:
            return caller_view(snapshot, library.ledger.certificates().number, caller.principal, watched)

    def _newer(self, streams: Sequence[_Stream]) -> list[tuple[_Stream, CallerView]]:
        """The views of those streams for which anything may have changed; none while nothing can be opened."""
        library = self._runner.service.library
        try:
            with library.pin() as snapshot:
                certificates = library.ledger.certificates().number
                mark = mark_of(snapshot, certificates)
                return [
                    (one, caller_view(snapshot, certificates, one.caller.principal, one.view.states))
                    for one in streams
                    if one.view.mark != mark
                ]
        except WellheadError:
            return []  # the refresher logs it
