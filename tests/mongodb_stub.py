"""A server of MongoDB's wire protocol that knows sessions: `find` answers only when its session is killed.

The server in Java that other tests use has no sessions.
"""

from __future__ import annotations

import contextlib
import socketserver
import struct
import threading
from collections.abc import Generator
from typing import Any, cast

import bson

_HEADER = struct.Struct("<iiii")
_QUERY, _MESSAGE, _REPLY = 2004, 2013, 1
_INTERRUPTED = {"ok": 0, "code": 11601, "codeName": "Interrupted", "errmsg": "operation was interrupted"}


class StubServer(socketserver.ThreadingTCPServer):
    """Listens on loopback; `asked` is set while a `find` waits, `killed` holds the sessions that were killed."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.asked, self.interrupted = threading.Event(), threading.Event()
        self.killed: list[Any] = []
        self.session: Any = None

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """The reply to one command."""
        if "find" in command:
            self.session = command["lsid"]
            self.asked.set()
            assert self.interrupted.wait(20)
            return _INTERRUPTED
        if "killSessions" in command:
            self.killed += command["killSessions"]
            self.interrupted.set()
        return {
            "ok": 1,
            "ismaster": True,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "logicalSessionTimeoutMinutes": 30,
            "maxBsonObjectSize": 16_777_216,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
        }


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        stub = cast("StubServer", self.server)
        with contextlib.suppress(ConnectionError):
            while head := self._read(_HEADER.size):
                length, number, _, kind = _HEADER.unpack(head)
                body = self._read(length - _HEADER.size)
                if kind == _QUERY:
                    name_ends = body.index(b"\0", 4)
                    reply = bson.encode(stub.answer(bson.decode_all(body[name_ends + 9 :])[0]))
                    reply = struct.pack("<iqii", 8, 0, 0, 1) + reply
                else:
                    reply = b"\0\0\0\0\0" + bson.encode(stub.answer(bson.decode_all(body[5:])[0]))
                answered = _REPLY if kind == _QUERY else _MESSAGE
                self.request.sendall(_HEADER.pack(_HEADER.size + len(reply), 0, number, answered) + reply)

    def _read(self, size: int) -> bytes:
        held = b""
        while len(held) < size:
            part = self.request.recv(size - len(held))
            if not part:
                return b""
            held += part
        return held


@contextlib.contextmanager
def mongodb_stub() -> Generator[tuple[StubServer, str]]:
    """A running stub, and its URL."""
    with StubServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server, f"mongodb://127.0.0.1:{server.server_address[1]}/live"
        finally:
            server.interrupted.set()
            server.shutdown()
