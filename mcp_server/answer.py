"""What every tool gives back through every door: status, data, page and receipt, with short text beside."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, cast

from mcp_server.fence import Fence, Quoted
from mcp_server.receipt import Cost, Receipt
from semantic_layer.errors import Refused, Unauthenticated, WellheadError

Status = Literal["ok", "refused", "failed"]
_BEYOND_ASCII = re.compile(r"[^\x00-\x7e]+")
"""What JSON in ASCII escapes beyond what JSON in UTF-8 does."""
_AS_IT_IS = frozenset({str, int, bool, type(None), Quoted})
TEXT_BUDGET_CHARS = 8_000
"""About 2,000 tokens."""


@dataclass(frozen=True)
class Page:
    """How much was returned and where the rest begins. No total is promised."""

    returned: int
    next_cursor: str = ""

    def to_json(self) -> dict[str, Any]:
        """The page in JSON form."""
        return {"returned": self.returned, **({"next_cursor": self.next_cursor} if self.next_cursor else {})}


@dataclass(frozen=True)
class Answer:
    """One answer. `data` is JSON; texts that came out of documents are `Quoted`.

    `text` is what a model reads beside the data. A refusal or failure carries `error` instead of `data`.
    """

    data: Mapping[str, Any]
    receipt: Receipt
    text: str = ""
    page: Page | None = None
    status: Status = "ok"
    error: WellheadError | None = None
    fence: Fence = field(default_factory=Fence)

    @cached_property
    def plain_data(self) -> dict[str, Any]:
        """The data as JSON holds it."""
        return plain(self.data)

    @cached_property
    def _encoded(self) -> str:
        return json.dumps(self.plain_data, sort_keys=True, ensure_ascii=False)

    @property
    def digest(self) -> str:
        """SHA-256 over status, data and page size as canonical JSON; receipt and cursor do not count."""
        returned = self.page.returned if self.page else 0
        data = self._encoded
        ascii_data = data if data.isascii() and "\x7f" not in data else _BEYOND_ASCII.sub(_escaped, data)
        canonical = f'{{"data": {ascii_data}, "returned": {returned}, "status": "{self.status}"}}'
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self, *, fenced: bool = False) -> dict[str, Any]:
        """The answer as structured content. `fenced` puts the marker round every retrieved text."""
        data = self.plain_data
        if fenced and _holds_quoted(data):
            data = {**self.fence.around_quoted(data), "untrusted": self.fence.note()}
        form: dict[str, Any] = {"status": self.status, "data": data}
        if self.page is not None:
            form["page"] = self.page.to_json()
        return {**form, "receipt": self.receipt.to_json()}

    def to_text(self) -> str:
        """The short text: what was found, then the receipt's line; about 2,000 tokens at most."""
        receipt_line = self.receipt.line()
        room = TEXT_BUDGET_CHARS - len(receipt_line) - 80
        body = self.text
        if len(body) > room:
            body = body[:room].rsplit("\n", 1)[0] + "\n… cut; the structured content holds the rest."
        return f"{body}\n{receipt_line}" if body else receipt_line

    def costing(self, ms: float) -> Answer:
        """The answer with bytes and time filled into its receipt."""
        size = len(self._encoded.encode("utf-8", "surrogatepass"))
        cost = Cost(self.receipt.cost.rows, size, round(ms, 1))
        costed = replace(self, receipt=replace(self.receipt, cost=cost))
        vars(costed).update(plain_data=self.plain_data, _encoded=self._encoded)  # the same data
        return costed


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def answer_of_error(error: WellheadError, receipt: Receipt) -> Answer:
    """A refusal names the rule and the next step; a failure its code, sentence and next step."""
    refused = isinstance(error, (Refused, Unauthenticated))
    detail: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.hint:
        detail["hint"] = error.hint
    if isinstance(error, Refused):
        detail["rule"] = error.rule
    detail["retryable"] = error.retryable
    status: Status = "refused" if refused else "failed"
    return Answer({"error": detail}, receipt, text=str(error), status=status, error=error)


def plain(value: Any) -> Any:
    """The value as JSON holds it: exact decimals stay exact (a number where that is exact, else a string),
    moments are ISO 8601 with their offset (UTC where they have none), NaN and infinities are null.
    """
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is dict:
        return {str(name): plain(item) for name, item in cast("dict[Any, Any]", value).items()}
    if kind is list or kind is tuple:
        return [plain(item) for item in cast("list[Any]", value)]
    return _converted(value)


def _converted(value: Any) -> Any:
    match value:
        case int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return _number(value)
        case datetime():
            moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value
            return moment.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(name): plain(item) for name, item in cast("Mapping[Any, Any]", value).items()}
        case set() | frozenset():
            return sorted(plain(item) for item in cast("frozenset[Any]", value))
        case Sequence():
            return [plain(item) for item in cast("Sequence[Any]", value)]
        case _:
            return str(value)


def _number(value: Decimal) -> int | float | str | None:
    if not value.is_finite():
        return None
    if value == value.to_integral_value() and abs(value) < 2**53:
        return int(value)
    near = float(value)
    return near if Decimal(repr(near)) == value else str(value)


def _holds_quoted(value: Any) -> bool:
    items: Iterable[Any] = ()
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).values()
    elif isinstance(value, list):
        items = cast("list[Any]", value)
    for item in items:
        kind = type(item)
        if kind is Quoted or (kind not in _AS_IT_IS and _holds_quoted(item)):
            return True
    return False
