"""Shares a limited number of places among callers, so that one who asks for much cannot keep the others out."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable

import anyio

from semantic_layer.errors import Busy


class Shares:
    """Counts who holds how many of `most` places.

    Once all are taken, a caller who holds less than an equal share is still let in, up to twice the places in all:
    a flood of one caller turns away that caller first.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """How many places are taken."""
        return self._held.total()

    def admits(self, who: str) -> bool:
        """Whether this caller may take a place now."""
        total = self.held
        if total < self.most:
            return True
        callers = len(self._held) + (who not in self._held)
        return total < 2 * self.most and self._held[who] < self.most // callers

    def take(self, who: str) -> None:
        """Take a place."""
        self._held[who] += 1

    def give(self, who: str) -> None:
        """Give a place back."""
        self._held[who] -= 1
        if self._held[who] <= 0:
            del self._held[who]


class FairQueue:
    """At most `running` turns at a time. The next goes to the waiting caller who runs least, and among those to the
    one whose last turn is longest ago. One per event loop."""

    def __init__(self, running: int, waiting: int, waited: Callable[[float], None] = lambda _: None) -> None:
        """`waited` hears of each turn how many seconds it was waited for."""
        self._waited = waited
        self._free = running
        self._running: Counter[str] = Counter()
        self._shares = Shares(waiting)
        self._waiting: dict[str, deque[anyio.Event]] = {}
        self._turns = 0
        self._last_turn: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._shares.held

    @contextlib.asynccontextmanager
    async def turn(self, who: str) -> AsyncGenerator[None]:
        """Wait for a turn and hold it while the block runs. Raises Busy at once where too many wait already."""
        await self._begin(who)
        try:
            yield
        finally:
            self._end(who)

    async def _begin(self, who: str) -> None:
        if self._free > 0:
            self._start(who)
            self._waited(0.0)
            return
        if not self._shares.admits(who):
            raise busy()
        called, since = anyio.Event(), time.monotonic()
        self._waiting.setdefault(who, deque()).append(called)
        self._shares.take(who)
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self._end(who)
            else:
                self._leave(who, called)
            raise
        self._waited(time.monotonic() - since)

    def _start(self, who: str) -> None:
        self._free -= 1
        self._running[who] += 1
        self._turns += 1
        self._last_turn[who] = self._turns

    def _end(self, who: str) -> None:
        self._running[who] -= 1
        self._free += 1
        if self._waiting:
            following = min(self._waiting, key=lambda one: (self._running[one], self._last_turn.get(one, 0)))
            called = self._waiting[following][0]
            self._leave(following, called)
            self._start(following)
            called.set()
        self._forget(who)

    def _leave(self, who: str, called: anyio.Event) -> None:
        """Take one place of a caller's out of the queue."""
        queue = self._waiting[who]
        queue.remove(called)
        if not queue:
            del self._waiting[who]
        self._shares.give(who)
        self._forget(who)

    def _forget(self, who: str) -> None:
        """Keep nothing of a caller who neither runs nor waits."""
        if not self._running[who] and who not in self._waiting:
            del self._running[who]
            self._last_turn.pop(who, None)


def busy() -> Busy:
    """What a caller hears when too many wait already."""
    return Busy("too many calls are waiting.", hint="Try again in a second.")
