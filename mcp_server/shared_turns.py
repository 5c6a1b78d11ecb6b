"""How many turns the processes of one server hold, each for the others to see."""

from __future__ import annotations

import mmap
from pathlib import Path

_NUMBER = "I"
_BYTES = 4


class SharedTurns:
    """One number a process in a file that all map: each writes its own and reads the others'. No lock: a number that is
    a moment old makes a turn begin a moment sooner or later."""

    def __init__(self, path: Path, process: int) -> None:
        """The file as `make` made it; what an earlier process of this number left is forgotten."""
        with path.open("r+b") as file:
            self._numbers = memoryview(mmap.mmap(file.fileno(), 0)).cast(_NUMBER)
        self._process = process
        self.hold(0)

    @staticmethod
    def make(path: Path, processes: int) -> None:
        """A file for so many processes, none of which holds a turn."""
        path.write_bytes(bytes(_BYTES * processes))

    def hold(self, count: int) -> None:
        """This process holds so many."""
        self._numbers[self._process] = count

    def elsewhere(self) -> int:
        """How many the others hold."""
        return sum(self._numbers) - self._numbers[self._process]
