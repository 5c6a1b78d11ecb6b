"""Shares a limited number of places among callers, so that one who asks for much cannot keep the others out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Callable

import anyio

from mcp_server.shared_turns import SharedTurns
from semantic_layer.errors import Busy

HALF_LIFE_SECONDS = 5.0
"""After this, a turn counts half when callers are compared."""
LATELY_SECONDS = 5.0
"""So long after its last turn a caller still counts as one who asks."""
LONG_SECONDS = 1.0
"""Who has waited longer for a turn is not kept waiting for others' sake."""
ELSEWHERE_SECONDS = 0.003
"""How often who waits for what runs in other processes looks whether it has ended."""
MOST_CALLERS = 1_000
"""Callers whose turns are remembered; beyond them the one who asked longest ago is forgotten."""


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


class RecentUse:
    """How long each caller held turns lately, in seconds; what is longer ago counts for less. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._used)

    def of(self, who: str) -> float:
        """What counts of this caller's turns."""
        used, at = self._used.get(who, (0.0, 0.0))
        return used * 0.5 ** ((self._clock() - at) / HALF_LIFE_SECONDS)

    def add(self, who: str, seconds: float) -> None:
        """A turn that ends now was held for so long."""
        used = self.of(who) + seconds
        self._used[who] = (used, self._clock())
        self._used.move_to_end(who)
        if len(self._used) > MOST_CALLERS:
            self._used.popitem(last=False)

    def others_asked(self, who: str) -> bool:
        """Whether a turn of anybody else ended a moment ago."""
        last = next((at for name, (_, at) in reversed(self._used.items()) if name != who), None)
        return last is not None and self._clock() - last < LATELY_SECONDS


class FairQueue:
    """At most `running` turns at a time. The next goes to the waiting caller who runs least, and among those to the
    one who held turns for the shortest time lately. While several callers ask, none holds more than `each` turns:
    turns compute on the same cores, and one that is free helps nobody there. One per event loop."""

    def __init__(
        self,
        running: int,
        waiting: int,
        waited: Callable[[float], None] = lambda _: None,
        *,
        each: int | None = None,
        together: int | None = None,
        shared: SharedTurns | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`waited` hears of each turn how many seconds it was waited for; without `each` anybody may hold all.

        Of several processes each has a queue: `shared` is where they see one another's turns, and `together` what
        `each` is for all of them.
        """
        self._waited = waited
        self._clock = clock
        self._most = self._free = running
        self._each = running if each is None else each
        self._together = self._each if together is None else together
        self._shared = shared
        self._running: Counter[str] = Counter()
        self._shares = Shares(running + waiting)
        self._waiting: dict[str, deque[tuple[float, anyio.Event]]] = {}
        self._used = RecentUse(clock)
        self._looking: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(queue) for queue in self._waiting.values())

    @contextlib.asynccontextmanager
    async def turn(self, who: str) -> AsyncGenerator[None]:
        """Wait for a turn and hold it while the block runs. Raises Busy at once where too many wait already."""
        await self._begin(who)
        since = self._clock()
        try:
            yield
        finally:
            self._used.add(who, self._clock() - since)
            self._end(who)

    async def _begin(self, who: str) -> None:
        if who not in self._waiting and self._may_start(who):
            self._shares.take(who)
            self._start(who)
            self._waited(0.0)
            return
        if not self._shares.admits(who):
            raise busy()
        self._shares.take(who)
        called, since = anyio.Event(), self._clock()
        self._waiting.setdefault(who, deque()).append((since, called))
        self._look_again()
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self._end(who)
            else:
                self._leave(who, (since, called))
                self._shares.give(who)
            raise
        self._waited(self._clock() - since)

    def _may_start(self, who: str) -> bool:
        if self._free <= 0:
            return False
        if self._floods(who):
            elsewhere = self._shared.elsewhere() if self._shared is not None else 0
            return elsewhere + self._most - self._free < self._together
        return self._running[who] < self._each or not self._others_ask(who)

    def _floods(self, who: str) -> bool:
        """Whether more calls of this caller wait than could run, none of them for long, while others ask too."""
        queue = self._waiting.get(who)
        if queue is None or len(queue) <= self._most or self._clock() - queue[0][0] >= LONG_SECONDS:
            return False
        return self._others_ask(who)

    def _others_ask(self, who: str) -> bool:
        return any(one != who for one in (*self._running, *self._waiting)) or self._used.others_asked(who)

    def _start(self, who: str) -> None:
        self._free -= 1
        self._tell()
        self._running[who] += 1

    def _end(self, who: str) -> None:
        self._shares.give(who)
        self._free += 1
        self._tell()
        self._running[who] -= 1
        if not self._running[who]:
            del self._running[who]
        # Of several processes none keeps a flood's turn to itself: who looks next has it, here or there.
        self._hand_out(floods=self._shared is None)

    def _hand_out(self, *, floods: bool = True) -> None:
        """Give every turn that may be given now, to those who flood only where that is said."""
        while following := self._following(floods):
            called = self._waiting[following][0]
            self._leave(following, called)
            self._start(following)
            called[1].set()
        self._look_again()

    def _look_again(self) -> None:
        """Where turns are free and somebody waits for others' sake, see in time that it does not wait too long."""
        if self._free > 0 and self._waiting and self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(
                LONG_SECONDS if self._shared is None else ELSEWHERE_SECONDS, self._look
            )

    def _look(self) -> None:
        self._looking = None
        self._hand_out()

    def _tell(self) -> None:
        if self._shared is not None:
            self._shared.hold(self._most - self._free)

    def _following(self, floods: bool) -> str | None:
        """Who of those that wait gets a turn now."""
        able = [one for one in self._waiting if self._may_start(one) and (floods or not self._floods(one))]
        return min(able, key=lambda one: (self._running[one], self._used.of(one))) if able else None

    def _leave(self, who: str, called: tuple[float, anyio.Event]) -> None:
        """Take one place of a caller's out of the queue."""
        queue = self._waiting[who]
        queue.remove(called)
        if not queue:
            del self._waiting[who]


def busy() -> Busy:
    """What a caller hears when too many wait already."""
    return Busy("too many calls are waiting.", hint="Try again in a second.")
