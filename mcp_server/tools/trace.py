"""`trace`: from a receipt back to what was asked, what was read, and built from what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from indexes.generation import generation_folder, read_manifest
from mcp_server.answer import Answer, Page
from mcp_server.arguments import Arguments
from mcp_server.audit import AuditLog
from mcp_server.identity import OPERATE
from mcp_server.session import Session
from mcp_server.tool import Tool
from semantic_layer.decisions import sees_every_row
from semantic_layer.errors import UnknownName, WellheadError
from semantic_layer.policy import Grant

MAX_INPUTS = 50
_SHOWN = (
    "at",
    "tool",
    "status",
    "code",
    "subject",
    "client",
    "transport",
    "arguments_sha256",
    "result_sha256",
    "edition",
    "policy_revision",
    "lineage",
    "rows",
    "bytes",
    "ms",
    "clock",
    "trace_id",
)


class TraceArguments(Arguments):
    audit_id: Annotated[str, Field(max_length=60)]


def record_of(session: Session, audit: AuditLog, audit_id: str) -> dict[str, Any]:
    """The audit record of the caller's own call; operators may read any. Raises UnknownName for all others."""
    record = audit.find(audit_id)
    own = record.get("subject") == session.principal.subject
    if record.get("kind") != "call" or not (own or OPERATE in session.principal.scopes):
        raise UnknownName("answer", audit_id, hint="Give the audit_id of a receipt.")
    return record


def trace_tool(home: Path, audit: AuditLog) -> Tool:
    """The tool over this home and its audit log."""

    def run(session: Session, asked: TraceArguments) -> Answer:
        record = record_of(session, audit, asked.audit_id)
        existing = session.discoverable
        sources = [
            _source(home, existing[product], generation)
            for product, generation in sorted(record.get("generations", {}).items())
            if product in existing
        ]
        data = {name: record[name] for name in _SHOWN if name in record}
        data |= {"audit_id": asked.audit_id, "sources": sources, "feedback": record["feedback"]}
        outcome = " ".join(str(record[name]) for name in ("status", "code", "rule") if record.get(name))
        lines = [f"{record['at']} {record['tool']} {outcome} for {record['subject']}"]
        lines += [f"{one['product']} generation {one['generation']}: {one['built_from']}" for one in sources]
        return Answer(data, session.receipt({}), text="\n".join(lines), page=Page(len(sources)))

    return Tool(
        "trace",
        "Explain an earlier answer by its receipt's audit_id: what was read, and built from what.",
        TraceArguments,
        run,
    )


def _source(home: Path, grant: Grant, generation: str) -> dict[str, Any]:
    """What a generation was built from, or that its matter is gone.

    Names of files can tell of rows: they are shown only to callers from whom no row is withheld.
    """
    entry: dict[str, Any] = {"product": grant.product, "generation": generation}
    try:
        manifest = read_manifest(generation_folder(home, grant.product, generation))
    except WellheadError as error:
        return {**entry, "built_from": error.message}
    entry |= {
        "built_from": f"{len(manifest.inputs)} inputs, sealed {manifest.created_at}",
        "watermark": manifest.watermark,
        "recipe": dict(manifest.recipe),
        "contract": manifest.contract_fingerprint,
    }
    if sees_every_row(grant):
        entry["inputs"] = [{"name": one.name, "sha256": one.sha256} for one in manifest.inputs[:MAX_INPUTS]]
    return entry
