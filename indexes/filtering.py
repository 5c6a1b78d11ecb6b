"""Which chunks a filter allows, made once a generation and filter by DuckDB and kept in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from indexes.ports import Allowed, TableReader
from semantic_layer.predicate import Predicate

DEFAULT_BYTES = 64 * 2**20
_OVERHEAD_BYTES = 512

Key = tuple[Path, str, tuple[tuple[str, Predicate], ...]]


class AllowedCache:
    """Allowed sets by (generation folder and id, predicates), least recently used out first. Thread-safe.

    Two threads that miss at once may both ask the tables; they get equal sets.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Allowed] = OrderedDict()
        self.bytes = 0

    def allowed(
        self, folder: Path, generation: str, tables: TableReader, where: Mapping[str, Predicate]
    ) -> Allowed:
        """The chunk numbers that `where` allows in this generation; see TableReader.allowed."""
        key = (folder, generation, tuple(sorted(where.items(), key=lambda one: one[0])))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        allowed = replace(tables.allowed(where), where=dict(where))
        allowed.numbers.setflags(write=False)
        with self._lock:
            self._keep(key, allowed)
        return allowed

    def _keep(self, key: Key, allowed: Allowed) -> None:
        size = _size(allowed)
        if key in self._kept or size > self._max_bytes:
            return
        self._kept[key] = allowed
        self.bytes += size
        while self.bytes > self._max_bytes:
            self.bytes -= _size(self._kept.popitem(last=False)[1])


def _size(allowed: Allowed) -> int:
    return allowed.numbers.nbytes + allowed.total // 8 + _OVERHEAD_BYTES
