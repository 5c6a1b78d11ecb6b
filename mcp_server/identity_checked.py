"""Tokens whose signature was checked lately: checked once, while the key that signed them is honoured and they hold."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mcp_server.identity import Verified

MOST_KEPT = 10_000

FindKey = Callable[[str, str], Awaitable[object]]
"""The key that is honoured now under this id for this algorithm: a key that was replaced or withdrawn is another
object, or refused."""


@dataclass(frozen=True)
class Checked:
    """What was found out about one token: by which key of whom, and how much the clocks may differ (seconds)."""

    verified: Verified
    key: object
    key_id: str
    algorithm: str
    find: FindKey
    leeway: float


class CheckedTokens:
    """Keeps what was found by the token's digest, never the token; the longest unused is forgotten first.

    Only tokens that held are kept. `clock` is the time in seconds since 1970. For one event loop.
    """

    def __init__(self, most: int = MOST_KEPT, clock: Callable[[], float] = time.time) -> None:
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[bytes, Checked] = OrderedDict()

    async def find(self, token: str) -> Verified | None:
        """Whom the token names, where that was found out before and still holds; None where it must be checked.

        Asks at each call for the key that signed it: what a key signed ends with the key. Raises what `FindKey`
        raises: Unauthenticated where the key is honoured no longer, EngineUnavailable where nobody can say.
        """
        digest = _digest(token)
        checked = self._kept.get(digest)
        if checked is None:
            return None
        if checked.verified.expires_at <= self._clock() - checked.leeway:
            del self._kept[digest]
            return None
        if await checked.find(checked.key_id, checked.algorithm) is not checked.key:
            self._kept.pop(digest, None)
            return None
        if digest in self._kept:
            self._kept.move_to_end(digest)
        return checked.verified

    def known(self, token: str) -> Verified | None:
        """Whom the token named when it was checked, whether or not it still holds."""
        checked = self._kept.get(_digest(token))
        return checked.verified if checked is not None else None

    def keep(self, token: str, checked: Checked) -> None:
        """Remember a token that was checked just now."""
        self._kept[_digest(token)] = checked
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
