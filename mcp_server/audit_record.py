"""What the audit log keeps of a call: who, what, under which rights, on which data, at what cost, with which digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mcp_server.answer import Answer, plain
from mcp_server.cursor import principal_key
from mcp_server.near_digest import near_digest
from mcp_server.session import Caller, Session
from mcp_server.tracing import trace_id
from semantic_layer.principal import Principal

MAX_NAME_CHARS = 100
MAX_VALUES_BYTES = 20_000
MOST_IDENTIFIED = 5_000
ROUNDED = "query_metrics"
"""The tool whose answers hold sums of floating numbers; their records keep a near digest beside the exact one."""
_IDENTIFIED: dict[tuple[object, ...], tuple[str, dict[str, Any]]] = {}


@dataclass(frozen=True)
class Basis:
    """What an answer was made from, beside its receipt: the call's clock, the erasures in force, the rules granted.

    `values` says that every product read allows its callers' arguments to be kept.
    """

    clock: str = ""
    tombstones: int = 0
    grants: Mapping[str, str] = field(default_factory=dict[str, str])
    values: bool = False


def basis_of(session: Session | None) -> Basis:
    """The basis of a session's answer; an empty one of a call that never had a session."""
    if session is None:
        return Basis()
    read = [session.snapshot.generations[product].product for product in session.granted]
    return Basis(
        clock=session.now.isoformat(),
        tombstones=session.snapshot.tombstones.number,
        grants=dict(session.granted),
        values=bool(read) and all(product.audit_arguments for product in read),
    )


def record_of_call(
    caller: Caller, tool: str, asked: Mapping[str, Any], answer: Answer, basis: Basis
) -> dict[str, Any]:
    """The record of one call. Arguments are kept as a digest, and in full only where every product read allows it.

    No data of the answer is kept, only its digest.
    """
    receipt, given = answer.receipt, canonical(asked)
    digest, claims = _identified(caller.principal)
    record: dict[str, Any] = {
        "kind": "call",
        "id": receipt.audit_id,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "trace_id": trace_id(),
        "subject": caller.principal.subject,
        "principal": digest,
        "who": claims,
        "client": caller.client[:MAX_NAME_CHARS],
        "transport": caller.transport,
        "tool": tool[:MAX_NAME_CHARS],
        "arguments_sha256": hashlib.sha256(given).hexdigest(),
        "status": answer.status,
        "clock": basis.clock,
        "edition": receipt.edition,
        "cut": receipt.cut,
        "generations": receipt.generations,
        "policy_revision": receipt.policy.revision,
        "tombstones": basis.tombstones,
        "grants": dict(basis.grants),
        "lineage": receipt.lineage,
        "rows": receipt.cost.rows,
        "bytes": receipt.cost.bytes,
        "ms": receipt.cost.ms,
        "result_sha256": answer.digest,
    }
    if answer.error is not None:
        record["code"] = answer.error.code
        record["rule"] = getattr(answer.error, "rule", "")
    elif tool == ROUNDED and (near := near_digest(answer.data)) is not None:
        record["near"] = {"sha256": near.sha256, "digits": near.digits}
    if basis.values and len(given) <= MAX_VALUES_BYTES:
        record["arguments"] = plain(asked)
    return {name: value for name, value in record.items() if value not in ("", {}, ())}


def arguments_digest(asked: Mapping[str, Any]) -> str:
    """The hex SHA-256 of a call's arguments, whatever the order of their names."""
    return hashlib.sha256(canonical(asked)).hexdigest()


def canonical(asked: Mapping[str, Any]) -> bytes:
    """A call's arguments as bytes, equal for equal arguments."""
    return json.dumps(dict(asked), sort_keys=True, default=str).encode("utf-8", "surrogatepass")


def _identified(principal: Principal) -> tuple[str, dict[str, Any]]:
    """A caller's digest and claims, made once for each caller that asks again and again."""
    found = _IDENTIFIED.get(principal.key)
    if found is None:
        if len(_IDENTIFIED) >= MOST_IDENTIFIED:
            _IDENTIFIED.clear()
        found = _IDENTIFIED[principal.key] = principal_key(principal), who(principal)
    return found


def who(principal: Principal) -> dict[str, Any]:
    """The claims that a caller was answered under; what is empty is left out."""
    claims: dict[str, Any] = {
        "subject": principal.subject,
        "roles": sorted(principal.roles),
        "attributes": plain(principal.attributes),
        "scopes": sorted(principal.scopes),
        "tenant": principal.tenant,
        "purposes": sorted(principal.purposes),
        "client": principal.client,
    }
    return {name: value for name, value in claims.items() if value}


def principal_in(record: Mapping[str, Any]) -> Principal:
    """The caller that a record names, with the claims it was answered under."""
    who: Mapping[str, Any] = record["who"]
    attributes = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in who.get("attributes", {}).items()
    }
    return Principal(
        subject=who["subject"],
        roles=frozenset(who.get("roles", ())),
        attributes=attributes,
        client=who.get("client", ""),
        scopes=frozenset(who.get("scopes", ())),
        tenant=who.get("tenant", ""),
        purposes=frozenset(who.get("purposes", ())),
    )
