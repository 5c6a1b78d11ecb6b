"""Connections that were turned away: until `Retry-After` is nearly over, a process beside the server answers them.

A caller that asks again at once costs a server as much as one that is served. So the server does not read a connection
it turned away: it hands a copy of it to a small process, which refuses again, after DELAY_SECONDS, whatever the same
credential asks there, and hands the connection back. Who waits as told never meets that process, and loses nothing
where it is missing: everything that it does not know for certain it leaves unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mcp_server.endpoint import PATH
from mcp_server.subscriptions import METHOD
from mcp_server.tarpit_process import HANDED_BACK, HANDED_OVER, digest_of

log = logging.getLogger("wellhead.server")

HOLD_SECONDS = (0.5, 0.9)
"""Less than the second of `Retry-After`, so that who waits as told finds the server; each another time, so that they
do not return at once."""
LONGER = 4
"""So many times as long for a connection that asks again meanwhile."""
DELAY_SECONDS = 0.07
"""How long a refusal takes there: who asks in turn does not spend the machine's time on being refused."""
MOST_CONNECTIONS = 4_096
PATIENCE_SECONDS = 5.0
"""How long a connection may stay away beyond its time before the process is taken for stuck, and ended."""
RESTART_SECONDS = 5.0
RELEASE_SECONDS = 0.05
"""At least so much between two calls to hand connections back."""
BEGINS = f"POST {PATH} HTTP/1.1\r".encode()
"""How a request begins that may be refused so."""
_BY_PROXY = frozenset({b"forwarded", b"via", b"x-forwarded-for"})
LAST_SECONDS = 1.0
"""How long the process has to tell its last counts."""
_PROCESS = Path(__file__).with_name("tarpit_process.py")
_MOST_MESSAGE_BYTES = 64 * 1024

Returned = Callable[[int], None]
"""Hears that a connection is the server's again, and how many of its requests were refused meanwhile."""


class Tarpit:
    """The server's side of the process, which starts with the first connection. Used on one event loop."""

    def __init__(self, response: bytes) -> None:
        """`response` is what is answered there, as HTTP/1.1 writes it."""
        self._response = response
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._held: dict[int, tuple[float, Returned]] = {}
        self._number = 0
        self._again_at = 0.0
        self._release_at = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many connections are away."""
        return len(self._held)

    @property
    def process_id(self) -> int:
        """Which process it is; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def hold(self, connection: socket.socket, headers: Sequence[tuple[bytes, bytes]], returned: Returned) -> bool:
        """Hand over a connection that the caller has stopped reading, at the end of a request with these headers.

        False where it cannot be: the caller reads on. A proxy's connection serves many callers, so it never is.
        """
        if len(self._held) >= MOST_CONNECTIONS or any(name in _BY_PROXY for name, _ in headers):
            return False
        shown = [value for name, value in headers if name == b"authorization"]
        control = self._started() if len(shown) < 2 else None
        if control is None:
            return False
        seconds = random.uniform(*HOLD_SECONDS)
        credential = digest_of(shown[0] if shown else None)
        self._number += 1
        message = HANDED_OVER.pack(self._number, int(1000 * seconds), int(1000 * LONGER * seconds), credential)
        try:
            socket.send_fds(control, [message], [connection.fileno()])
        except BlockingIOError:
            return False
        except OSError:
            self._end()
            return False
        self._held[self._number] = (time.monotonic() + LONGER * seconds, returned)
        return True

    def release(self, count: int) -> None:
        """There is room: have so many handed back, those that are away longest."""
        now = time.monotonic()
        if self._held and self._control is not None and now >= self._release_at:
            self._release_at = now + RELEASE_SECONDS
            with contextlib.suppress(OSError):  # full, or gone, which is heard otherwise
                self._control.send(HANDED_OVER.pack(0, count, 0, bytes(32)))

    def close(self) -> None:
        """End the process; what it held is the server's again, and is counted."""
        self._again_at = float("inf")
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)
                self._control.settimeout(LAST_SECONDS)
                while message := self._control.recv(_MOST_MESSAGE_BYTES):
                    self._take_back(message)
        self._end()

    def _started(self) -> socket.socket | None:
        """The socket to the process; None where it does not run and cannot be started now."""
        if self._control is not None or sys.platform != "linux" or time.monotonic() < self._again_at:
            return self._control
        self._again_at = time.monotonic() + RESTART_SECONDS
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        said = {"begins": BEGINS.decode(), "response": self._response.decode(), "left": METHOD}
        with theirs:
            ours.setblocking(False)
            try:
                ours.send(json.dumps({**said, "delay": DELAY_SECONDS}).encode())
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_PROCESS)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # the terminal's Ctrl-C is the server's, and this ends with it
                )
            except OSError as error:
                ours.close()
                log.warning("the process that answers early returns cannot start: %s", error)
                return None
        self._control = ours
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, self._hear)
        self._watch = loop.call_later(PATIENCE_SECONDS, self._look)
        return ours

    def _hear(self) -> None:
        """Take back what was handed back."""
        assert self._control is not None
        try:
            message = self._control.recv(_MOST_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            log.warning("the process that answers early returns has ended; the server answers them")
            self._end()
        self._take_back(message)

    def _take_back(self, message: bytes) -> None:
        for number, refused in HANDED_BACK.iter_unpack(message):
            held = self._held.pop(number, None)
            if held is not None:
                held[1](refused)

    def _look(self) -> None:
        """End the process where it does not hand back what it should have: the oldest is the first to be missed."""
        late = next(iter(self._held.values()), (float("inf"), None))[0] + PATIENCE_SECONDS < time.monotonic()
        if late:
            log.warning("the process that answers early returns is stuck; it is ended")
            self._end()
            return
        self._watch = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._look)

    def _end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        held, self._held = self._held, {}
        for _, returned in held.values():
            returned(0)
