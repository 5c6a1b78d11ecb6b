"""One call: who asks, on which snapshot, under which grants, until when; and the receipt it ends with."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

from indexes.cancellation import Cancellation
from indexes.library import LiveGeneration, Snapshot
from mcp_server.budget import Spending
from mcp_server.cursor import CursorSigner, Question
from mcp_server.fence import Fence
from mcp_server.receipt import Cost, Cut, Receipt, Source, policy_note, source_of
from semantic_layer.errors import DeadlineExceeded, UnknownName
from semantic_layer.policy import Action, Grant
from semantic_layer.principal import Principal
from semantic_layer.visibility import Visibility

Transport = Literal["http", "stdio", "rest", "cli"]


@dataclass(frozen=True)
class Caller:
    """Who calls, over which transport, with which client software (as it names itself; never trusted)."""

    principal: Principal
    transport: Transport
    client: str = ""
    until: float = float("inf")
    """When its credential ends, in seconds since 1970: nothing may go on for it past that."""


@dataclass(frozen=True)
class Deadline:
    """When work must have ended, on the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds left. Raises DeadlineExceeded where none are."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the call ran past its deadline.", hint="Narrow the question or lower `limit`.")
        return left


@dataclass
class Session:
    """What a tool works with. Every product it reads passes through `grant` or `grants`."""

    caller: Caller
    snapshot: Snapshot
    audit_id: str
    deadline: Deadline
    cursors: CursorSigner
    tool: str
    arguments: Mapping[str, Any]
    spending: Spending
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    fence: Fence = field(default_factory=Fence)
    cancellation: Cancellation = field(default_factory=Cancellation)
    granted: dict[str, str] = field(default_factory=dict[str, str])
    """Why each product was read: the rules that allowed it, for the audit log."""
    _sources: dict[tuple[str, bool], Source] = field(default_factory=dict[tuple[str, bool], Source])

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.caller.principal

    @cached_property
    def discoverable(self) -> Mapping[str, Grant]:
        """The products that exist for this caller, by name."""
        grants = self.snapshot.grants(self.principal, Action.DISCOVER)
        return {name: grant for name, grant in sorted(grants.items()) if grant.allowed}

    @cached_property
    def visibility(self) -> Visibility:
        """The names that exist for this caller."""
        return self.snapshot.catalog.visibility(self.discoverable)

    def product(self, name: str) -> LiveGeneration:
        """The live generation of a product that exists for this caller. Raises UnknownName for any other."""
        known = self.discoverable
        if name not in known:
            raise UnknownName("product", name, known, hint="Call `discover` to see what there is.")
        return self.snapshot.generations[name]

    def grant(self, product: str, action: Action) -> Grant:
        """The grant for this action on a product that exists for the caller. Raises UnknownName or Refused."""
        self.product(product)
        return self.snapshot.grant(self.principal, product, action).require()

    def grants(self, action: Action, products: Sequence[str] = ()) -> dict[str, Grant]:
        """Grants for this action: for each product named (as `grant`), or for all that allow it."""
        if products:
            return {name: self.grant(name, action) for name in dict.fromkeys(products)}
        granted = self.snapshot.grants(self.principal, action)
        return {name: granted[name] for name in self.discoverable if granted[name].allowed}

    def passages(self, products: Iterable[str]) -> int:
        """How many passages these products hold."""
        return sum(self.snapshot.generations[name].manifest.counts.get("chunks", 0) for name in products)

    def offset(self, cursor: str | None, products: Sequence[str]) -> int:
        """Where the asked page begins: 0 without a cursor. Raises InvalidArgument for one that does not fit."""
        return self.cursors.read(cursor, self._question(products)) if cursor else 0

    def cursor(self, offset: int, products: Sequence[str]) -> str:
        """The signed cursor of the page that begins at `offset`."""
        return self.cursors.write(self._question(products), offset)

    def source(self, product: str, *, live: bool = False) -> Source:
        """What a product says of itself at the moment of this call."""
        found = self._sources.get((product, live))
        if found is None:
            found = self._sources[product, live] = source_of(
                self.snapshot.generations[product], self.now, live=live
            )
        return found

    def _question(self, products: Sequence[str]) -> Question:
        live = {name: self.snapshot.generations[name].id for name in products}
        return Question(self.principal, self.tool, self.arguments, live)

    def receipt(
        self,
        grants: Mapping[str, Grant],
        *,
        rows: int = 0,
        cut: Cut = "edition",
        masked: Sequence[str] = (),
        lineage: Sequence[str] = (),
        certification: Mapping[str, str] | None = None,
        sql: str = "",
        not_checked: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> Receipt:
        """The receipt of an answer read under these grants. What nothing promises is `not_checked`."""
        self.granted.update({name: grant.reason for name, grant in grants.items()})
        sources = tuple([self.source(name, live=cut == "live") for name in sorted(grants)])
        unchecked = list(not_checked)
        if any(source.freshness == "unknown" for source in sources):
            unchecked.append("freshness")
        moment = self.now.isoformat(timespec="seconds").replace("+00:00", "Z")
        return Receipt(
            audit_id=self.audit_id,
            edition=self.snapshot.edition.number,
            cut=cut,
            as_of=moment if cut == "live" else self.snapshot.edition.at or moment,
            sources=sources,
            policy=policy_note(self.snapshot, grants, tuple(sorted(masked))),
            certification=certification or {},
            lineage=tuple(dict.fromkeys(lineage)),
            sql=sql,
            cost=Cost(rows=rows),
            not_checked=tuple(dict.fromkeys(unchecked)),
            notes=tuple(notes),
        )
