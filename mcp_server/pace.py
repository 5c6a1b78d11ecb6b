"""How fast requests are let in: as many at a time as are set, fewer and later while calls wait long for their turn."""

from __future__ import annotations

LONG_SECONDS = 0.7
"""A call that waits longer for its turn says that too much comes in."""
SHORT_SECONDS = 0.35
"""One that waits less says that there is room for more."""
MOST_HOLD_SECONDS = 1.0
"""What Retry-After asks of a caller that was turned away: nobody is held longer."""
_FEWER = 0.97
_MORE = 0.25
_LONGER = 0.05
_SHORTER = 0.9


class Pace:
    """Follows how long calls waited. Used on one event loop.

    `places` is how many requests may be in flight. Turning away costs time too: where calls still wait long with the
    fewest places, `hold` says how many seconds a connection that was turned away is not listened to.
    """

    def __init__(self, least: int, most: int) -> None:
        self._least = float(min(least, most))
        self._most = float(most)
        self._places = self._least
        self.hold = 0.0

    @property
    def places(self) -> int:
        """How many requests may be in flight now."""
        return int(self._places)

    def waited(self, seconds: float) -> None:
        """A call got its turn after this long."""
        if seconds > LONG_SECONDS:
            if self._places == self._least:
                self.hold = min(MOST_HOLD_SECONDS, self.hold + _LONGER)
            self._places = max(self._least, self._places * _FEWER)
        elif seconds < SHORT_SECONDS:
            self.hold = self.hold * _SHORTER if self.hold > 0.001 else 0.0
            self._places = min(self._most, self._places + _MORE)
