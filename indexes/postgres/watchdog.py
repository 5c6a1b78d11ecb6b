"""Cuts connections whose server does not answer in time: one thread for all of them, asleep until one is due."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import socket
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from semantic_layer.errors import DeadlineExceeded

GRACE_SECONDS = 1.0
"""So long after a deadline a server that did not stop the statement itself is given up, connection and all."""


@dataclass(order=True)
class _Watched:
    due: float
    place: int
    connection: psycopg.Connection[Any] | None = field(compare=False)
    cut: bool = field(default=False, compare=False)


class Watchdog:
    """Shuts the socket of a connection down when its time is over, which wakes the thread that waits for it.

    Thread-safe. To begin and end a watch takes no other thread's turn: a call does not pay for being watched.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[_Watched] = []
        self._places = itertools.count()
        self._thread: threading.Thread | None = None

    def begin(self, connection: psycopg.Connection[Any], seconds: float) -> _Watched:
        """Watch a connection from now on."""
        with self._changed:
            watched = _Watched(time.monotonic() + seconds, next(self._places), connection)
            heapq.heappush(self._heap, watched)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="postgres-watchdog", daemon=True)
                self._thread.start()
            elif self._heap[0] is watched:
                self._changed.notify()
            return watched

    def end(self, watched: _Watched) -> bool:
        """Watch it no more; whether it was cut."""
        with self._changed:
            watched.connection = None
            return watched.cut

    def _run(self) -> None:
        with self._changed:
            while True:
                while self._heap and (self._heap[0].connection is None or self._heap[0].due <= time.monotonic()):
                    _cut(heapq.heappop(self._heap))
                self._changed.wait(self._heap[0].due - time.monotonic() if self._heap else None)


WATCHDOG = Watchdog()


@contextlib.contextmanager
def watched(connection: psycopg.Connection[Any], seconds: float, where: str) -> Generator[None]:
    """A block that is cut off GRACE_SECONDS after its time, so that a server which hangs holds nobody.

    Raises DeadlineExceeded naming the server where it was; the connection is of no use then.
    """
    held = WATCHDOG.begin(connection, seconds + GRACE_SECONDS)
    try:
        yield
    except psycopg.OperationalError as error:
        if not held.cut:
            raise
        raise DeadlineExceeded(
            f"PostgreSQL ({where}) did not answer within {seconds:g} s.",
            hint="Ask for less, or try again in a moment.",
        ) from error
    finally:
        WATCHDOG.end(held)


def _cut(watched: _Watched) -> None:
    if watched.connection is None:
        return
    watched.cut = True
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(watched.connection.fileno())) as held,
    ):
        held.shutdown(socket.SHUT_RDWR)
