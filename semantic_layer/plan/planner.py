"""From a metric query, the models and the grants to a plan, or an error or refusal that says what would work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from semantic_layer.errors import InvalidArgument, UnknownName
from semantic_layer.metric import Grain, Metric, SemanticModel
from semantic_layer.plan.clock import fill_of, filter_clock, start_clock
from semantic_layer.plan.columns import Key, cut_type, having, merged, named_cut, ordered
from semantic_layer.plan.conversion import events_of, time_grains
from semantic_layer.plan.cut import Calendar, Cut, coarseness, read_cut
from semantic_layer.plan.groups import plan_groups
from semantic_layer.plan.leaves import Leaf, Leaves, Name, not_supported
from semantic_layer.plan.names import BY, METRIC_TIME, SEPARATOR, Found, choose, require_allowed
from semantic_layer.plan.part import Field, PartBuilder
from semantic_layer.plan.plan import Formula, OutputColumn, Part, Plan, Term
from semantic_layer.plan.query import MetricQuery, TimeWindow
from semantic_layer.plan.time import fiscal_month, is_whole, reporting_zone
from semantic_layer.plan.world import World
from semantic_layer.predicate import TRUE, And, Compare, Predicate, all_of, leaves
from semantic_layer.product import ColumnType


def build_plan(query: MetricQuery, world: World, *, default_zone: str = "UTC", offset: int = 0) -> Plan:
    """The plan of a query for this caller.

    Raises UnknownName, InvalidArgument and InvalidFilter for what cannot be asked, Refused for what may not be, or
    is not computed yet.
    """
    query = with_saved(query, world)
    if not query.metrics:
        planner = Planner(query, world, default_zone)
        return plan_groups(query, world, default_zone, planner.subplan, offset)
    return Planner(query, world, default_zone, offset).plan()


def time_grain(query: MetricQuery, world: World, *, default_zone: str = "UTC") -> Grain:
    """The finest grain that a query cuts metric_time to; where it does not, the one it would by default."""
    query = with_saved(query, world)
    planner = Planner(query, world, default_zone)
    heads = {name: name.partition(SEPARATOR) for name in query.dimensions}
    known = world.calendars()
    named = [read_cut(rest, known) for head, _, rest in heads.values() if head == METRIC_TIME and rest]
    grains = [cut for cut in (*named, query.time.grain) if isinstance(cut, Grain)]
    grains = grains or [cut.spine.grain for cut in named if isinstance(cut, Calendar)]
    if query.metrics and (not grains or METRIC_TIME in query.dimensions):
        default = planner.default_cut()
        grains += [default] if isinstance(default, Grain) else []
    return min(grains, key=coarseness, default=Grain.DAY)


def with_saved(query: MetricQuery, world: World) -> MetricQuery:
    """The query with its saved query unfolded: metrics and dimensions are the saved one's, filters are ANDed."""
    if not query.saved_query:
        return query
    saved = {one.name: one for model in world.models.values() for one in model.saved_queries}
    found = saved.get(query.saved_query)
    if found is None:
        raise UnknownName("saved query", query.saved_query, saved)
    if found.unsupported:
        raise not_supported(f"the saved query {found.name!r} {found.unsupported}")
    kept = MetricQuery.from_json(found.query)
    if query.metrics or query.dimensions:
        raise InvalidArgument(
            f"the saved query {found.name!r} brings its own metrics and dimensions.",
            hint="Give only filters, time, order and limit beside it.",
        )
    return MetricQuery(
        metrics=kept.metrics,
        dimensions=kept.dimensions,
        filters=all_of(kept.filters, query.filters),
        time=query.time if query.time != TimeWindow() else kept.time,
        order=query.order or kept.order,
        limit=query.limit or kept.limit,
        distinct=query.distinct and kept.distinct,
        min_max=query.min_max or kept.min_max,
    )


@dataclass(frozen=True)
class Inner:
    """What a plan inside a plan's filter is for: the leaf that asks, and whether with its owner's rights.

    Its keys are only joined on, so they need no right to see their columns. `trail` are the metrics whose own filters
    led here, none of which it may ask for again.
    """

    leaf: Leaf
    owned: bool
    trail: tuple[Name, ...] = ()


