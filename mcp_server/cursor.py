"""Where the next page begins: a signed, opaque note bound to the caller, the question and what was read."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from indexes.keys import Keyring
from semantic_layer.errors import InvalidArgument
from semantic_layer.principal import Principal

SIGNATURE_BYTES = 16
MAX_CURSOR_CHARS = 1_024


@dataclass(frozen=True)
class Question:
    """What a cursor is bound to: who asked what, over which generations."""

    principal: Principal
    tool: str
    arguments: Mapping[str, Any]
    generations: Mapping[str, str]


class CursorSigner:
    """Writes and reads cursors, signed with HMAC-SHA256 cut to 16 bytes."""

    def __init__(self, keys: Keyring, lifetime_seconds: int, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._lifetime_seconds = lifetime_seconds
        self._clock = clock

    def at(self, moment: float) -> CursorSigner:
        """The same signer with its clock standing still, in seconds since 1970: for a call that is replayed."""
        return CursorSigner(self._keys, self._lifetime_seconds, lambda: moment)

    def write(self, question: Question, offset: int) -> str:
        """The cursor for the page that starts at `offset`."""
        key = self._keys.newest()
        note = {
            "k": key.id,
            "o": offset,
            "q": _asked_digest(question),
            "g": _generations_digest(question),
            "x": int(self._clock()) + self._lifetime_seconds,
        }
        body = _encode(json.dumps(note, separators=(",", ":")).encode())
        return f"{body}.{_encode(_sign(key.material, body))}"

    def read(self, cursor: str, question: Question) -> int:
        """The offset a cursor points at.

        Raises InvalidArgument: one sentence for a cursor that is not ours, was edited or belongs to another
        caller or question; another for one that expired or whose generations are no longer live.
        """
        note = self._verified(cursor)
        if not hmac.compare_digest(str(note["q"]), _asked_digest(question)):
            raise _foreign()
        if int(note["x"]) < self._clock() or note["g"] != _generations_digest(question):
            raise InvalidArgument(
                "the cursor has expired: the data it pages through is no longer live.",
                hint="Ask again without `cursor`.",
            )
        return int(note["o"])

    def _verified(self, cursor: str) -> dict[str, Any]:
        body, _, signature = cursor.partition(".")
        try:
            if len(cursor) > MAX_CURSOR_CHARS:
                raise _foreign()
            note = json.loads(_decode(body))
            key = self._keys.find(str(note["k"]))
            if key is None or not hmac.compare_digest(_sign(key.material, body), _decode(signature)):
                raise _foreign()
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise _foreign() from None
        return note


def principal_key(principal: Principal) -> str:
    """A digest of everything about a caller that can change what it is shown."""
    return _digest(
        {
            "subject": principal.subject,
            "client": principal.client,
            "roles": sorted(principal.roles),
            "scopes": sorted(principal.scopes),
            "tenant": principal.tenant,
            "purposes": sorted(principal.purposes),
            "attributes": {name: repr(value) for name, value in principal.attributes.items()},
        }
    )


def _asked_digest(question: Question) -> str:
    asked = {name: value for name, value in question.arguments.items() if name != "cursor"}
    return _digest({"who": principal_key(question.principal), "tool": question.tool, "asked": asked})


def _generations_digest(question: Question) -> str:
    return _digest(dict(question.generations))


def _digest(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _sign(secret: bytes, body: str) -> bytes:
    return hmac.new(secret, body.encode(), hashlib.sha256).digest()[:SIGNATURE_BYTES]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _foreign() -> InvalidArgument:
    return InvalidArgument(
        "the cursor does not belong to this caller and question.",
        hint="Use the `next_cursor` of the previous answer with the same arguments, or ask without `cursor`.",
    )
