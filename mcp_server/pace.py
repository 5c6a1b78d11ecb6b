"""How many requests are let in at a time: as many as are set, fewer while calls wait long for their turn."""

from __future__ import annotations

LONG_SECONDS = 0.7
"""A call that waits longer for its turn says that too much comes in."""
SHORT_SECONDS = 0.35
"""One that waits less says that there is room for more."""
_FEWER = 0.97
_MORE = 0.25


class Pace:
    """Follows how long calls waited. Used on one event loop. `places` is how many requests may be in flight."""

    def __init__(self, least: int, most: int) -> None:
        self._least = float(min(least, most))
        self._most = float(most)
        self._places = self._least

    @property
    def places(self) -> int:
        """How many requests may be in flight now."""
        return int(self._places)

    def waited(self, seconds: float) -> None:
        """A call got its turn after this long."""
        if seconds > LONG_SECONDS:
            self._places = max(self._least, self._places * _FEWER)
        elif seconds < SHORT_SECONDS:
            self._places = min(self._most, self._places + _MORE)
