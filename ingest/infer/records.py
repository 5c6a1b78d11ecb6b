"""The columns that nested JSON records hold: one for each path to a value, arrays kept whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from ingest.infer.profile import Profile, profile_rows

_DEEPEST = 4
_MOST_KEYS = 40
_FIRST = 1_000
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Path = tuple[str, ...]


def profile_records(records: Iterable[Mapping[str, Any]]) -> Profile:
    """Look at nested records; `source` of each column is its JSON path.

    An object deeper than four levels, or with so many keys that they are values rather than names, is one column.
    A key that no JSON path can name, and one that holds an object here and a value there, is left out with a note.
    """
    reader = iter(records)
    first = list(islice(reader, _FIRST))
    whole = _objects_of_many_keys(first)
    flat = (dict(_leaves(record, whole, ())) for record in chain(first, reader))
    notes: dict[str, None] = {}
    profile = profile_rows((_named(row, notes) for row in flat), untyped=False)
    paths = {column.source for column in profile.columns}
    outer = {path for path in paths if any(other.startswith((f"{path}.", f"{path}['")) for other in paths)}
    for path in sorted(outer):
        notes[f"{path} holds objects in some records and values in others and is left out"] = None
    kept = tuple(column for column in profile.columns if column.source not in outer)
    return Profile(profile.rows, profile.complete, kept, tuple(notes))


def _objects_of_many_keys(records: Iterable[Mapping[str, Any]]) -> frozenset[Path]:
    children: dict[Path, set[str]] = {}
    for record in records:
        for path, _ in _leaves(record, frozenset(), ()):
            for depth in range(1, len(path)):
                children.setdefault(path[:depth], set()).add(path[depth])
    return frozenset(path for path, keys in children.items() if len(keys) > _MOST_KEYS)


def _leaves(record: Mapping[str, Any], whole: frozenset[Path], above: Path) -> Iterator[tuple[Path, Any]]:
    for key, value in record.items():
        path = (*above, key)
        if isinstance(value, dict) and value and len(path) < _DEEPEST and path not in whole:
            yield from _leaves(value, whole, path)
        else:
            yield path, value


def _named(row: Mapping[Path, Any], notes: dict[str, None]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for path, value in row.items():
        if any("'" in key for key in path):
            notes[f"the key {'.'.join(path)!r} holds a quote, which no JSON path can name, and is left out"] = None
        else:
            named[json_path(path)] = value
    return named


def json_path(path: Path) -> str:
    """The JSON path of nested keys: `$.attributes.colour`, `$['Order ID']`."""
    return "$" + "".join(f".{key}" if _PLAIN_KEY.fullmatch(key) else f"['{key}']" for key in path)
