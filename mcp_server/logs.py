"""The server's log as JSON lines: one object a line, whatever a message holds, with the trace it belongs to."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from mcp_server.answer import Answer
from mcp_server.session import Caller
from mcp_server.tracing import trace_id

LogFormat = Literal["text", "json"]
NAME = "wellhead.server"
calls = logging.getLogger(f"{NAME}.calls")


class JsonLines(logging.Formatter):
    """A record as one JSON object: at, level, logger, message, trace, the record's `facts`, and a failure's stack."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; control characters in a message are escaped, so that none forges a line."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = trace_id()
        if trace:
            line["trace_id"] = trace
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def log_to(stream: TextIO, form: LogFormat) -> None:
    """Write the log of this process to a stream: warnings and worse as text, also each call as JSON."""
    handler = logging.StreamHandler(stream)
    if form == "json":
        handler.setFormatter(JsonLines())
        calls.setLevel(logging.INFO)
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def log_call(caller: Caller, tool: str, answer: Answer) -> None:
    """One line a call: who, which tool, how it ended and what it cost; no argument and no data."""
    if not calls.isEnabledFor(logging.INFO):
        return
    receipt = answer.receipt
    facts = {
        "audit_id": receipt.audit_id,
        "subject": caller.principal.subject,
        "tool": tool[:100],
        "transport": caller.transport,
        "status": answer.status,
        "code": answer.error.code if answer.error is not None else "",
        "edition": receipt.edition,
        "rows": receipt.cost.rows,
        "bytes": receipt.cost.bytes,
        "ms": receipt.cost.ms,
    }
    calls.info("call", extra={"facts": {name: value for name, value in facts.items() if value != ""}})


def log_of_stdio(form: LogFormat) -> None:
    """As `log_to` on standard error: standard output belongs to the protocol."""
    log_to(sys.stderr, form)
