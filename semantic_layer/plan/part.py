"""Builds one part of a plan: a measure's base, what is joined to it, and which rows count for this caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from semantic_layer.errors import InvalidArgument, Refused
from semantic_layer.metric import TimeSpine, quoted
from semantic_layer.plan.cut import Calendar, Cut, coarseness, period_grain, read_cut
from semantic_layer.plan.joins import join_of
from semantic_layer.plan.leaves import Leaf, Name, not_supported
from semantic_layer.plan.names import BY, METRIC_TIME, SEPARATOR, Found, find, only_way, require_allowed
from semantic_layer.plan.plan import (
    ROW,
    Aggregate,
    CustomShift,
    Events,
    Fill,
    Join,
    Lookup,
    Operand,
    Part,
    Plan,
    Reduction,
    Snapshot,
    Term,
    Tick,
)
from semantic_layer.plan.query import TimeWindow
from semantic_layer.plan.sources import Reading, Readings
from semantic_layer.plan.spine import calendar_value, spine_cut, spine_period, spine_time
from semantic_layer.plan.time import cut_term, too_fine, window_predicate
from semantic_layer.plan.world import Path, Place, World
from semantic_layer.predicate import And, Predicate, all_of, bind, leaves, map_leaves
from semantic_layer.predicate import Leaf as Comparison
from semantic_layer.product import Column, ColumnType

CLOCK, LOOKUP = "wh.clock", "wh.lookup"
Subplan = Callable[[Leaf, str, Sequence[str], bool, tuple[Name, ...]], tuple[Plan, str]]
"""The plan of a metric by entities, for a leaf whose filter asks for it, and the name of its one metric.

The flag says that it runs with its owner's rights, the names are the metrics whose own filter it is.
"""
Pairs = tuple[tuple[Term, Term], ...]


@dataclass(frozen=True)
class Field:
    """What a name in a filter stands for: a term of a part, or where `own_time`, its time cut so (None: whole)."""

    label: str
    term: Term
    column: Column
    own_time: bool = False
    cut: Cut | None = None
    found: Found | None = None


@dataclass(frozen=True)
class Timed:
    """One condition of a filter and what its fields stand for; `window` where it is the query's range of time."""

    predicate: Predicate
    fields: dict[str, Field]
    window: TimeWindow | None = None


