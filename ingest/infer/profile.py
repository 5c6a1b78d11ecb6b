"""What the rows of a table or record set show: each column's type, gaps, repetitions and signs of persons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ingest.infer.kinds import EVERY, PREFERENCE, Kinds, kinds_of
from ingest.infer.signs import TextSigns
from semantic_layer.product import ColumnType

MOST_ROWS = 200_000
"""So many rows are looked at; where there are more, only the likeliest key is claimed, which the ingest checks."""

_TEXT = frozenset({ColumnType.STRING})
_FRACTION = re.compile(r"[+-]?([0-9]*)\.([0-9]*)")


@dataclass
class ColumnProfile:
    """One column as it was seen. `source` is its name in the file, or its JSON path, which begins with `$`."""

    source: str
    kinds: Kinds = EVERY
    items: Kinds = EVERY
    filled: int = 0
    texts: TextSigns = field(default_factory=TextSigns)
    scales: set[int] = field(default_factory=set[int])
    digits: int = 0
    repeated: bool = False
    _seen: set[Any] = field(default_factory=set[Any])

    def add(self, value: Any, *, untyped: bool) -> None:
        """Take one value into account; None and empty text are gaps."""
        if value is None or value == "":
            return
        self.filled += 1
        if self.kinds != _TEXT or not isinstance(value, str):
            self.kinds &= kinds_of(value, untyped=untyped)
        if isinstance(value, list):
            for item in value:
                self.items &= kinds_of(item, untyped=untyped) if item is not None else EVERY
        elif not isinstance(value, dict):
            self._add_scalar(value)

    def _add_scalar(self, value: Any) -> None:
        text = str(value)
        self._add_digits(value, text)
        if isinstance(value, str):
            self.texts.add(value)
        if not self.repeated:
            key = hash(text) if len(text) > 16 else text
            self.repeated = key in self._seen
            self._seen.add(key)
            if self.repeated:
                self._seen.clear()

    def _add_digits(self, value: Any, text: str) -> None:
        if isinstance(value, (str, Decimal)) and ColumnType.NUMBER in self.kinds:
            found = _FRACTION.fullmatch(text.strip())
            self.scales.add(len(found[2]) if found else 0)
            self.digits = max(self.digits, len(found[1]) if found else len(text))

    @property
    def type(self) -> ColumnType | None:
        """The narrowest type that holds every value seen; text for an empty column; None where none does."""
        if not self.filled:
            return ColumnType.STRING
        return next((kind for kind in PREFERENCE if kind in self.kinds), None)

    @property
    def item_type(self) -> ColumnType:
        """The same of an array's elements."""
        if self.items == EVERY:
            return ColumnType.STRING
        return next((kind for kind in PREFERENCE if kind in self.items), ColumnType.OBJECT)


@dataclass(frozen=True)
class Profile:
    """The columns of a dataset in the order first seen. `complete` says that every row was looked at."""

    rows: int
    complete: bool
    columns: tuple[ColumnProfile, ...]
    notes: tuple[str, ...] = ()


def profile_rows(rows: Iterable[Mapping[str, Any]], *, untyped: bool) -> Profile:
    """Look at flat rows, at most MOST_ROWS of them. Raises what the reader raises."""
    columns: dict[str, ColumnProfile] = {}
    count, complete = 0, True
    for row in rows:
        if count == MOST_ROWS:
            complete = False
            break
        count += 1
        for name, value in row.items():
            if name not in columns:
                columns[name] = ColumnProfile(name)
            columns[name].add(value, untyped=untyped)
    return Profile(count, complete, tuple(columns.values()))
