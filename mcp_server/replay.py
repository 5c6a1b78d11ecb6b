"""Asks a recorded call again: the edition and clock of then, the caller's rights of today; and compares digests.

Sums of floating numbers come out with other last digits each time they are taken; a metric answer's near digest tells
them from a change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast

from indexes.ledger import Tombstone
from indexes.library import Snapshot
from indexes.measure import adding_up_by_size
from mcp_server.answer import Answer
from mcp_server.audit_record import ROUNDED, arguments_digest, principal_in
from mcp_server.near_digest import NearDigest, near_digest
from mcp_server.service import Moment, Service
from mcp_server.session import Caller
from semantic_layer.errors import InvalidArgument, UnknownName

Outcome = Literal["same", "differs", "unsteady", "erased", "gone", "live"]
REPLAYABLE = frozenset(
    {"discover", "describe", "search", "fetch", "query_metrics", "dimension_values", "lookup", "query_sql"}
)
"""Tools whose answer follows from edition, clock and rights; the others tell of the moment they were asked at."""
TIMES_ASKED_AGAIN = 2
ROUNDING = "only the last digits of floating sums differ: rows are added up in no fixed order"
CANCELS = "its floating sums cancel to what rounding leaves: in another order they come out otherwise today too"
BEFORE_NEAR = "in another order the last digits of its floating sums differ today too; its record can tell no more"


@dataclass(frozen=True)
class Replay:
    """What came of it. `reasons` say what has changed since; `receipt` is the new answer's audit id.

    same: the digests agree, or the near digests do. differs: neither. unsteady: neither, and rounding alone gives the
    same question two answers today, so that nothing can be told. erased: subjects in it were erased since. gone: a
    generation it read is no longer there. live: it was read from a live source, which has no past.
    """

    audit_id: str
    outcome: Outcome
    recorded_sha256: str
    replayed_sha256: str = ""
    replay_audit_id: str = ""
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON."""
        return asdict(self)


def replay(service: Service, audit_id: str, arguments: Mapping[str, Any] | None = None) -> Replay:
    """Ask the recorded call again. `arguments` are needed where the log holds only their digest.

    Raises UnknownName for an id that was never given, InvalidArgument for calls that cannot be asked again and for
    arguments that are not those of the call.
    """
    record = service.audit.find(audit_id)
    tool = service.tools.get(str(record.get("tool")))
    if record.get("kind") != "call" or "who" not in record:
        raise UnknownName("answer", audit_id, hint="Give the audit_id of a receipt.")
    if tool is None or tool.name not in REPLAYABLE or not record.get("clock"):
        raise InvalidArgument(
            f"a call of {record.get('tool')!r} cannot be asked again: its answer tells of its own moment.",
            hint="Replay a search, a metric query, a lookup or SQL.",
        )
    asked = _arguments(record, arguments)
    if record.get("cut") == "live":
        return _told(record, "live", ("it was read from a live source, which has no past",))
    try:
        with service.library.at(int(record["edition"])) as snapshot:
            changed = _changed(record, snapshot)
            answer = _answer(service, record, asked, snapshot)
            outcome, reasons = _compared(record, answer)
            if outcome == "differs" and not changed and record["tool"] == ROUNDED:
                outcome, reasons = _asked_again(record, answer, lambda: _answer(service, record, asked, snapshot))
    except UnknownName as missing:
        erased = _erasures(record, service.library.ledger.tombstones().entries[record.get("tombstones", 0) :])
        return _told(record, "erased" if erased else "gone", (missing.message,))
    if outcome == "differs" and _erasures(record, snapshot.tombstones.entries[record.get("tombstones", 0) :]):
        outcome = "erased"
    return Replay(
        audit_id=audit_id,
        outcome=outcome,
        recorded_sha256=record["result_sha256"],
        replayed_sha256=answer.digest,
        replay_audit_id=answer.receipt.audit_id,
        reasons=reasons or (() if outcome == "same" else changed),
    )


