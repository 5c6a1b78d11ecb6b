"""The plan of a metric query: parts, each aggregated at its own grain, and what is computed from them.

A plan is data: it names tables, joins, filters and canonical expressions, and holds no SQL of an engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from semantic_layer.metric import Aggregation, Grain, Window
from semantic_layer.plan.cut import DatePart
from semantic_layer.predicate import TRUE, Predicate
from semantic_layer.product import Column, ColumnType

ROW = "wh.row"
"""The column of every table that tells its rows apart, whatever they hold."""


@dataclass(frozen=True)
class Term:
    """A canonical expression over joined sources, cut to `grain` in `zone`, or to a `part` of its date.

    `aliases` maps each dataset that the expression names to the source it is read from; "" stands for any.
    """

    expression: str
    aliases: tuple[tuple[str, str], ...]
    type: ColumnType | None = None
    grain: Grain | None = None
    zone: str = ""
    fiscal_month: int = 0
    part: DatePart | None = None

    @property
    def result_type(self) -> ColumnType | None:
        """The type after cutting: days and coarser are dates, finer ones moments, parts numbers."""
        if self.part is not None:
            return ColumnType.INTEGER
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
class Lookup:
    """A whole plan joined as a table under an alias: one row a group of its keys, with its metrics' values."""

    alias: str
    plan: Plan


@dataclass(frozen=True)
class Join:
    """A source joined to those before: pairs of terms that must be equal, one of an earlier source first.

    `many` is set where several rows may join one, so that the part counts each of its own rows once a group.
    `during` are a moment and the (start, end) between which a joined row holds: half-open, a NULL end is open.
    """

    source: Source | Lookup
    pairs: tuple[tuple[Term, Term], ...]
    many: bool = False
    kind: Literal["left", "full", "cross"] = "left"
    during: tuple[Term, Term, Term] | None = None


@dataclass(frozen=True)
class Spread:
    """Each period gathers the rows of all periods up to it, of a window up to it, or of the larger period to date."""

    window: Window | None = None
    to_date: Grain | None = None
    leaves_out_current: bool = False


@dataclass(frozen=True)
class Shift:
    """Each period shows the rows of an earlier one: some periods before, or the one that `to_grain` begins with."""

    back: Window | None = None
    to_grain: Grain | None = None


@dataclass(frozen=True)
class CustomShift:
    """Each period shows the rows of as many custom periods before: of the like day, or `whole` periods as one.

    `calendar` is the spine's column that names the custom period.
    """

    count: int
    calendar: Term
    whole: bool


@dataclass(frozen=True)
class Tick:
    """The time spine joined to a part's rows, which are read at a period of it from then on.

    `period` cuts the spine's column, `before` the rows' time so far. Where `begins` is given, only periods count
    that begin one of these longer ones; `filter` is on the spine's own rows.
    """

    alias: str
    spine: Source
    period: Term
    before: Term
    rule: Spread | Shift | CustomShift
    begins: tuple[Term, ...] = ()
    filter: Predicate = TRUE
    operands: tuple[Operand, ...] = ()


@dataclass(frozen=True)
class Aggregate:
    """One number a group, under an alias that the outputs name. `fill` stands for NULL in a period without rows."""

    alias: str
    aggregation: Aggregation
    term: Term
    percentile: float = 0.5
    discrete: bool = False
    fill: int | None = None
    approximate: bool = False


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
class Events:
    """What a conversion part counts: rows of `part`, each with the last row of the opportunities that led to it.

    `matches` are pairs of terms that must be equal, an opportunity's first; `times` the moments of both. An event
    comes no earlier than its opportunity, and less than `window` after it. `rows` tell the opportunities apart; of
    several at one moment the first by them counts.
    """

    part: Part
    matches: tuple[tuple[Term, Term], ...]
    times: tuple[Term, Term]
    window: Window | None
    rows: tuple[Term, ...]


@dataclass(frozen=True)
class Reduction:
    """A part aggregated by `time` beside its keys, of which each group shows the first, last or average value."""

    time: Term
    choice: Literal["first", "last", "average"]


@dataclass(frozen=True)
class Fill:
    """Every period of a spine gets a row: `periods` are those, by the part's keys at `positions`.

    The position after the last key stands for the time of a reduction. `again` filters the rows once more by the
    values of keys, since rows without facts came in.
    """

    periods: Part
    positions: tuple[int, ...]
    again: Predicate = TRUE
    columns: Mapping[str, Column] = field(default_factory=dict[str, Column], hash=False)
    places: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)


@dataclass(frozen=True)
class Part:
    """Aggregates over one base at one grain. `keys` are the terms of the plan's keys, in the plan's order.

    `distinct` are the key of the rows to count once a group (empty: rows are counted as they are); `present` must
    not be NULL. `operands` are what the filter's fields stand for. Groups of fewer than `minimum` rows are hidden.
    In this order rows are joined, read at the periods of `ticks`, joined with what is `late` (custom periods and
    metrics of an entity), filtered, taken at the moment of `snapshot` or
    matched with `events`, aggregated, filled up and reduced.
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
    ticks: tuple[Tick, ...] = ()
    late: tuple[Join, ...] = ()
    events: Events | None = None
    fill: Fill | None = None
    reduction: Reduction | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every table it reads, each as often as it is read."""
        found: list[Source] = [self.base]
        for join in (*self.joins, *self.late):
            found.extend(join.source.plan.sources if isinstance(join.source, Lookup) else (join.source,))
        found.extend(tick.spine for tick in self.ticks)
        for inner in (self.events.part if self.events else None, self.fill.periods if self.fill else None):
            found.extend(inner.sources if inner else ())
        return tuple(found)


@dataclass(frozen=True)
class Formula:
    """A canonical expression whose names stand for aggregates (by alias) or formulas below.

    One that is `guarded` is NULL in a group that none of its aggregates has a row of, whatever fills their gaps.
    """

    expression: str
    inputs: Mapping[str, str | Formula] = field(default_factory=dict[str, "str | Formula"])
    guarded: bool = False

    @property
    def aliases(self) -> frozenset[str]:
        """Every aggregate it is computed from."""
        found = frozenset(one for one in self.inputs.values() if isinstance(one, str))
        return found.union(*(one.aliases for one in self.inputs.values() if isinstance(one, Formula)))


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
class Having:
    """A filter on the answer's own columns: rows of the answer that do not pass are left out."""

    filter: Predicate
    columns: Mapping[str, Column] = field(default_factory=dict[str, Column], hash=False)


@dataclass(frozen=True)
class Plan:
    """The whole question. `keys` and `metrics` are the columns of the answer; order is complete and stable.

    Without metrics the answer are the groups that there are, or every row where not `grouped`; with `extremes` only
    the least and the greatest value of its one key.
    """

    keys: tuple[OutputColumn, ...]
    metrics: tuple[OutputColumn, ...]
    outputs: tuple[Formula, ...]
    parts: tuple[Part, ...]
    order: tuple[Order, ...]
    limit: int | None = None
    offset: int = 0
    notes: tuple[str, ...] = ()
    used_metrics: tuple[tuple[str, str], ...] = ()
    having: Having | None = None
    grouped: bool = True
    extremes: bool = False

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every table read, once a part."""
        return tuple(source for part in self.parts for source in part.sources)

    @property
    def limited(self) -> bool:
        """Whether the grants withhold rows."""
        return any(source.rows != TRUE for source in self.sources)
