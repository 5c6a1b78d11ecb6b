"""A circuit breaker: after several failures in a row nobody waits for a server that is down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """Opens after `failures` in a row; `seconds` later one call may try, and decides for all. Thread-safe."""

    def __init__(
        self, failures: int = 5, seconds: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._next_try = 0.0

    @property
    def open(self) -> bool:
        """Whether the last calls failed, so that most calls are refused at once."""
        return self._failures >= self._limit

    def admit(self) -> bool:
        """Whether a call may be made now. While open, one is let through every `seconds`."""
        with self._lock:
            if not self.open:
                return True
            now = self._clock()
            if now < self._next_try:
                return False
            self._next_try = now + self._seconds
            return True

    def succeeded(self) -> None:
        """A call was answered: all may go on."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """A call was not answered."""
        with self._lock:
            self._failures += 1
            self._next_try = self._clock() + self._seconds
