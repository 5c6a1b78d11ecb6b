"""The plan of a metric query: parts, each aggregated at its own grain, and what is computed from them.

A plan is data: it names tables, joins, filters and canonical expressions, and holds no SQL of an engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from semantic_layer.metric import Aggregation, Grain
from semantic_layer.predicate import TRUE, Predicate
from semantic_layer.product import Column, ColumnType


@dataclass(frozen=True)
class Term:
    """A canonical expression over joined sources, cut to `grain` in `zone` where one is given.

    `aliases` maps each dataset that the expression names to the source it is read from.
    """

    expression: str
    aliases: tuple[tuple[str, str], ...]
    type: ColumnType | None = None
    grain: Grain | None = None
    zone: str = ""
    fiscal_month: int = 0

    @property
    def result_type(self) -> ColumnType | None:
        """The type after cutting: days and coarser are dates, finer ones moments."""
        if self.grain is None:
            return self.type
        return ColumnType.TIMESTAMP if self.grain.sub_day else ColumnType.DATE


@dataclass(frozen=True)
class Operand:
    """What a field of a part's filter stands for, and the type its values are bound by."""

    name: str
    term: Term
    column: Column


@dataclass(frozen=True)
class Source:
    """One governed read of one table, under an alias. `rows` is the grant's filter, `keep` the tombstones'.

    Where `forbids`, a row outside `rows` takes every row that joins it along; else it is just not there.
    """

    alias: str
    dataset: str
    product: str
    table: str
    rows: Predicate
    keep: Predicate
    forbids: bool
    columns: Mapping[str, Column]


@dataclass(frozen=True)
class Join:
    """A LEFT JOIN of a source to one joined before: pairs of canonical keys, the earlier source's first.

    `many` is set where several rows may join one, so that the part counts each of its own rows once a group.
    """

    source: Source
    parent: str
    pairs: tuple[tuple[str, str], ...]
    many: bool = False


@dataclass(frozen=True)
class Aggregate:
    """One number a group, under an alias that the outputs name."""

    alias: str
    aggregation: Aggregation
    term: Term
    percentile: float = 0.5
    discrete: bool = False


@dataclass(frozen=True)
class Snapshot:
    """Only rows whose `time` is the last (max) or first (min) one count, within each value of `groupings`.

    `periods` are the positions of the plan's keys that cut the same time: each period has its own last moment.
    """

    time: Term
    choice: Literal["max", "min"]
    groupings: tuple[Term, ...]
    periods: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Aggregates over one base at one grain. `keys` are the terms of the plan's keys, in the plan's order.

    `distinct` are the key of the rows to count once a group (empty: rows are counted as they are); `present` must
    not be NULL. `operands` are what the filter's fields stand for. Groups of fewer than `minimum` rows are hidden.
    """

    base: Source
    joins: tuple[Join, ...]
    keys: tuple[Term, ...]
    filter: Predicate
    operands: tuple[Operand, ...]
    aggregates: tuple[Aggregate, ...] = ()
    distinct: tuple[Term, ...] = ()
    present: Term | None = None
    snapshot: Snapshot | None = None
    minimum: int = 0


@dataclass(frozen=True)
class Formula:
    """A canonical expression whose names stand for aggregates (by alias) or formulas below."""

    expression: str
    inputs: Mapping[str, str | Formula] = field(default_factory=dict[str, "str | Formula"])


@dataclass(frozen=True)
class OutputColumn:
    """A column of the answer."""

    name: str
    kind: Literal["dimension", "metric"]
    type: ColumnType | None
    label: str = ""
    unit: str = ""
    grain: Grain | None = None
    zone: str = ""


@dataclass(frozen=True)
class Order:
    """A column of the answer to sort by; NULL comes last either way."""

    column: str
    descending: bool = False


@dataclass(frozen=True)
class Plan:
    """The whole question. `keys` and `metrics` are the columns of the answer; order is complete and stable."""

    keys: tuple[OutputColumn, ...]
    metrics: tuple[OutputColumn, ...]
    outputs: tuple[Formula, ...]
    parts: tuple[Part, ...]
    order: tuple[Order, ...]
    limit: int | None = None
    offset: int = 0
    notes: tuple[str, ...] = ()
    used_metrics: tuple[tuple[str, str], ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every table read, once a part."""
        return tuple(
            source for part in self.parts for source in (part.base, *(join.source for join in part.joins))
        )

    @property
    def limited(self) -> bool:
        """Whether the grants withhold rows."""
        return any(source.rows != TRUE for source in self.sources)
