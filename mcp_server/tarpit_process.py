"""The process beside a server that answers connections which ask again too early. Started by its path, alone with the
standard library; see mcp_server/tarpit.py.

Each message on its standard input, a socket, hands it one connection that the server does not read meanwhile. Requests
of the caller who was refused are refused again, each after a short delay; anything else is left unread for the server.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import itertools
import json
import re
import resource
import select
import socket
import struct
import time
from collections import deque

HANDED_OVER = struct.Struct("!QII32s")
"""Number of the connection, milliseconds until it is handed back if it asks nothing meanwhile and if it does, SHA-256
of the Authorization header's value (of nothing: none). Number 0: so many connections are to be handed back."""
HANDED_BACK = struct.Struct("!QI")
"""Number of the connection, how many of its requests were refused."""
TICK_SECONDS = 0.005
MOST_REQUEST_BYTES = 32 * 1024
"""A longer request is the server's."""
MOST_KEPT_BYTES = 4 * 1024
"""A request that is asked again is known by its bytes; a longer one is read anew."""
MOST_DIGITS = 18
_MOST_MESSAGE_BYTES = 64 * 1024
_NEW = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_NAMED = re.compile(
    rb"\r\n(authorization|content-length|connection|mcp-method|forwarded|via|x-forwarded-for):"
    rb"[ \t]*([^\r]*?)[ \t]*(?=\r)",
    re.IGNORECASE,
)
_LEFT = re.compile(
    rb"\r\n(?:transfer-encoding|expect|upgrade|content-length[ \t]|[ \t])|[^\r]\n|\r[^\n]", re.IGNORECASE
)
"""What makes a request's length, or whether it may be refused, a matter for a parser."""


