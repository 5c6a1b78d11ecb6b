"""What is turned away at the door, before there is a call: counted, and written into the audit log by the window."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.types import Scope

from mcp_server.audit import AuditLog
from semantic_layer.errors import Refused, WellheadError

log = logging.getLogger("wellhead.server")

KIND = "refused"
FIRST_SECONDS = 1.0
"""How long after the first refusal of a quiet time its record is written."""
LAST_SECONDS = 60.0
"""While refusals go on, windows double up to this: a flood costs one record a minute."""
MOST_TOLD = 32
"""Kinds of refusal that one window tells apart; what is beyond them is only counted."""
MAX_CHARS = 160
_ROOTS = ("/mcp", "/api")


@dataclass(frozen=True)
class Refusal:
    """One kind of refusal: why, where, from which address, and who asked where that was known by then.

    Nothing in it is of the request's own words but the address it came from: no token, no header, no path.
    """

    code: str
    why: str
    at: str
    peer: str
    subject: str = ""

    def to_json(self, count: int) -> dict[str, Any]:
        """The kind and how often it happened; what is empty is left out."""
        return {name: value for name, value in {**asdict(self), "count": count}.items() if value}


class DoorRefusals:
    """Counts refusals and writes one audit record a window, by a thread of its own.

    `note` never waits and takes the same time however many there are; memory and disk are bounded whatever is sent.
    A process that is killed loses the count of its open window, at most LAST_SECONDS of it.
    """

    def __init__(self, audit: AuditLog, *, first: float = FIRST_SECONDS, last: float = LAST_SECONDS) -> None:
        self._audit = audit
        self._first = first
        self._last = last
        self._changed = threading.Condition()
        self._counts: Counter[Refusal] = Counter()
        self._others = 0
        self._since = ""
        self._closed = False
        self._writer: threading.Thread | None = None

    def note_error(self, scope: Scope, error: WellheadError, subject: str = "", *, count: int = 1) -> None:
        """Count refusals of requests with this error. `subject` only where its credential was verified."""
        why = f"rule {error.rule}" if isinstance(error, Refused) else error.message
        self.note(scope, error.code, why, subject, count=count)

    def note(self, scope: Scope, code: str, why: str, subject: str = "", *, count: int = 1) -> None:
        """Count refusals of requests. `why` must hold nothing that they say."""
        path, client = str(scope["path"]), scope.get("client")
        root = next((one for one in _ROOTS if path == one or path.startswith(one + "/")), "other")
        kind = Refusal(code, why[:MAX_CHARS], root, client[0] if client else "", subject)
        with self._changed:
            if self._closed:
                return
            if kind in self._counts or len(self._counts) < MOST_TOLD:
                self._counts[kind] += count
            else:
                self._others += count
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_windows, name="refusals", daemon=True)
                self._writer.start()
            if not self._since:
                self._since = _now()
                self._changed.notify()

    def close(self) -> None:
        """Write what is counted and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            writer = self._writer
        if writer is not None:
            writer.join()

    def _write_windows(self) -> None:
        seconds = self._first
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._since or self._closed, timeout=self._last):
                    seconds = self._first
                    self._changed.wait_for(lambda: self._since or self._closed)
                self._changed.wait_for(lambda: self._closed, timeout=seconds)
                record, counts, others = self._record(), self._counts, self._others
                self._counts, self._others, self._since = Counter(), 0, ""
                closed = self._closed
            written = self._written(record) if record else True
            if not written:
                self._keep(counts, others, str(record["since"]))
            if closed:
                return
            seconds = min(2 * seconds, self._last)

    def _record(self) -> dict[str, Any]:
        """The window as an audit record; empty where nothing was refused in it."""
        if not self._since:
            return {}
        told = [kind.to_json(count) for kind, count in self._counts.most_common()]
        record: dict[str, Any] = {
            "kind": KIND,
            "at": _now(),
            "since": self._since,
            "count": self._counts.total() + self._others,
            "refusals": told,
        }
        return {**record, "others": self._others} if self._others else record

    def _written(self, record: Mapping[str, Any]) -> bool:
        try:
            self._audit.append(record)
        except WellheadError as sink_down:
            log.error("%d refusals are not recorded yet: %s", record["count"], sink_down)
            return False
        return True

    def _keep(self, counts: Counter[Refusal], others: int, since: str) -> None:
        """Take back what could not be written; the next window tries again."""
        with self._changed:
            merged = counts + self._counts
            kept = Counter(dict(merged.most_common(MOST_TOLD)))
            self._others += others + merged.total() - kept.total()
            self._counts, self._since = kept, since


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
