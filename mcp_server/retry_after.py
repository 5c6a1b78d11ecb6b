"""Connections that were turned away and come back before `Retry-After`: not listened to until then."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

RETRY_AFTER_SECONDS = 1.0
"""What a caller is asked to wait. Nobody is held longer."""
HOLD_SECONDS = (0.5, 0.9)
"""Less, so that who waits as asked finds the connection open; each another time, so that they do not return at once."""
EARLY_SECONDS = 0.95
"""Who asks again before this did not wait. What was sent into a held connection is read before it, and held again."""
MOST_CONNECTIONS = 8_192
_BY_PROXY = frozenset({b"forwarded", b"via", b"x-forwarded-for"})

Peer = tuple[str, int]
"""Address and port of a connection's other end."""


class EarlyReturns:
    """When each connection was last turned away. Used on one event loop; `clock` in seconds.

    A caller that asks again at once costs as much as one that is served, and delays all others; one that waits as it
    was told is never held. A proxy's connection serves many callers, so it is not held either.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turned_away: dict[Peer, float] = {}

    def __len__(self) -> int:
        """How many connections are remembered."""
        return len(self._turned_away)

    def hold(self, peer: Peer | None, headers: Sequence[tuple[bytes, bytes]]) -> float:
        """For how many seconds a connection that is turned away now is not listened to."""
        if peer is None or any(name in _BY_PROXY for name, _ in headers):
            return 0.0
        now = self._clock()
        before = self._turned_away.get(peer)
        if before is None and len(self._turned_away) >= MOST_CONNECTIONS:
            lately = {one: at for one, at in self._turned_away.items() if now - at < EARLY_SECONDS}
            self._turned_away = lately if len(lately) < MOST_CONNECTIONS else {}
        self._turned_away[peer] = now
        early = before is not None and now - before < EARLY_SECONDS
        return random.uniform(*HOLD_SECONDS) if early else 0.0