class Planner:
    """One query being planned."""

    def __init__(
        self, query: MetricQuery, world: World, default_zone: str, offset: int = 0, inner: Inner | None = None
    ) -> None:
        self.query, self.world, self.offset, self.inner = query, world, offset, inner
        self.default_zone = default_zone
        self.asked = [self._asked(name) for name in query.metrics]
        found = Leaves(world, inner.trail if inner else ())
        asked = inner.leaf.asked if inner and inner.owned else None
        self.formulas = [
            found.formula(model, metric, asked, bool(inner and inner.owned)) for _, model, metric in self.asked
        ]
        self.leaves = found.found
        models = [model for _, model, _ in self.asked]
        self.zone = reporting_zone(query.time.zone, models, default_zone)
        self.builders = [
            PartBuilder(world, leaf, self.zone, leaf.model.fiscal_year_start_month, self.subplan)
            for leaf in self.leaves
        ]
        self.bases = [(leaf.metric, leaf.base) for leaf in self.leaves]
        self.filters, self.having = self._split_filters()

    def _asked(self, name: str) -> tuple[str, SemanticModel, Metric]:
        if self.inner is not None and self.inner.owned:
            own = self.inner.leaf.model.metric(name)
            if own is not None:
                return name, self.inner.leaf.model, own
        model, metric = self.world.metric(name)
        if self.inner is None or not self.inner.owned:
            self.world.require_metric(model.product, metric.name)
        return name, model, metric

    def subplan(
        self, leaf: Leaf, metric: str, entities: Sequence[str], owned: bool, trail: tuple[Name, ...]
    ) -> tuple[Plan, str]:
        """The plan of a metric that a filter of a leaf asks for, by entities."""
        query = MetricQuery((metric,), tuple(entities), time=TimeWindow(zone=self.query.time.zone))
        inner = Inner(leaf, owned, trail or (self.inner.trail if self.inner else ()))
        plan = Planner(query, self.world, self.default_zone, inner=inner).plan()
        return replace(plan, order=(), notes=()), metric

    def plan(self) -> Plan:
        keys = self._keys()
        parts = merged([self._part(number, keys) for number in range(len(self.leaves))])
        columns = tuple(self._column(key) for key in keys)
        metrics = tuple(
            OutputColumn(name, "metric", None, metric.label, metric.unit) for name, _, metric in self.asked
        )
        twice = {column.name for column in columns} & {column.name for column in metrics}
        if twice:
            name = min(twice)
            clearer = next(key.found[0].name for key in keys if key.name == name)
            hint = f"Write {clearer!r} for the dimension."
            raise InvalidArgument(f"{name!r} is asked for as a metric and as a dimension.", hint=hint)
        return Plan(
            keys=columns,
            metrics=metrics,
            outputs=tuple(self.formulas),
            parts=parts,
            order=ordered(self.query, columns, metrics),
            limit=self.query.limit,
            offset=self.offset,
            notes=tuple(self._notes(parts)),
            used_metrics=tuple((model.product, metric.name) for _, model, metric in self.asked),
            having=having(self.having, columns, metrics),
        )

    # -- keys ----------------------------------------------------------------------------------------------

    def _keys(self) -> list[Key]:
        keys: dict[str, Key] = {}
        for name in self.query.dimensions:
            key = self._key(name)
            keys[key.name] = key
        window = self.query.time
        if window.grain is not None:
            key = self._key(f"{window.dimension or METRIC_TIME}{SEPARATOR}{window.grain.value}")
            keys[key.name] = key
        if any(isinstance(key.cut, Grain) and key.cut.fiscal for key in keys.values()):
            fiscal_month([leaf.model for leaf in self.leaves])
        return list(keys.values())

    def _key(self, name: str) -> Key:
        head, _, rest = name.partition(SEPARATOR)
        if head != METRIC_TIME:
            found = choose(self.world, self.bases, name, joining=self.inner is not None)
            kept = found[0].dimension.grain if found[0].dimension.truncatable else None
            if found[0].cut is None and kept is not None:
                return Key(f"{name}{SEPARATOR}{kept.value}", tuple(found), kept)
            return Key(name, tuple(found), found[0].cut)
        cut = self._cut(rest) if rest else self.default_cut()
        return Key(f"{METRIC_TIME}{SEPARATOR}{cut.value}", self._own_times(), cut)

    def _cut(self, text: str) -> Cut:
        known = self.world.calendars(self.leaves[0].model.product) if self.leaves else self.world.calendars()
        return named_cut(text, known)

    def default_cut(self) -> Cut:
        """The grain of `metric_time` where none is named: the coarsest that one of the metrics has by default."""
        return max((self._default_of(*one) for one in zip(self.asked, self.formulas, strict=True)), key=_coarse)

    def _default_of(self, asked: tuple[str, SemanticModel, Metric], formula: Formula) -> Cut:
        _, model, metric = asked
        cut = read_cut(metric.default_grain, self.world.calendars(model.product)) if metric.default_grain else None
        if cut is not None:
            return cut
        aliases = formula.aliases
        own = [
            grain for builder in self.builders if builder.leaf.alias in aliases for grain in time_grains(builder)
        ]
        return max([Grain.DAY, *own], key=coarseness)

    def _own_times(self) -> tuple[Found, ...]:
        found = tuple(builder.own_time() for builder in self.builders)
        for one in found:
            if not self.world.discoverable(one.place, one.dimension):
                raise UnknownName("dimension", METRIC_TIME)
            require_allowed(self.world, one, METRIC_TIME)
        return found

    def _column(self, key: Key) -> OutputColumn:
        builder, found = self.builders[0], key.found[0]
        kind = cut_type(builder, found, key.cut)
        label = found.dimension.label if key.cut is None else ""
        grain = key.cut if isinstance(key.cut, Grain) else None
        return OutputColumn(
            key.name,
            "dimension",
            kind,
            label,
            found.dimension.unit,
            grain,
            self.zone if kind is ColumnType.TIMESTAMP and not isinstance(key.cut, Calendar) else "",
        )

    # -- parts ---------------------------------------------------------------------------------------------

    def _part(self, number: int, keys: Sequence[Key]) -> Part:
        builder = self.builders[number]
        own = [(key.found[number], key.cut) for key in keys]
        filters = [
            (one, *self._filtered(one.field)[number]) for one in leaves(self.filters) if BY not in one.field
        ]
        self._start(builder, own, filters)
        owned = self.inner is not None
        terms: list[Term] = [builder.term(found, cut, owned=owned) for found, cut in own]
        builder.restrict_by_metric()
        fields: dict[str, Field] = {one.field: builder.field(one.field, found, cut) for one, found, cut in filters}
        fields.update(
            {one.field: builder.metric_field(one.field) for one in leaves(self.filters) if BY in one.field}
        )
        if self.filters != TRUE:
            builder.restrict(self.filters, fields, outer=True)
        self._restrict_window(number)
        filter_clock(builder)
        snapshot = builder.snapshot([found for found, _ in own])
        return builder.build(terms, snapshot, events_of(builder), fill_of(builder, own))

    def _start(
        self,
        builder: PartBuilder,
        keys: Sequence[tuple[Found, Cut | None]],
        filters: Sequence[tuple[object, Found, Cut | None]],
    ) -> None:
        """Set the part's clock by what the query asks of the leaf's own time."""
        if builder.leaf.cumulative is None and not builder.leaf.shifts:
            return
        cuts = [
            cut or builder.own_time().dimension.grain or Grain.DAY
            for found, cut in keys
            if builder.is_own_time(found)
        ]
        timed = [(one, cut) for one, found, cut in filters if builder.is_own_time(found)]
        pinned = any(isinstance(one, Compare) and one.operator == "eq" for one, _ in timed)
        window = self.query.time
        if timed and not cuts and not pinned and builder.leaf.cumulative is not None:
            raise InvalidArgument(
                f"{builder.leaf.metric!r} adds up over time, and a range of periods would be counted again in each.",
                hint="Group by metric_time, or ask for one period with `eq`.",
            )
        grains = [cut for cut in cuts if isinstance(cut, Grain)]
        whole = all(
            is_whole(end, min(grains, key=coarseness, default=Grain.DAY)) for end in (window.start, window.end)
        )
        filtered = [cut for _, cut in timed if cut is not None]
        start_clock(builder, cuts, filtered, pinned=pinned, whole=whole)

    def _restrict_window(self, number: int) -> None:
        window = self.query.time
        if window.start is None and window.end is None:
            return
        own = choose(self.world, self.bases, window.dimension) if window.dimension else self._own_times()
        self.builders[number].restrict_window(own[number], window)

    def _filtered(self, name: str) -> list[tuple[Found, Cut | None]]:
        head, _, rest = name.partition(SEPARATOR)
        if head == METRIC_TIME:
            own = self._own_times()
            declared = all(one.dimension.grain is not None for one in own)
            cut = self._cut(rest) if rest else self.default_cut() if declared else None
            return [(one, cut) for one in own]
        found = choose(self.world, self.bases, name)
        return [(one, one.cut or (one.dimension.grain if one.dimension.truncatable else None)) for one in found]

    def _split_filters(self) -> tuple[Predicate, Predicate]:
        """The filter on rows, and the one on the answer: what names a metric asked for."""
        rows: list[Predicate] = []
        answer: list[Predicate] = []
        given = self.query.filters
        for one in given.parts if isinstance(given, And) else (given,):
            (answer if any(leaf.field in self.query.metrics for leaf in leaves(one)) else rows).append(one)
        return all_of(*rows), all_of(*answer)

    # -- notes ---------------------------------------------------------------------------------------------

    def _notes(self, parts: Sequence[Part]) -> list[str]:
        notes: list[str] = []
        minimum = max((part.minimum for part in parts), default=0)
        if minimum > 1:
            notes.append(f"Groups of fewer than {minimum} rows are not shown.")
        if any(join.many for part in parts for join in part.joins) and self.query.dimensions:
            notes.append("A row counts once in each group it belongs to, so groups need not add up to the total.")
        if any(part.ticks for part in parts):
            notes.append("Periods overlap in what is accumulated or shifted, so it has no total.")
        for _, _, metric in self.asked:
            if metric.certification.state != "certified":
                notes.append(f"{metric.name!r} is proposed, not certified.")
        return notes


def _coarse(cut: Cut) -> int:
    return coarseness(cut) if isinstance(cut, Grain) else len(Grain)
