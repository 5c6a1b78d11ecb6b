"""The names in a folder, asked for at every call and listed again only where the folder may have changed."""

from __future__ import annotations

import time
from pathlib import Path

SETTLED_NANOSECONDS = 2_000_000_000
"""A change within the clock tick of a listing leaves the folder's time as it was, so a listing counts only once the
folder's time lies this far back. File systems tell time to 2 s or better."""


class FolderListing:
    """The names in one folder. A name that comes or goes is seen by the next call; one lookup where none did.

    Thread-safe.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: tuple[tuple[int, int], frozenset[str]] | None = None

    def names(self) -> frozenset[str]:
        """The names now; none where there is no folder. Raises OSError where it cannot be read."""
        try:
            found = self._folder.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            listed = self._listed
            if listed is not None and listed[0] == stamp:
                return listed[1]
            asked = time.time_ns()
            names = frozenset(path.name for path in self._folder.iterdir())
        except FileNotFoundError:
            self._listed = None
            return frozenset()
        settled = 0 <= found.st_mtime_ns <= asked - SETTLED_NANOSECONDS
        self._listed = (stamp, names) if settled else None
        return names
