"""The one way to an answer: who asks, may they, ask, answer, write it down. Every door calls it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from indexes.cancellation import Cancellation, current_cancellation, working_for
from indexes.library import Library, Snapshot
from mcp_server.answer import Answer, answer_of_error
from mcp_server.arguments import parse_arguments
from mcp_server.audit import AuditLog, new_audit_id
from mcp_server.audit_record import MAX_NAME_CHARS, Basis, basis_of, record_of_call
from mcp_server.budget import Budget, Spending
from mcp_server.cursor import CursorSigner
from mcp_server.identity_verifier import TokenVerifier
from mcp_server.receipt import PolicyNote, Receipt
from mcp_server.session import Caller, Deadline, Session
from mcp_server.settings import ServingSettings
from mcp_server.tool import Tool
from mcp_server.tracing import call_span, note_answer
from semantic_layer.errors import EngineUnavailable, InternalFailure, UnknownName, WellheadError
from semantic_layer.principal import Principal

log = logging.getLogger("wellhead.server")

Observer = Callable[[Caller, str, Answer], None]
"""Hears of every call that was answered: who, which tool, and the answer."""


@dataclass(frozen=True)
class Moment:
    """When a call is asked: its clock, and the edition of then; None for the edition in force."""

    snapshot: Snapshot | None
    now: datetime


@dataclass(frozen=True)
class Pending:
    """An answer that may not leave yet: `written` is done once its audit record is on disk, or never will be."""

    caller: Caller
    tool: str
    answer: Answer
    written: Future[None]


@dataclass(frozen=True)
class Service:
    """Answers calls of the tools it was given. Thread-safe; every call leaves one audit record."""

    settings: ServingSettings
    library: Library
    audit: AuditLog
    cursors: CursorSigner
    tools: Mapping[str, Tool]
    verifier: TokenVerifier
    budget: Budget
    observers: tuple[Observer, ...] = ()

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
        moment: Moment | None = None,
    ) -> Answer:
        """Answer one call. Never raises: a refusal or failure is an answer too, and is recorded like one.

        Where the audit log cannot take the record, the answer is withheld and the failure says so.
        """
        found = self.begin(
            caller, tool_name, arguments, deadline=deadline, cancellation=cancellation, moment=moment
        )
        return self.finished(found)

    def answer(
        self, caller: Caller, tool: Tool, arguments: Mapping[str, Any] | None, *, moment: Moment | None = None
    ) -> Answer:
        """As `call`, with a tool that no list needs to show, and where asked for as of an earlier moment."""
        deadline = Deadline.after(self.settings.deadline_seconds)
        return self.finished(self._answered(caller, tool, arguments, deadline, current_cancellation(), moment))

    def refuse(
        self, caller: Caller, tool_name: str, arguments: Mapping[str, Any] | None, error: WellheadError
    ) -> Answer:
        """The recorded answer of a call that was turned away before it ran (busy, out of time)."""
        return self.finished(self.begin_refusal(caller, tool_name, arguments, error))

    def begin(
        self,
        caller: Caller,
        tool_name: str,
        arguments: Mapping[str, Any] | None,
        *,
        deadline: Deadline | None = None,
        cancellation: Cancellation | None = None,
        moment: Moment | None = None,
    ) -> Pending:
        """As `call`, without waiting for the disk: what comes back goes through `finished` before it leaves."""
        tool = self.tools.get(tool_name)
        if tool is None or tool.scope not in caller.principal.scopes:
            known = [one.name for one in self.tools_of(caller.principal)]
            unknown = UnknownName("tool", tool_name[:MAX_NAME_CHARS], known)
            try:
                self.budget.begin(caller.principal, 0.0)
            except WellheadError as error:
                return self.begin_refusal(caller, tool_name, arguments, error)
            return self.begin_refusal(caller, tool_name, arguments, unknown)
        deadline = deadline or Deadline.after(self.settings.deadline_seconds)
        return self._answered(caller, tool, arguments, deadline, cancellation or current_cancellation(), moment)

    def begin_refusal(
        self, caller: Caller, tool_name: str, arguments: Mapping[str, Any] | None, error: WellheadError
    ) -> Pending:
        """As `refuse`, without waiting for the disk."""
        answer = answer_of_error(error, Receipt(new_audit_id()))
        return self._recorded(caller, tool_name, dict(arguments or {}), answer, Basis())

    def finished(self, pending: Pending) -> Answer:
        """The answer once its record is written; where it cannot be, a failure instead, or an answer that says so."""
        answer = pending.answer
        try:
            pending.written.result()
        except WellheadError as sink_down:
            answer = self._unrecorded(pending, sink_down)
        for observe in self.observers:
            observe(pending.caller, pending.tool, answer)
        return answer

    def _answered(
        self,
        caller: Caller,
        tool: Tool,
        arguments: Mapping[str, Any] | None,
        deadline: Deadline,
        cancellation: Cancellation,
        moment: Moment | None,
    ) -> Pending:
        started = time.perf_counter()
        asked = dict(arguments or {})
        with call_span(caller, tool.name) as span:
            try:
                spending = self.budget.begin(caller.principal, deadline.remaining)
            except WellheadError as error:
                pending = self.begin_refusal(caller, tool.name, asked, error)
            else:
                answer, basis = self._run(caller, tool, asked, deadline, cancellation, spending, moment)
                answer = answer.costing((time.perf_counter() - started) * 1_000)
                pending = self._recorded(caller, tool.name, asked, self._settled(answer, spending), basis)
            note_answer(span, pending.answer)
        return pending

    def _settled(self, answer: Answer, spending: Spending) -> Answer:
        """The answer, paid for; where its cost cannot be written down, a failure instead."""
        try:
            spending.end(answer.receipt.cost, max(len(answer.text), answer.receipt.cost.bytes))
        except WellheadError as error:
            return answer_of_error(error, answer.receipt)
        return answer

    def _run(
        self,
        caller: Caller,
        tool: Tool,
        asked: dict[str, Any],
        deadline: Deadline,
        cancellation: Cancellation,
        spending: Spending,
        moment: Moment | None,
    ) -> tuple[Answer, Basis]:
        bare, session = Receipt(new_audit_id()), None
        try:
            typed = parse_arguments(tool.arguments, asked)
            with self._pinned(caller, moment.snapshot if moment else None) as snapshot:
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
                    spending=spending,
                    now=moment.now if moment else datetime.now(UTC),
                )
                with working_for(cancellation):
                    answer = replace(tool.run(session, typed), fence=session.fence)
        except WellheadError as error:
            answer = answer_of_error(error, bare)
        except Exception:
            log.exception("call %s of tool %r failed", bare.audit_id, tool.name)
            failure = InternalFailure(
                "the server made a mistake.", hint=f"Its log names it by audit id {bare.audit_id}."
            )
            answer = answer_of_error(failure, bare)
        return answer, basis_of(session)

    @contextlib.contextmanager
    def _pinned(self, caller: Caller, earlier: Snapshot | None) -> Generator[Snapshot]:
        """The snapshot of one call, or the `earlier` one that its caller holds.

        Why none can be opened may name products: only the command line hears it.
        """
        if earlier is not None:
            yield earlier
            return
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

    def _recorded(
        self, caller: Caller, tool_name: str, asked: Mapping[str, Any], answer: Answer, basis: Basis
    ) -> Pending:
        record = record_of_call(caller, tool_name, asked, answer, basis)
        return Pending(caller, tool_name, answer, self.audit.submit(record))

    def _unrecorded(self, pending: Pending, sink_down: WellheadError) -> Answer:
        """What leaves of an answer that the audit log did not take."""
        if self.settings.audit.on_failure == "refuse":
            return answer_of_error(sink_down, Receipt(""))
        answer, receipt = pending.answer, pending.answer.receipt
        log.error("call %s of tool %r is not recorded: %s", receipt.audit_id, pending.tool, sink_down)
        return replace(answer, receipt=replace(receipt, not_checked=(*receipt.not_checked, "audit")))


def _bare_receipt(audit_id: str, snapshot: Snapshot) -> Receipt:
    """What a refusal or failure stands on: the edition and the policy that decided it."""
    edition = snapshot.edition
    return Receipt(audit_id, edition.number, as_of=edition.at, policy=PolicyNote(snapshot.policy_revision))
