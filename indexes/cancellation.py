"""Stops the work of a call whose caller has gone, in whichever engine it is at the moment."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from contextvars import ContextVar

from semantic_layer.errors import Cancelled


class Cancellation:
    """Lets another thread stop a call. An engine at work for it says how, for as long as it works."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self.cancelled = False

    @property
    def at_work(self) -> bool:
        """Whether an engine is at work for the call."""
        return self._stop is not None

    def cancel(self) -> None:
        """Stop the call, now or as soon as an engine begins to work for it. May wait for the engine to hear it."""
        with self._lock:
            self.cancelled = True
            if self._stop is not None:
                self._stop()

    @contextlib.contextmanager
    def over(self, stop: Callable[[], None]) -> Generator[None]:
        """While inside, `cancel` calls `stop`, which returns only when it can no longer hit anything else.

        Raises Cancelled where the call was cancelled before.
        """
        with self._lock:
            if self.cancelled:
                raise Cancelled("the call was cancelled before it ran.", hint="Ask again.")
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None


_current: ContextVar[Cancellation | None] = ContextVar("cancellation", default=None)


@contextlib.contextmanager
def working_for(cancellation: Cancellation) -> Generator[None]:
    """While inside, this thread works for a call that may be cancelled."""
    token = _current.set(cancellation)
    try:
        yield
    finally:
        _current.reset(token)


def require_wanted(name: str) -> None:
    """Raise Cancelled where the call that this thread works for was cancelled; `name` is what it reads."""
    if current_cancellation().cancelled:
        raise Cancelled(f"reading {name} was cancelled.", hint="Ask again.")


def current_cancellation() -> Cancellation:
    """The cancellation of the call that this thread works for; one that nobody cancels where it works for none."""
    return _current.get() or Cancellation()
