"""A client's connection where `httptools` is installed: HTTP/1.1 parsed in C, at a fraction of the time."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mcp_server.connection import MOST_HEAD_BYTES, Joined, Patience, TurnedAway, TurnsAway
from mcp_server.endpoint import PATH
from mcp_server.tarpit import BEGINS
from mcp_server.tarpit_process import read_request

_ENDPOINT = PATH.encode()


class PatientHttpTools(HttpToolsProtocol):
    """uvicorn's protocol with the timers of Patience, a bound on the headers, and no headers after the body."""

    patience: Patience
    _joined: Joined
    _in_head = False
    _begun = False
    _whole = False
    _head_bytes = 0
    _refusal: TurnedAway | None = None
    _held: TurnedAway | None = None
    _dropped: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = self._joined = Joined(self.loop, transport)
        self.patience = Patience(self.loop, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.patience.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._begun and self._refused_unparsed(data):
            return
        self._whole = False
        super().data_received(data)
        held, self._held = self._held, None
        if self._whole:
            self.patience.request_arrived()
            if held is not None:
                self._hold(held)
            return
        self.patience.await_request()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.send_400_response("The headers are too long.")

    def on_message_begin(self) -> None:
        self._whole, self._in_head, self._head_bytes = False, True, 0
        self._begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers would come after the request was let in
            super().on_header(name, value.rstrip(b" \t"))  # no part of the value (RFC 9112, 5.1)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._refusal = self._turned_away() if self.url == _ENDPOINT else None
        if self._refusal is None:
            super().on_headers_complete()
        else:
            self.cycle = self._answered()  # what follows of the request is read and dropped

    def on_message_complete(self) -> None:
        self._whole, self._begun = True, False
        if self._refusal is None:
            super().on_message_complete()
            return
        self._held, self._refusal = self._refusal, None
        self.transport.write(self._held.response)
        self.on_response_complete()

    def _refused_unparsed(self, data: bytes) -> bool:
        """Whether this was one request and is turned away: while there is no room, most of a flood's are."""
        turns_away: TurnsAway | None = getattr(self.config.app, "turns_away", None)
        answering = bool(self.cycle) and not self.cycle.response_complete
        if turns_away is None or not turns_away.full or answering or self.transport.is_closing():
            return False
        missing, named = read_request(data, BEGINS)
        refusal = turns_away(tuple(named.items()), self.client) if missing == 0 else None
        if refusal is None:
            return False
        self.patience.request_arrived()
        self.transport.write(refusal.response)
        self.on_response_complete()
        self._hold(refusal)
        return True

    def _hold(self, refusal: TurnedAway) -> None:
        """Let another answer the connection for a while: the request that was turned away is the last thing read."""
        connection = self.transport.get_extra_info("socket")
        if connection is None or self.transport.is_closing() or self._joined.unsent():
            return
        self.flow.pause_reading()
        if not refusal.hold(connection, self.flow.resume_reading):
            self.flow.resume_reading()

    def _turned_away(self) -> TurnedAway | None:
        """The response to a request that is turned away here; none where another is still being answered."""
        turns_away: TurnsAway | None = getattr(self.config.app, "turns_away", None)
        answering = bool(self.cycle) and not self.cycle.response_complete
        if turns_away is None or self.parser is None or answering or self.expect_100_continue:
            return None
        if self.parser.get_method() != b"POST" or not self.parser.should_keep_alive():
            return None
        return turns_away(self.headers, self.client)

    def _answered(self) -> RequestResponseCycle:
        """The place of a request that was answered without the application."""
        if self._dropped is None:
            self._dropped = RequestResponseCycle(
                scope=self.scope,
                transport=self.transport,
                flow=self.flow,
                logger=self.logger,
                access_logger=self.access_logger,
                access_log=False,
                default_headers=[],
                message_event=asyncio.Event(),
                expect_100_continue=False,
                keep_alive=True,
                on_response=self.on_response_complete,
            )
            self._dropped.response_complete = True
        return self._dropped

    def on_response_complete(self) -> None:
        self._joined.flush()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.patience.await_reader()

    def resume_writing(self) -> None:
        self.patience.reader_is_back()
        super().resume_writing()
