"""JSON and JSON Lines as records: exact numbers, no key twice, mistakes named by line and column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from ingest.parse.encoding import decode, encoding_of
from semantic_layer.errors import SourceFailed

_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MOST_DIGITS = 4_000


class _DoubledKey(ValueError):
    """A JSON object that holds one key twice."""


class _UnusableNumber(ValueError):
    """A number that JSON does not know (NaN, Infinity) or that is absurdly long."""


def json_records(path: Path, encoding: str | None = None) -> Iterator[dict[str, Any]]:
    """The records of a JSON file: its array of objects, its one object, or the one array in that object.

    Numbers with a fraction are Decimal, whole ones int. Raises SourceFailed with file, line and column.
    """
    text = decode(path.read_bytes(), path, encoding)
    if not text.strip():
        raise SourceFailed(f"{path} is empty.", hint="Write a JSON array of objects.")
    value = _loads(path, text, 0)
    for number, record in enumerate(_records(value), 1):
        if not isinstance(record, dict):
            raise SourceFailed(
                f"{path}, element {number}: {_kind(record)} stands where an object was expected.",
                hint="Every element of the array must be an object.",
            )
        yield record


def jsonl_records(path: Path, encoding: str | None = None) -> Iterator[dict[str, Any]]:
    """The records of a JSON Lines file, one object a line, empty lines skipped. SourceFailed names the line."""
    with path.open(encoding=encoding_of(path, encoding), newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            record = _loads(path, line.rstrip("\r\n"), number)
            if not isinstance(record, dict):
                raise SourceFailed(
                    f"{path}, line {number}: {_kind(record)} stands where an object was expected.",
                    hint="Write one JSON object a line.",
                )
            yield record


def _records(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        nested = [inner for inner in value.values() if isinstance(inner, list)]
        if len(nested) == 1 and nested[0] and all(isinstance(record, dict) for record in nested[0]):
            others = [inner for inner in value.values() if inner is not nested[0]]
            if not any(isinstance(inner, dict) for inner in others):
                return nested[0]
    return [value]


def _loads(path: Path, text: str, line: int) -> Any:
    """Parse one JSON text; `line` is its line in a JSON Lines file, 0 for a whole file."""
    try:
        value: Any = _DECODER.decode(text.removeprefix("\ufeff"))
        if _LONE_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        raise SourceFailed(f"{path}, {where}: not valid JSON ({error.msg}).", hint="Mend it there.") from error
    except (_DoubledKey, _UnusableNumber) as error:
        where = f", line {line}" if line else ""
        raise SourceFailed(f"{path}{where}: {error}.", hint="Mend it in the file.") from error
    except UnicodeEncodeError as error:
        where = f", line {line}" if line else ""
        raise SourceFailed(
            f"{path}{where}: a string holds half of a surrogate pair (\\uD800 to \\uDFFF), which is no character.",
            hint="Write the character itself.",
        ) from error
    except RecursionError as error:
        where = f", line {line}" if line else ""
        raise SourceFailed(f"{path}{where}: nested too deeply to be read.", hint="Flatten the record.") from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        doubled = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise _DoubledKey(f"the key {doubled!r} stands twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise _UnusableNumber(f"a number has {len(digits):,} digits")
    return int(digits)


def _constant(name: str) -> Any:
    raise _UnusableNumber(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Decimal, parse_int=_integer, parse_constant=_constant
)


def _kind(value: Any) -> str:
    names = {str: "a string", bool: "a boolean", list: "an array", type(None): "null", dict: "an object"}
    return names.get(type(value), "a number")
