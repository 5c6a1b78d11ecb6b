"""One client's connection: dropped when the client neither reads its answer nor finishes its request."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

READ_SECONDS = 20.0
"""How long an answer may wait for a client that does not read it."""
REQUEST_SECONDS = 30.0
"""How long a request may take to arrive whole, and a new connection to send one."""
MOST_HEAD_BYTES = 64 * 1024
"""A request whose line and headers are longer is refused."""
MOST_HELD_BYTES = 64 * 1024
"""What is written and not sent yet is never more than this and one more piece."""

Headers = Sequence[tuple[bytes, bytes]]


class TurnedAway(NamedTuple):
    """The response to a request whose caller has too much in flight already, and who answers its connection then."""

    response: bytes
    hold: Callable[[socket.socket, Callable[[], None]], bool]
    """Takes a connection that is not read any more, and calls back once it is to be read again; False where it must
    be read on."""


class TurnsAway(Protocol):
    """Asked by a connection for a POST to the protocol's endpoint with these headers from this address, so that a
    flood costs little; None where the application decides."""

    @property
    def full(self) -> bool:
        """Whether anybody may be turned away now."""
        ...

    def __call__(self, headers: Headers, client: tuple[str, int] | None, /) -> TurnedAway | None: ...


_NO_LINGER = struct.pack("ii", 1, 0)


class Joined(asyncio.Transport):
    """A transport that sends what is written in one go: a response's head with its body, not each by itself.

    What is held goes out with `flush`, and in any case before anything else runs that waits for its turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        super().__init__()
        self._loop = loop
        self._transport = transport
        self._held: list[bytes] = []
        self._bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(bytes(data))
        self._bytes += len(data)
        if self._bytes > MOST_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            held, self._held, self._bytes = self._held, [], 0
            self._transport.write(b"".join(held))

    def unsent(self) -> bool:
        """Whether something that was written is not with the system yet."""
        return bool(self._held) or self._transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """See asyncio."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """See asyncio."""
        self._held.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        """See asyncio."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """See asyncio."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See asyncio."""
        self._transport.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See asyncio."""
        self._transport.set_protocol(protocol)


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
