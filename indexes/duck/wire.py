"""What the reading process and its parent say to each other: frames of JSON, and answers as Arrow streams.

Nothing is pickled: a value that JSON has no form for is written with the name of its type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

HEADER_BYTES = 8
"""A frame is its length in this many bytes, big-endian, then its content."""

_WRITERS: Mapping[type, tuple[str, Callable[[Any], str]]] = {
    Decimal: ("decimal", str),
    datetime: ("timestamp", datetime.isoformat),
    date: ("date", date.isoformat),
    time: ("time", time.isoformat),
}
_READERS: Mapping[str, Callable[[str], Any]] = {
    "decimal": Decimal,
    "timestamp": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
}


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as one frame."""
    content = json.dumps(message, default=_written).encode()
    return len(content).to_bytes(HEADER_BYTES, "big") + content


def decode(content: bytes) -> dict[str, Any]:
    """The message in a frame's content."""
    return json.loads(content, object_hook=_read)


def _written(value: Any) -> dict[str, str]:
    kind, write = _WRITERS[type(value)]
    return {"!": kind, "=": write(value)}


def _read(found: dict[str, Any]) -> Any:
    return _READERS[found["!"]](found["="]) if found.keys() == {"!", "="} else found
