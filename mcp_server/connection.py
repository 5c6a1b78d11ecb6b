"""One client's connection: dropped when the client neither reads its answer nor finishes its request."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

READ_SECONDS = 20.0
"""How long an answer may wait for a client that does not read it."""
REQUEST_SECONDS = 30.0
"""How long a request may take to arrive whole, and a new connection to send one."""
MOST_HEAD_BYTES = 64 * 1024
"""A request whose line and headers are longer is refused."""

Headers = Sequence[tuple[bytes, bytes]]


class TurnedAway(NamedTuple):
    """The response to a request whose caller has too much in flight already, and for how many seconds its connection
    is not listened to then."""

    response: bytes
    hold: float


TurnsAway = Callable[[Headers, tuple[str, int] | None], TurnedAway | None]
"""Asked by a connection for a POST to the protocol's endpoint with these headers from this address, so that a flood
costs little; None where the application decides."""

_NO_LINGER = struct.pack("ii", 1, 0)


class Patience:
    """The two timers of a connection that uvicorn does not have; past either it is cut, not drained.

    A protocol of uvicorn's calls `begins` and `arrived` as its requests come in, and the rest as asyncio does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._unread: asyncio.TimerHandle | None = None
        self._unfinished: asyncio.TimerHandle | None = None
        self.await_request()

    def await_request(self) -> None:
        """A request has begun, or must begin: it may take so long."""
        if self._unfinished is None:
            self._unfinished = self._loop.call_later(REQUEST_SECONDS, self.cut)

    def request_arrived(self) -> None:
        """It is whole."""
        self._unfinished = _stopped(self._unfinished)

    def await_reader(self) -> None:
        """The client does not read."""
        if self._unread is None:
            self._unread = self._loop.call_later(READ_SECONDS, self.cut)

    def reader_is_back(self) -> None:
        """It does again."""
        self._unread = _stopped(self._unread)

    def end(self) -> None:
        """The connection is gone."""
        self.request_arrived()
        self.reader_is_back()

    def cut(self) -> None:
        """Close at once: what the client has not read is thrown away, also what the system holds for it."""
        held = self._transport.get_extra_info("socket")
        if held is not None:
            with socket.socket(fileno=os.dup(held.fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()


def _stopped(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
