"""The one way to an answer: who asks, may they, ask, answer, write it down. Every door calls it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from indexes.duck.workers import Cancellation
from indexes.library import Library, Snapshot
from mcp_server.answer import Answer, answer_of_error
from mcp_server.arguments import parse_arguments
from mcp_server.audit import AuditLog, new_audit_id
from mcp_server.cursor import CursorSigner, principal_key
from mcp_server.receipt import PolicyNote, Receipt
from mcp_server.session import Caller, Deadline, Session
from mcp_server.settings import ServingSettings
from mcp_server.tool import Tool
from semantic_layer.errors import EngineUnavailable, InternalFailure, UnknownName, WellheadError
from semantic_layer.principal import Principal

log = logging.getLogger("wellhead.server")

MAX_NAME_CHARS = 100


@dataclass(frozen=True)
class Service:
    """Answers calls of the tools it was given. Thread-safe; every call leaves one audit record."""

    settings: ServingSettings
    library: Library
    audit: AuditLog
    cursors: CursorSigner
    tools: Mapping[str, Tool]

    def tools_of(self, principal: Principal) -> list[Tool]:
        """The tools whose scope the caller holds, in a fixed order."""
        return [tool for tool in self.tools.values() if tool.scope in principal.scopes]

    def call(
        self,
        caller: Caller,
        tool_name: str,
        arguments: Mapping[str, Any] | None,
        *,
        deadline: Deadline | None = None,
        cancellation: Cancellation | None = None,
    ) -> Answer:
        """Answer one call. Never raises: a refusal or failure is an answer too, and is recorded like one.

        Where the audit log cannot take the record, the answer is withheld and the failure says so.
        """
        known = {tool.name: tool for tool in self.tools_of(caller.principal)}
        tool = known.get(tool_name)
        if tool is None:
            return self.refuse(
                caller, tool_name, arguments, UnknownName("tool", tool_name[:MAX_NAME_CHARS], known)
            )
        return self.answer(caller, tool, arguments, deadline=deadline, cancellation=cancellation)

    def answer(
        self,
        caller: Caller,
        tool: Tool,
        arguments: Mapping[str, Any] | None,
        *,
        deadline: Deadline | None = None,
        cancellation: Cancellation | None = None,
    ) -> Answer:
        """As `call`, with a tool that no list needs to show."""
        started = time.perf_counter()
        asked = dict(arguments or {})
        deadline = deadline or Deadline.after(self.settings.deadline_seconds)
        answer = self._answered(caller, tool, asked, deadline, cancellation or Cancellation())
        answer = answer.costing((time.perf_counter() - started) * 1_000)
        return self._recorded(caller, tool.name, asked, answer)

    def refuse(
        self, caller: Caller, tool_name: str, arguments: Mapping[str, Any] | None, error: WellheadError
    ) -> Answer:
        """The recorded answer of a call that was turned away before it ran (busy, out of time)."""
        answer = answer_of_error(error, Receipt(new_audit_id()))
        return self._recorded(caller, tool_name, dict(arguments or {}), answer)

    def _answered(
        self,
        caller: Caller,
        tool: Tool,
        asked: dict[str, Any],
        deadline: Deadline,
        cancellation: Cancellation,
    ) -> Answer:
        bare = Receipt(new_audit_id())
        try:
            typed = parse_arguments(tool.arguments, asked)
            with self._pinned(caller) as snapshot:
                bare = _bare_receipt(bare.audit_id, snapshot)
                session = Session(
                    caller,
                    snapshot,
                    bare.audit_id,
                    deadline,
                    self.cursors,
                    tool.name,
                    asked,
                    cancellation=cancellation,
                )
                return replace(tool.run(session, typed), fence=session.fence)
        except WellheadError as error:
            return answer_of_error(error, bare)
        except Exception:
            log.exception("call %s of tool %r failed", bare.audit_id, tool.name)
            failure = InternalFailure(
                "the server made a mistake.", hint=f"Its log names it by audit id {bare.audit_id}."
            )
            return answer_of_error(failure, bare)

    @contextlib.contextmanager
    def _pinned(self, caller: Caller) -> Generator[Snapshot]:
        """The snapshot of one call. Why none can be opened may name products: only the command line hears it."""
        with contextlib.ExitStack() as stack:
            try:
                snapshot = stack.enter_context(self.library.pin())
            except WellheadError:
                if caller.transport == "cli":
                    raise
                log.exception("no edition can be opened")
                raise EngineUnavailable(
                    "nothing can be served at the moment.",
                    hint="Whoever runs the server finds the reason in its log.",
                ) from None
            yield snapshot

    def _recorded(self, caller: Caller, tool_name: str, asked: Mapping[str, Any], answer: Answer) -> Answer:
        try:
            self.audit.append(_record(caller, tool_name, asked, answer))
        except WellheadError as sink_down:
            return answer_of_error(sink_down, Receipt(""))
        return answer


def _bare_receipt(audit_id: str, snapshot: Snapshot) -> Receipt:
    """What a refusal or failure stands on: the edition and the policy that decided it."""
    edition = snapshot.edition
    return Receipt(audit_id, edition.number, as_of=edition.at, policy=PolicyNote(snapshot.policy_revision))


def _record(caller: Caller, tool: str, asked: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """What the audit log keeps of a call: digests and places, no argument's value and no data."""
    asked_bytes = json.dumps(dict(asked), sort_keys=True, default=str).encode("utf-8", "surrogatepass")
    receipt = answer.receipt
    record: dict[str, Any] = {
        "kind": "call",
        "id": receipt.audit_id,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "subject": caller.principal.subject,
        "principal": principal_key(caller.principal),
        "client": caller.client[:MAX_NAME_CHARS],
        "transport": caller.transport,
        "tool": tool[:MAX_NAME_CHARS],
        "arguments_sha256": hashlib.sha256(asked_bytes).hexdigest(),
        "status": answer.status,
        "edition": receipt.edition,
        "generations": receipt.generations,
        "policy_revision": receipt.policy.revision,
        "lineage": receipt.lineage,
        "rows": receipt.cost.rows,
        "bytes": receipt.cost.bytes,
        "ms": receipt.cost.ms,
        "result_sha256": answer.digest,
    }
    if answer.error is not None:
        record["code"] = answer.error.code
    return record
