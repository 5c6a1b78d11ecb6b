"""`feedback`: what a caller thought of an answer, beside its audit record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from mcp_server.answer import Answer
from mcp_server.arguments import Arguments
from mcp_server.audit import AuditLog
from mcp_server.session import Session
from mcp_server.tool import Tool
from mcp_server.tools.trace import record_of


class FeedbackArguments(Arguments):
    audit_id: Annotated[str, Field(max_length=60)]
    label: Literal["helpful", "wrong", "incomplete", "stale", "unsafe"]
    note: Annotated[str, Field(max_length=1000)] = ""


def feedback_tool(audit: AuditLog) -> Tool:
    """The tool over this audit log."""

    def run(session: Session, asked: FeedbackArguments) -> Answer:
        record_of(session, audit, asked.audit_id)
        audit.append(
            {
                "kind": "feedback",
                "about": asked.audit_id,
                "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "subject": session.principal.subject,
                "label": asked.label,
                "note": asked.note,
            }
        )
        return Answer(
            {"about": asked.audit_id, "label": asked.label}, session.receipt({}), text="noted, thank you"
        )

    return Tool(
        "feedback",
        "Say if an answer was helpful or wrong, by its receipt's audit_id.",
        FeedbackArguments,
        run,
        read_only=False,
        idempotent=False,
    )
