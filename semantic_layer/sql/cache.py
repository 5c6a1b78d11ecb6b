"""What was compiled before, by what it depends on: the catalogue, the question, and the shape of the grants."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from semantic_layer.plan.world import Keep
from semantic_layer.policy import Grants
from semantic_layer.predicate import Predicate

Key = tuple[Any, ...]
Compiled = TypeVar("Compiled")


@dataclass(frozen=True)
class _Kept(Generic[Compiled]):
    """What was compiled, the rows that tombstones left then, and the objects that its key names by identity."""

    compiled: Compiled
    rows: Mapping[tuple[str, str], Predicate]
    held: Sequence[object]


class CompiledCache(Generic[Compiled]):
    """The last compiled queries; safe to share between threads. Only what was compiled without an error is kept."""

    def __init__(self, size: int = 512) -> None:
        self._size = size
        self._found: OrderedDict[Key, _Kept[Compiled]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, keep: Keep) -> Compiled | None:
        """What was compiled under this key, unless an erasure has changed which rows it may read since."""
        with self._lock:
            found = self._found.get(key)
            if found is None:
                return None
            self._found.move_to_end(key)
        unchanged = all(keep(*table) == rows for table, rows in found.rows.items())
        return found.compiled if unchanged else None

    def put(
        self, key: Key, compiled: Compiled, rows: Mapping[tuple[str, str], Predicate], held: Sequence[object]
    ) -> None:
        """Keep what was compiled; `rows` are what tombstones leave of each table it reads, `held` the objects that
        the key names by identity."""
        with self._lock:
            self._found[key] = _Kept(compiled, rows, held)
            while len(self._found) > self._size:
                self._found.popitem(last=False)


def rights_of(grants: Grants | None) -> str:
    """All that a compiled query takes from the grants, whoever they are for; equal rights give equal text."""
    if grants is None:
        return ""
    return repr(
        [
            (
                name,
                sorted(grant.datasets.items()),
                sorted(grant.metrics),
                sorted(grant.denied_metrics),
                grant.restricts_facts,
                grant.minimum_group_size,
            )
            for name, grant in sorted(grants.items())
        ]
    )
