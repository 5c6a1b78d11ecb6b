"""How a value is shown instead of itself: gone, replaced, shortened, or as a keyed hash."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import Any, Literal

MaskKind = Literal["null", "hash", "last4", "redact", "constant"]
STRICTEST_FIRST: tuple[MaskKind, ...] = ("null", "constant", "redact", "hash", "last4")
HASH_CHARACTERS = 12


@dataclass(frozen=True)
class Mask:
    """A way to hide a value. `key` is the workspace's own secret for `hash`; a policy file holds none."""

    kind: MaskKind
    constant: Any = None
    key: bytes = field(default=b"", repr=False, compare=False)

    def keyed(self, key: bytes) -> Mask:
        """The mask with the workspace's key; only `hash` uses one."""
        return replace(self, key=key) if self.kind == "hash" else self

    def apply(self, value: Any) -> Any:
        """The masked value; NULL stays NULL.

        `hash` is the first 12 hex digits of HMAC-SHA256 (RFC 2104) of the value's text under the workspace's key:
        equal values stay equal, and without the key no dictionary of likely values finds them. Raises ValueError
        where a hash mask has no key.
        """
        if self.kind == "null" or value is None:
            return None
        match self.kind:
            case "hash":
                return self._digest(str(value))
            case "last4":
                return "•••" + str(value)[-4:] if len(str(value)) > 4 else "•••"
            case "redact":
                return "[redacted]"
            case _:
                return self.constant

    def _digest(self, text: str) -> str:
        if not self.key:
            raise ValueError("a hash mask needs the workspace's key")
        return hmac.new(self.key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[
            :HASH_CHARACTERS
        ]
