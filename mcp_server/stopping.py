"""How a server stops: not ready first, no new calls, those that run end or are told, then out."""

from __future__ import annotations

from collections.abc import Callable

from semantic_layer.errors import Busy


class Stopping:
    """Whether the server is stopping, and what must hear of it when its grace is over. Used on one event loop."""

    def __init__(self) -> None:
        self.begun = False
        self._at_once: list[Callable[[], None]] = []
        self._at_last: list[Callable[[], None]] = []

    def at_once(self, action: Callable[[], None]) -> None:
        """Do this as soon as the server lets go of its connections: end what would never end by itself."""
        self._at_once.append(action)

    def at_last(self, action: Callable[[], None]) -> None:
        """Do this when the grace is over."""
        self._at_last.append(action)

    def begin(self) -> None:
        """From now on the server is not ready and takes no new calls."""
        self.begun = True

    def let_go(self) -> None:
        """From now on the server only ends what runs."""
        self.begun = True
        for action in self._at_once:
            action()

    def finish(self) -> None:
        """The grace is over."""
        self.begun = True
        for action in self._at_last:
            action()


def stopping_now() -> Busy:
    """What a caller hears while the server stops."""
    return Busy("the server is stopping.", hint="Try again: another one may answer.")
