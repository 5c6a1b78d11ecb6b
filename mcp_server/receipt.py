"""What an answer stands on: generations, freshness, owner, policy, cost; and what was not checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from indexes.library import LiveGeneration, Snapshot
from semantic_layer.policy import Grant
from semantic_layer.product import ServiceLevel

Freshness = Literal["fresh", "stale", "unknown", "live"]
Cut = Literal["edition", "live"]

_UNIT_SECONDS: Mapping[str, float] = {
    "s": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3_600, "hour": 3_600, "hours": 3_600,
    "d": 86_400, "day": 86_400, "days": 86_400,
    "w": 604_800, "week": 604_800, "weeks": 604_800,
    "y": 31_557_600, "year": 31_557_600, "years": 31_557_600,
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One product an answer read, and what it promises of itself."""

    product: str
    generation: str
    freshness: Freshness
    watermark: str = ""
    sla: str = ""
    owner: str = ""
    status: str = ""


@dataclass(frozen=True)
class PolicyNote:
    """By which policy revision an answer was decided, and that something was withheld, never what."""

    revision: int
    rows_limited: bool = False
    columns_limited: bool = False
    masked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cost:
    """Rows handed out, bytes of the answer's data and milliseconds from call to answer."""

    rows: int = 0
    bytes: int = 0
    ms: float = 0.0


@dataclass(frozen=True)
class Receipt:
    """The statement beside every answer. What was not checked says so in `not_checked`, never clean."""

    audit_id: str
    edition: int = 0
    cut: Cut = "edition"
    as_of: str = ""
    sources: tuple[Source, ...] = ()
    policy: PolicyNote = PolicyNote(0)
    certification: Mapping[str, str] = field(default_factory=dict[str, str])
    lineage: tuple[str, ...] = ()
    sql: str = ""
    cost: Cost = Cost()
    not_checked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def generations(self) -> dict[str, str]:
        """Which generation of each product was read."""
        return {source.product: source.generation for source in self.sources}

    def to_json(self) -> dict[str, Any]:
        """The receipt in JSON form; empty parts are left out."""
        form: dict[str, Any] = {**vars(self)}
        form["sources"] = [{k: v for k, v in vars(source).items() if v} for source in self.sources]
        form["policy"] = {k: v for k, v in vars(self.policy).items() if v or k == "revision"}
        form["certification"], form["cost"] = dict(self.certification), dict(vars(self.cost))
        return {name: value for name, value in form.items() if value or name in ("edition", "policy", "cost")}

    def line(self) -> str:
        """The receipt in one line, for the text beside structured content."""
        read = ", ".join(f"{one.product}@{one.generation[:8]} {one.freshness}" for one in self.sources)
        withheld = [
            word
            for word, true in (("rows", self.policy.rows_limited), ("columns", self.policy.columns_limited))
            if true
        ]
        parts = [
            f"receipt {self.audit_id}",
            f"edition {self.edition}" if self.cut == "edition" else f"live at {self.as_of}",
            read,
            f"{' and '.join(withheld)} limited by policy" if withheld else "",
            f"not checked: {', '.join(self.not_checked)}" if self.not_checked else "",
        ]
        return " · ".join(part for part in parts if part)


def source_of(generation: LiveGeneration, now: datetime, *, live: bool = False) -> Source:
    """What one product says of itself: freshness by its latency promise, owner, status."""
    product, watermark = generation.product, generation.manifest.watermark
    promise = next((level for level in product.service_levels if level.property.casefold() == "latency"), None)
    return Source(
        product=product.name,
        generation=generation.id,
        freshness="live" if live else freshness_of(watermark, promise, now),
        watermark=watermark,
        sla=f"latency {promise.value} {promise.unit}".strip() if promise else "",
        owner=product.owner,
        status=product.status,
    )


def freshness_of(watermark: str, promise: ServiceLevel | None, now: datetime) -> Freshness:
    """`stale` where the source's newest moment is older than the promised latency; `unknown` without either."""
    late = _late_from(watermark, str(promise.value), promise.unit) if promise is not None and watermark else None
    if late is None:
        return "unknown"
    return "stale" if now > late else "fresh"


def policy_note(snapshot: Snapshot, grants: Mapping[str, Grant], masked: tuple[str, ...] = ()) -> PolicyNote:
    """Whether the grants an answer was read under hide rows or columns of their products."""
    withheld = [snapshot.withheld(grant) for grant in grants.values()]
    return PolicyNote(
        snapshot.policy_revision,
        rows_limited=any(one.rows for one in withheld),
        columns_limited=any(one.columns for one in withheld),
        masked=masked,
    )


@lru_cache(maxsize=1_000)
def _late_from(watermark: str, value: str, unit: str) -> datetime | None:
    """Until when a source whose newest moment this is keeps a promise of so much latency."""
    seconds = _seconds(value, unit)
    if seconds is None:
        return None
    newest = datetime.fromisoformat(watermark)
    newest = newest.replace(tzinfo=UTC) if newest.tzinfo is None else newest
    return newest + timedelta(seconds=seconds)


def _seconds(value: str, unit: str) -> float | None:
    one = _UNIT_SECONDS.get(unit.casefold() or "d")
    try:
        return float(value) * one if one else None
    except ValueError:
        return None