def _compared(record: Mapping[str, Any], answer: Answer) -> tuple[Outcome, tuple[str, ...]]:
    """Whether the digests agree, or else the near digests."""
    if answer.digest == record["result_sha256"]:
        return "same", ()
    near = record.get("near")
    if near and answer.error is None and NearDigest(near["sha256"], near["digits"]).matches(answer.data):
        return "same", (ROUNDING,)
    return "differs", ()


def _asked_again(
    record: Mapping[str, Any], answer: Answer, ask: Callable[[], Answer]
) -> tuple[Outcome, tuple[str, ...]]:
    """What is to be said of a metric answer that is not the recorded one although nothing has changed since.

    Where rounding alone gives today's question two answers, the recorded one may have been a third.
    """
    for _ in range(TIMES_ASKED_AGAIN):
        outcome, reasons = _compared(record, ask())
        if outcome == "same":
            return outcome, reasons
    with adding_up_by_size():
        turned = ask()
    if "near" not in record:
        return ("unsteady", (BEFORE_NEAR,)) if turned.digest != answer.digest else ("differs", ())
    near = near_digest(answer.data) if answer.error is None else None
    if near is not None and (turned.error is not None or not near.matches(turned.data)):
        return "unsteady", (CANCELS,)
    return "differs", ()


def _arguments(record: Mapping[str, Any], given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The call's arguments, from the log or as given; raises InvalidArgument where they are not known to be those."""
    asked = record.get("arguments") if given is None else given
    if asked is None:
        raise InvalidArgument(
            "the log holds only a digest of this call's arguments.",
            hint="Pass them with --arguments JSON; a contract's `audit_arguments: true` has them kept.",
        )
    found = cast("Mapping[str, Any]", asked)
    if arguments_digest(found) != record["arguments_sha256"]:
        raise InvalidArgument(
            "these are not the arguments of that call: their digest is another.",
            hint="Give them exactly as they were sent, defaults left out.",
        )
    return found


def _answer(service: Service, record: Mapping[str, Any], asked: Mapping[str, Any], snapshot: Snapshot) -> Answer:
    """The call again, recorded like every call, under the name of the replay."""
    clock = datetime.fromisoformat(record["clock"])
    caller = Caller(principal_in(record), "cli", f"wellhead replay {record['id']}")
    standing_still = replace(service, cursors=service.cursors.at(clock.timestamp()))
    tool = service.tools[record["tool"]]
    return standing_still.answer(caller, tool, asked, moment=Moment(snapshot, clock))


def _changed(record: Mapping[str, Any], snapshot: Snapshot) -> tuple[str, ...]:
    """What is not as it was when the call was answered."""
    reasons: list[str] = []
    if snapshot.policy_revision != record.get("policy_revision"):
        was = record.get("policy_revision")
        reasons.append(f"policy revision {was} then, {snapshot.policy_revision} today")
    if _erasures(record, snapshot.tombstones.entries[record.get("tombstones", 0) :]):
        reasons.append("subjects were erased since")
    return tuple(reasons)


def _erasures(record: Mapping[str, Any], since: tuple[Tombstone, ...]) -> bool:
    """Whether anything of the products that the answer read was erased since."""
    return any(one.product in record.get("generations", {}) for one in since)


def _told(record: Mapping[str, Any], outcome: Outcome, reasons: tuple[str, ...]) -> Replay:
    return Replay(str(record["id"]), outcome, str(record["result_sha256"]), reasons=reasons)


def given_arguments(text: str | None) -> Mapping[str, Any] | None:
    """The JSON object of an option; None without one. Raises InvalidArgument for anything else."""
    if text is None:
        return None
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"--arguments is not JSON: {error}.", hint="Quote it for the shell.") from None
    if not isinstance(found, dict):
        raise InvalidArgument("--arguments must be a JSON object.", hint="""Such as '{"question": "boots"}'.""")
    return cast("dict[str, Any]", found)