def read_request(data: bytes, begins: bytes) -> tuple[int | None, dict[bytes, bytes]]:
    """How many bytes are missing until these are one request that `begins` so, and those of its headers that count.

    None where it is anything else: more than one, or written in a way that only a parser should judge. Before its
    head is whole, 1 and no headers.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return (1 if data.startswith(begins) or begins.startswith(data) else None), {}
    head += b"\r\n"
    if not head.startswith(begins) or _LEFT.search(head):
        return None, {}
    named: dict[bytes, bytes] = {}
    for found in _NAMED.finditer(head):
        name = found[1].lower()
        if name in named:
            return None, {}
        named[name] = found[2]
    size = named.get(b"content-length", b"")
    if not size.isdigit() or named.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None, {}
    missing = int(size[:MOST_DIGITS]) - len(body)
    return (missing if missing >= 0 else None), named


def digest_of(credential: bytes | None) -> bytes:
    """What stands for the value of an Authorization header; of none as of an empty one."""
    return hashlib.sha256(credential or b"").digest()


class Refuser:
    """Holds connections, refuses what they ask, and hands each back when its time is over."""

    def __init__(self, control: socket.socket, begins: bytes, response: bytes, delay: float, left: bytes) -> None:
        """`begins` is how a request to refuse begins, `left` the method that is never refused; `delay` in seconds."""
        self._control = control
        self._begins = begins
        self._response = response
        self._delay = delay
        self._left = left
        self._poll = select.epoll()
        self._held: dict[int, Held] = {}
        self._until: list[tuple[float, int]] = []
        self._asked: deque[tuple[float, Held]] = deque()
        self._back: list[bytes] = []
        self._seen = memoryview(bytearray(MOST_REQUEST_BYTES + 1))

    def run(self) -> None:
        """Until the server is gone."""
        self._poll.register(self._control, select.EPOLLIN)
        while True:
            busy = bool(self._held or self._back)
            for number, _ in self._poll.poll(0 if busy else None):
                if number in self._held:
                    self._look(self._held[number])
                elif number == self._control.fileno() and not self._take():
                    self._end()
                    return
            now = time.monotonic()
            self._refuse(now)
            self._let_go(now)
            self._report()
            if busy:
                time.sleep(TICK_SECONDS)  # what comes meanwhile is answered together

    def _take(self) -> bool:
        """Take every connection that is handed over; False once the server is gone."""
        while True:
            try:
                message, numbers, _, _ = socket.recv_fds(self._control, HANDED_OVER.size, 1)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not message:
                return False
            number, quiet, asking, credential = HANDED_OVER.unpack(message)
            if not number:
                self._release(quiet)
                continue
            if not numbers:  # no more files may be open
                self._back.append(HANDED_BACK.pack(number, 0))
                continue
            end = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=numbers[0])
            now = time.monotonic()
            held = Held(end, number, now + quiet / 1000, now + asking / 1000, credential)
            self._held[end.fileno()] = held
            heapq.heappush(self._until, (held.until, end.fileno()))
            self._poll.register(end, _NEW)

    def _look(self, held: Held) -> None:
        """Read a request that can be refused here; leave anything else, and hand the connection back."""
        if held.asked:
            held.more = True
            return
        held.more = False
        try:
            size = held.end.recv_into(self._seen, 0, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        request = bytes(self._seen[:size])
        if not size or request != held.request:
            whole = self._whole(request, held.credential) if size else False
            if whole is None:
                return  # not all of it is here
            if not whole:
                self._give_back(held)
                return
            held.request = request if size <= MOST_KEPT_BYTES else b""
        held.end.recv_into(self._seen, size, socket.MSG_DONTWAIT)
        held.asked = True
        if held.until < held.at_most:
            held.until = held.at_most
            heapq.heappush(self._until, (held.until, held.end.fileno()))
        self._asked.append((time.monotonic() + self._delay, held))

    def _whole(self, request: bytes, credential: bytes) -> bool | None:
        """Whether this is one request to refuse; None where it may become one."""
        missing, named = read_request(request, self._begins)
        if missing is None or len(request) + missing > MOST_REQUEST_BYTES:
            return False
        if not named:
            return None
        if named.get(b"mcp-method") == self._left or digest_of(named.get(b"authorization")) != credential:
            return False
        return None if missing else True

    def _release(self, count: int) -> None:
        """Hand back those that were held longest."""
        for held in tuple(itertools.islice(self._held.values(), count)):
            if held.asked:
                held.until = held.at_most = 0.0  # once that is answered
            else:
                self._give_back(held)

    def _refuse(self, now: float) -> None:
        """Answer what has waited long enough."""
        while self._asked and self._asked[0][0] <= now:
            held = self._asked.popleft()[1]
            held.asked = False
            if self._held.get(held.end.fileno()) is not held:
                continue
            try:
                sent = held.end.send(self._response, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                sent = 0
            held.refused += 1
            if sent < len(self._response):  # it does not read, or is gone
                with contextlib.suppress(OSError):
                    held.end.shutdown(socket.SHUT_RDWR)
                self._give_back(held)
            elif held.until <= now:
                self._give_back(held)
            elif held.more:
                self._look(held)

    def _let_go(self, now: float) -> None:
        """Hand back what was held long enough and waits for no answer."""
        while self._until and self._until[0][0] <= now:
            until, number = heapq.heappop(self._until)
            held = self._held.get(number)
            if held is not None and held.until == until and not held.asked:
                self._give_back(held)

    def _give_back(self, held: Held) -> None:
        number = held.end.fileno()
        self._poll.unregister(number)
        del self._held[number]
        held.end.close()
        self._back.append(HANDED_BACK.pack(held.number, held.refused))

    def _end(self) -> None:
        """The server lets go: answer what was read, and tell it what was counted, if it still hears."""
        self._refuse(float("inf"))
        for held in tuple(self._held.values()):
            self._give_back(held)
        self._control.setblocking(True)
        while self._back:
            self._report()

    def _report(self) -> None:
        """Tell the server what is its own again."""
        if self._back:
            with contextlib.suppress(BlockingIOError):
                self._control.send(b"".join(self._back[:1_000]))
                del self._back[:1_000]


class Held:
    """One connection."""

    __slots__ = ("asked", "at_most", "credential", "end", "more", "number", "refused", "request", "until")

    def __init__(self, end: socket.socket, number: int, until: float, at_most: float, credential: bytes) -> None:
        self.end = end
        self.number = number
        self.until = until
        self.at_most = at_most
        self.credential = credential
        self.request = b""
        self.refused = 0
        self.asked = False
        self.more = False


def main() -> None:
    """Serve the server at the other end of the standard input."""
    control = socket.socket(fileno=0)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    said = json.loads(control.recv(_MOST_MESSAGE_BYTES))
    control.setblocking(False)
    Refuser(
        control, said["begins"].encode(), said["response"].encode(), float(said["delay"]), said["left"].encode()
    ).run()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        main()