@dataclass
class PartBuilder:
    """Collects what one measure needs, in this order: the clock, the keys' terms, the filters, then `build`."""

    world: World
    leaf: Leaf
    zone: str
    fiscal_month: int
    subplan: Subplan | None = None
    full: bool = False
    ticks: list[Tick] = field(default_factory=list[Tick])
    reduction: Reduction | None = None
    timed: list[Timed] = field(default_factory=list[Timed])
    outer: list[Timed] = field(default_factory=list[Timed])
    _operands: dict[str, Operand] = field(default_factory=dict[str, Operand])
    _filters: list[Predicate] = field(default_factory=list[Predicate])
    _crossed: Reading | None = None
    _late: dict[str, tuple[Reading | Lookup, Pairs]] = field(
        default_factory=dict[str, tuple[Reading | Lookup, Pairs]]
    )

    def __post_init__(self) -> None:
        self.world = self.world.serving(*self.leaf.asked)
        self.readings = Readings(self.world, self.leaf)
        self.readings.at(())
        self._to_grain = self._path_to(self.leaf.base, self.leaf.grained, self.leaf.grained.dataset.name)

    # -- terms ---------------------------------------------------------------------------------------------

    def term(
        self,
        found: Found,
        cut: Cut | None,
        *,
        owned: bool = False,
        steps: int | None = None,
        filtering: bool = False,
    ) -> Term:
        """A dimension as a term of this part, cut; `owned`: without the caller's column rights.

        The leaf's own time is its time after `steps` ticks of the clock, None for all of them. A filter may ask the
        spine instead, so `filtering` allows a finer cut than the clock's.
        """
        reading = self.readings.at(found.path)
        if not owned:
            reading.used |= found.dimension.columns
            reading.shown = True
        plain, cut = self.plain(found), cut or found.cut
        if cut is None:
            steps = 0 if not self.ticks else steps
        taken = len(self.ticks) if steps is None else steps
        if taken and self.is_own_time(found):
            plain = self.moment(taken)
            if not filtering:
                self._fine_enough(cut, found, taken)
        return self.cut(plain, cut, found, owned=owned)

    def plain(self, found: Found) -> Term:
        """A dimension's value, as it is."""
        reading = self.readings.at(found.path)
        kind = self.type_of(found)
        zone = self.zone if kind is ColumnType.TIMESTAMP else ""
        return Term(found.dimension.expression, ((found.place.dataset.name, reading.alias),), kind, zone=zone)

    def moment(self, steps: int) -> Term:
        """The rows' own time after so many ticks."""
        tick = self.ticks[steps - 1]
        kind = tick.period.result_type
        zone = self.zone if kind is ColumnType.TIMESTAMP else ""
        return Term(quoted(CLOCK, "t"), ((CLOCK, tick.alias),), kind, zone=zone)

    def _fine_enough(self, cut: Cut | None, found: Found, steps: int) -> None:
        grain, asked = self.ticks[steps - 1].period.grain, period_grain(cut) if cut else None
        kept = found.dimension.grain
        if grain is None or asked is None or (kept is not None and coarseness(asked) < coarseness(kept)):
            return
        if coarseness(asked) < coarseness(grain):
            raise not_supported(f"{self.leaf.metric!r} moves by {grain.value}s and is filtered by a {asked.value}")

    def cut(self, plain: Term, cut: Cut | None, found: Found, *, owned: bool = False) -> Term:
        """A time cut to a grain, a part, or a custom period. Raises InvalidArgument where it cannot be."""
        if cut is None:
            return plain
        if plain.type not in (ColumnType.DATE, ColumnType.TIMESTAMP):
            raise InvalidArgument(f"{found.name!r} is no date and cannot be cut to a {cut.value}.")
        if too_fine(cut, found.dimension.grain, plain.type):
            kept = found.dimension.grain.value if found.dimension.grain else "day"
            raise InvalidArgument(
                f"{found.name!r} holds {kept}s, not {cut.value}s.", hint=f"Use {kept} or coarser."
            )
        if isinstance(cut, Calendar):
            return self._custom(plain, cut, owned)
        return cut_term(plain, cut, self.fiscal_month)

    def _custom(self, plain: Term, asked: Calendar, owned: bool) -> Term:
        """The custom period of a time, through the row of its time spine."""
        calendar = self.world.calendars(self.leaf.model.product).get(asked.value, asked)
        grain = calendar.spine.grain
        at = cut_term(plain, grain, self.fiscal_month)
        reading = self.readings.spine(calendar.spine, f"{calendar.value} of {at}")
        if not owned:
            self.show_column(reading, calendar)
        period = spine_period(self.world, reading, calendar.spine, grain, self.zone, self.fiscal_month)
        self._late[reading.alias] = (reading, ((at, period),))
        return calendar_value(self.world, reading, calendar)

    def cross(self, reading: Reading) -> None:
        """Join every row of a further reading to every row of the base, before all else."""
        self._crossed = reading

    def spine_key(self, reading: Reading, spine: TimeSpine, cut: Cut) -> Term:
        """A time spine's rows, read here, cut as asked."""
        found = spine_cut(self.world, reading, spine, cut, self.zone, self.fiscal_month)
        if found is None:
            assert isinstance(cut, Calendar)
            return self._custom(spine_time(self.world, reading, spine, self.zone), cut, owned=False)
        if isinstance(cut, Calendar):
            self.show_column(reading, cut)
        return found

    def show_column(self, reading: Reading, calendar: Calendar) -> None:
        """Use a custom grain's column with the caller's rights. Raises Refused where it is withheld."""
        column = calendar.grain.column
        if not self.world.allowed(reading.place, frozenset({column})):
            raise Refused(
                f"{calendar.value!r} is masked or withheld for you: it cannot group, filter or sort.",
                rule="column_withheld",
                hint="Leave it out, or ask the product's owner.",
            )
        reading.used.add(column)
        reading.shown = True

    def type_of(self, found: Found) -> ColumnType | None:
        """A dimension's type, from the contract where its file does not say."""
        if found.dimension.type is not None or len(found.dimension.columns) != 1:
            return found.dimension.type
        (name,) = found.dimension.columns
        column = self.world.columns(found.place).get(name)
        bare = found.dimension.expression.endswith(f'."{name}"')
        return column.type if column is not None and bare else None

    def calendar_type(self, asked: Calendar) -> ColumnType | None:
        """The type of a custom grain's column."""
        calendar = self.world.calendars(self.leaf.model.product).get(asked.value, asked)
        column = self.world.columns(self.world.spine_place(calendar.spine)).get(calendar.grain.column)
        return column.type if column is not None else None

    # -- time ----------------------------------------------------------------------------------------------

    def own_time(self) -> Found:
        """The measure's own time dimension. Raises InvalidArgument where its metric has none."""
        found = self.own_time_or_none()
        if found is None:
            raise InvalidArgument(
                f"the metric {self.leaf.metric!r} has no time of its own.",
                hint="Set default_time in the model, or name a dimension in `time.dimension`.",
            )
        return found

    def own_time_or_none(self) -> Found | None:
        """The measure's own time dimension; None where it has none."""
        measure, base = self.leaf.measure, self.leaf.base.dataset
        name = measure.default_time or (f"{base.name}.{base.default_time}" if base.default_time else "")
        if not name:
            return None
        return self.resolve(name if "." in name else f"{measure.dataset}.{name}")

    def is_own_time(self, found: Found) -> bool:
        """Whether a dimension is the time that the measure is added up over."""
        own = self.own_time_or_none()
        return own is not None and own.dimension == found.dimension and own.path == found.path

    # -- names ---------------------------------------------------------------------------------------------

    def resolve(self, name: str) -> Found:
        """A name that the model's author wrote. Raises InvalidArgument where it leads nowhere or several ways."""
        head, _, rest = name.partition(SEPARATOR)
        if head == METRIC_TIME:
            own = self.own_time()
            cut = read_cut(rest, self.world.calendars(self.leaf.model.product)) if rest else own.dimension.grain
            if rest and cut is None:
                raise InvalidArgument(f"the metric {self.leaf.metric!r} names no grain {rest!r}.")
            return replace(own, cut=cut)
        found = find(self.world, self.leaf.base, name, facts=True)
        if not found:
            raise InvalidArgument(f"the metric {self.leaf.metric!r} names {name!r}, which its rows do not reach.")
        identities = {one.identity for one in found}
        local = [one for one in found if not one.path]
        if len(identities) > 1 and len(local) != 1:
            raise InvalidArgument(
                f"the metric {self.leaf.metric!r} names {name!r}, which could be several fields."
            )
        return local[0] if len(identities) > 1 else only_way(found, name)

    # -- filters -------------------------------------------------------------------------------------------

    def field(
        self, name: str, found: Found, cut: Cut | None, *, owned: bool = False, steps: int | None = None
    ) -> Field:
        """A dimension that a filter names. Raises InvalidArgument where its type is not known."""
        term, cut = self.term(found, cut, owned=owned, steps=steps, filtering=True), cut or found.cut
        kind = term.result_type
        if kind is None:
            raise InvalidArgument(
                f"the type of {name!r} is not known, so it cannot be filtered.",
                hint="Declare its datatype in the semantic file.",
            )
        declared = self.world.columns(found.place).get(next(iter(found.dimension.columns), ""))
        column = Column(name, kind)
        if cut is None and declared is not None and kind is declared.type:
            column = Column(name, kind, declared.items, precision=declared.precision, scale=declared.scale)
        label = f"{term.aliases[0][1]}.{found.dimension.name}" + (f" {cut.value}" if cut else "")
        return Field(label, term, column, self.is_own_time(found), cut, found)

    def metric_field(self, name: str, *, owned: bool = False, trail: tuple[Name, ...] = ()) -> Field:
        """The value of a metric for the row's entities: `orders by customer`; `trail` as in a Subplan."""
        if self.subplan is None:
            raise not_supported(f"a filter on {name!r}")
        metric, _, listed = name.partition(BY)
        entities = [one.strip() for one in listed.split(",")]
        plan, column = self.subplan(self.leaf, metric, entities, owned, trail)
        alias = f"{LOOKUP}_{len(self._late)}"
        pairs: list[tuple[Term, Term]] = []
        for entity, key in zip(entities, plan.keys, strict=True):
            own = self.resolve(entity)
            if not owned and not own.dimension.entity:
                require_allowed(self.world, own, entity)
            self.readings.at(own.path)
            pairs.append((self.plain(own), Term(quoted(LOOKUP, key.name), ((LOOKUP, alias),))))
        known = next(
            (one for one, (source, keys) in self._late.items() if _same_lookup(source, plan, keys, pairs)), ""
        )
        alias = known or alias
        if not known:
            self._late[alias] = (Lookup(alias, plan), tuple(pairs))
        term = Term(f"CAST({quoted(LOOKUP, column)} AS DOUBLE)", ((LOOKUP, alias),), ColumnType.NUMBER)
        return Field(f"{alias}.{name}", term, Column(name, ColumnType.NUMBER))

    def restrict(
        self,
        predicate: Predicate,
        fields: dict[str, Field],
        *,
        steps: int | None = None,
        outer: bool = False,
        window: TimeWindow | None = None,
    ) -> None:
        """AND a filter over these fields. Raises InvalidFilter for a value of a wrong type.

        What only asks for the leaf's own time is asked of the time spine where there is one. `outer` filters also
        leave out rows that empty periods brought in.
        """
        predicate = bind(predicate, {name: one.column for name, one in fields.items()})
        for conjunct in predicate.parts if isinstance(predicate, And) else (predicate,):
            used = {one.field: fields[one.field] for one in leaves(conjunct)}
            timed = all(one.own_time for one in used.values())
            whole = steps in (None, len(self.ticks))
            if timed and whole:
                self.timed.append(Timed(conjunct, used, window))
            elif outer and not timed:
                self.outer.append(Timed(conjunct, used))
            if timed and whole and self.asks_spine(used):
                continue
            for one in used.values():
                if self.ticks and one.own_time and one.found is not None and steps != 0:
                    self._fine_enough(one.cut, one.found, len(self.ticks) if steps is None else steps)
            self._filters.append(map_leaves(conjunct, lambda one: self._operand(one, fields[one.field])))

    def asks_spine(self, used: dict[str, Field]) -> bool:
        """Whether a condition on the leaf's own time is asked of the last tick's spine, not of the rows it shows."""
        if not self.ticks or isinstance(self.ticks[-1].rule, CustomShift):
            return False
        return not any(isinstance(one.cut, Calendar) for one in used.values())

    def _operand(self, comparison: Comparison, one: Field) -> Predicate:
        self._operands[one.label] = Operand(one.label, one.term, replace(one.column, name=one.label))
        return replace(comparison, field=one.label)

    def restrict_window(self, found: Found, window: TimeWindow) -> None:
        """AND the query's range of time over a dimension. Raises InvalidArgument where it is no date."""
        if self.type_of(found) not in (ColumnType.DATE, ColumnType.TIMESTAMP):
            name = window.dimension or METRIC_TIME
            raise InvalidArgument(f"{name!r} is no date, so `time` cannot limit it.", hint="Use `filters`.")
        one = self.field(METRIC_TIME, replace(found, cut=None), None)
        predicate = window_predicate(METRIC_TIME, window, one.column.type, self.zone)
        self.restrict(predicate, {METRIC_TIME: one}, outer=True, window=window)

    def restrict_by_metric(self) -> None:
        """AND the metric's own filters, each at the time that it sees."""
        total = len(self.ticks)
        for given in self.leaf.filters:
            steps = max(total - given.above, 0)
            fields: dict[str, Field] = {}
            for comparison in leaves(given.predicate):
                name = comparison.field
                if BY in name:
                    fields[name] = self.metric_field(name, owned=given.owned, trail=self.leaf.trail)
                else:
                    found = self.resolve(name)
                    fields[name] = self.field(name, found, None, owned=given.owned, steps=steps)
            self.restrict(given.predicate, fields, steps=steps)

    # -- the part ------------------------------------------------------------------------------------------

    def build(
        self,
        keys: Sequence[Term],
        snapshot: Snapshot | None,
        events: Events | None = None,
        fill: Fill | None = None,
    ) -> Part:
        """The part, once everything it needs was asked for."""
        measure, leaf = self.leaf.measure, self.leaf
        term = self.measured()
        self.readings.restricting()
        distinct = self._counted_once()
        joined = self.readings.joined
        early = [Join(self.readings.source(self._crossed), (), kind="cross")] if self._crossed else []
        own = Aggregate(
            leaf.alias,
            measure.aggregation,
            term,
            measure.percentile,
            measure.discrete,
            fill=leaf.fill if self.reduction else None,
            approximate=measure.approximate,
        )
        if events is not None:
            own = replace(events.part.aggregates[0], alias=leaf.alias)
        return Part(
            base=self.readings.source(joined[0]),
            joins=(*early, *(join_of(self, reading, full=self.full) for reading in joined[1:])),
            keys=tuple(keys),
            filter=all_of(*self._filters),
            operands=tuple(self._operands[name] for name in sorted(self._operands)),
            aggregates=(own,),
            distinct=distinct,
            present=next(iter(distinct), None) if self._to_grain else None,
            snapshot=snapshot,
            minimum=max(
                self.readings.minimum(self.readings.at(self._to_grain)), events.part.minimum if events else 0
            ),
            ticks=tuple(self.ticks),
            late=tuple(self._late_join(*one) for one in self._late.values()),
            events=events,
            fill=fill,
            reduction=self.reduction,
        )

    def measured(self) -> Term:
        """What is aggregated, over the datasets it reads."""
        measure, aliases = self.leaf.measure, list[tuple[str, str]]()
        for name in sorted({dataset for dataset, _ in measure.columns}):
            reading = self._measured(name)
            aliases.append((name, reading.alias))
            if not self.leaf.owned:
                reading.used |= {column for dataset, column in measure.columns if dataset == name}
        return Term(measure.expression, tuple(aliases))

    def snapshot(self, keys: Sequence[Found]) -> Snapshot | None:
        """Which moment of a level counts: within each grouping and each period of the queried time."""
        given = self.leaf.measure.non_additive
        if given is None:
            return None
        own = f"{self.leaf.measure.dataset}."
        time, *within = (
            self.resolve(name if "." in name else own + name) for name in (given.time, *given.groupings)
        )
        if any(step.many for one in (time, *within) for step in one.path):
            raise not_supported(f"{self.leaf.metric!r} takes a level at a moment of which it has many")
        groupings = tuple(self.term(one, None, owned=self.leaf.owned) for one in within)
        periods = tuple(number for number, found in enumerate(keys) if found.dimension == time.dimension)
        kept = time.dimension.grain if self.type_of(time) is ColumnType.TIMESTAMP else None
        return Snapshot(self.term(time, kept, owned=self.leaf.owned), given.choice, groupings, periods)

    def _counted_once(self) -> tuple[Term, ...]:
        """What tells the measure's rows apart, where joins or a common root would count them more than once."""
        fans = any(step.many for reading in self.readings.joined for step in reading.path)
        if not fans and not self._to_grain:
            return ()
        # A row counts once for each period that shows it.
        return (*self.row(), *([self.moment(len(self.ticks))] if self.ticks else []))

    def row(self) -> tuple[Term, ...]:
        """The key of the measure's rows; where there is none, their place in their table, which no query changes."""
        dataset = self.leaf.grained.dataset
        columns = dataset.key if dataset.key and not dataset.partitions else (ROW,)
        alias = self.readings.at(self._to_grain).alias
        return tuple(Term(quoted(dataset.name, column), ((dataset.name, alias),)) for column in columns)

    def _late_join(self, source: Reading | Lookup, pairs: Pairs) -> Join:
        kept = source if isinstance(source, Lookup) else self.readings.source(source)
        full = self.full and isinstance(source, Lookup)
        return Join(kept, pairs, kind="full" if full else "left")

    def _measured(self, name: str) -> Reading:
        place = self.world.place(self.leaf.model.product, name) or self.leaf.grained
        further = self._path_to(self.leaf.grained, place, name)
        return self.readings.at((*self._to_grain, *further))

    def _path_to(self, start: Place, end: Place, name: str) -> Path:
        ways = [path for path in self.world.onward(start) if (path[-1].end if path else start).key == end.key]
        if not ways:
            raise InvalidArgument(f"{start.dataset.name!r} does not lead to {name!r}.")
        if len(ways) > 1 and ways[0]:
            listed = ", ".join("→".join(step.relationship.name for step in way) for way in ways)
            raise InvalidArgument(f"there are several ways from {start.dataset.name!r} to {name!r}: {listed}.")
        return ways[0]


def _same_lookup(source: Reading | Lookup, plan: Plan, keys: Pairs, pairs: Sequence[tuple[Term, Term]]) -> bool:
    alike = [(own, other.expression) for own, other in keys] == [(own, other.expression) for own, other in pairs]
    return isinstance(source, Lookup) and source.plan == plan and alike
