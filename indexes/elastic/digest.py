"""The order-free digest of what an index holds: the sum of a hash of each chunk's id, text and filter values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indexes.elastic.mapping import PIECES

_MODULUS = 2**256
_PIECE = 2**24


@dataclass
class Digest:
    """A running digest. `count` chunks were added; equal sets of chunks have equal digests, in any order."""

    count: int = 0
    total: int = 0

    def add(self, chunk_id: str, text_sha256: str, values: Mapping[str, Any]) -> dict[str, int]:
        """Add one chunk; returns the pieces that its document carries, for `sums` to be checked on the server."""
        canonical = json.dumps([chunk_id, text_sha256, values], sort_keys=True, ensure_ascii=False)
        hashed = int.from_bytes(hashlib.sha256(canonical.encode()).digest())
        self.count += 1
        self.total = (self.total + hashed) % _MODULUS
        return {piece: hashed >> (24 * at) & (_PIECE - 1) for at, piece in enumerate(PIECES)}

    @property
    def hexadecimal(self) -> str:
        """64 hex digits."""
        return f"{self.total:064x}"
