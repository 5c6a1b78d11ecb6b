"""One client's connection: dropped when the client neither reads its answer nor finishes its request."""

from __future__ import annotations

import asyncio
import socket
import struct

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

READ_SECONDS = 20.0
"""How long an answer may wait for a client that does not read it."""
REQUEST_SECONDS = 30.0
"""How long a request may take to arrive whole, and a new connection to send one."""

_NO_LINGER = struct.pack("ii", 1, 0)


class PatientConnection(H11Protocol):
    """HTTP/1.1 with two timers that uvicorn does not have; past either the connection is cut, not drained."""

    unread: asyncio.TimerHandle | None = None
    unfinished: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.unfinished = self.loop.call_later(REQUEST_SECONDS, self.cut)

    def connection_lost(self, exc: Exception | None) -> None:
        self.unread, self.unfinished = _stopped(self.unread), _stopped(self.unfinished)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        theirs = self.conn.their_state
        begun = theirs is h11.SEND_BODY or (theirs is h11.IDLE and bool(self.conn.trailing_data[0]))
        if not begun:
            self.unfinished = _stopped(self.unfinished)
        elif self.unfinished is None:
            self.unfinished = self.loop.call_later(REQUEST_SECONDS, self.cut)

    def cut(self) -> None:
        """Close at once: what the client has not read is thrown away, also what the system holds for it."""
        held = self.transport.get_extra_info("socket")
        if held is not None:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread = self.unread or self.loop.call_later(READ_SECONDS, self.cut)

    def resume_writing(self) -> None:
        self.unread = _stopped(self.unread)
        super().resume_writing()


def _stopped(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
