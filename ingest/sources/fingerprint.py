"""What a file holds, as its SHA-256; a file whose size and times are those of last time is not read again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from indexes.durable import replace_atomically, sha256_of_file
from ingest.sources.local import SourceFile
from semantic_layer.errors import SourceFailed

FORMAT = 1
_SETTLED_NS = 2_000_000_000
"""A file younger than this when it was read may change again within its time stamp, so it is read next time."""


class Fingerprints:
    """The digests of a product's files, remembered in one JSON file. A damaged memory is only slow."""

    def __init__(self, path: Path, *, trusted: bool = True) -> None:
        self._path = path
        self.trusted = trusted
        self._known: dict[str, list[Any]] = _read(path) if trusted else {}
        self._used: dict[str, list[Any]] = {}

    def of(self, files: Iterable[SourceFile]) -> dict[str, str]:
        """The digest of each file by its name. Raises SourceFailed for one that cannot be read."""
        return {file.name: self._of(file) for file in files}

    def _of(self, file: SourceFile) -> str:
        key = str(file.path)
        try:
            status = file.path.stat()
            stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            known = self._known.get(key)
            if known is not None and known[:4] == stamp:
                self._used[key] = known
                return str(known[4])
            digest = sha256_of_file(file.path)
        except OSError as error:
            raise SourceFailed(
                f"{file.path} cannot be read: {error.strerror or error}.", hint="Check that it may be read."
            ) from error
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            self._used[key] = [*stamp, digest]
        return digest

    def remember(self) -> None:
        """Keep what was used for the next run, where it differs from what is kept."""
        if self._used != self._known:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            content = json.dumps({"format": FORMAT, "files": self._used}).encode()
            replace_atomically(self._path, content)
            self._known = dict(self._used)


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        data = json.loads(path.read_bytes())
        return dict(data["files"]) if data["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
