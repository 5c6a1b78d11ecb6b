"""From a metric query, the models and the grants to a plan, or an error or refusal that says what would work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from semantic_layer.errors import InvalidArgument, UnknownName
from semantic_layer.metric import Grain, Metric, SemanticModel
from semantic_layer.plan.leaves import Leaves, not_supported
from semantic_layer.plan.names import METRIC_TIME, SEPARATOR, Found, choose, require_allowed
from semantic_layer.plan.part import PartBuilder
from semantic_layer.plan.plan import Order, OutputColumn, Part, Plan, Term
from semantic_layer.plan.query import MetricQuery, TimeWindow
from semantic_layer.plan.time import fiscal_month, reporting_zone, window_predicate
from semantic_layer.plan.world import World
from semantic_layer.predicate import TRUE, all_of, leaves
from semantic_layer.product import ColumnType


def build_plan(query: MetricQuery, world: World, *, default_zone: str = "UTC", offset: int = 0) -> Plan:
    """The plan of a query for this caller.

    Raises UnknownName, InvalidArgument and InvalidFilter for what cannot be asked, Refused for what may not be, or
    is not computed yet.
    """
    return _Planner(_with_saved(query, world), world, default_zone, offset).plan()


def _with_saved(query: MetricQuery, world: World) -> MetricQuery:
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
    )


@dataclass(frozen=True)
class _Key:
    """One column to group by, and what it means for each leaf, in the order of the leaves."""

    name: str
    found: tuple[Found, ...]
    grain: Grain | None


class _Planner:
    def __init__(self, query: MetricQuery, world: World, default_zone: str, offset: int) -> None:
        self.query, self.world, self.offset = query, world, offset
        self.asked = [self._asked(name) for name in query.metrics]
        found = Leaves(world)
        self.formulas = [found.formula(model, metric) for _, model, metric in self.asked]
        self.leaves = found.found
        models = [model for _, model, _ in self.asked]
        self.zone = reporting_zone(query.time.zone, models, default_zone)
        self.builders = [
            PartBuilder(world, leaf, self.zone, leaf.model.fiscal_year_start_month) for leaf in self.leaves
        ]
        self.bases = [(leaf.metric, leaf.base) for leaf in self.leaves]

    def _asked(self, name: str) -> tuple[str, SemanticModel, Metric]:
        model, metric = self.world.metric(name)
        self.world.require_metric(model.product, metric.name)
        return name, model, metric

    def plan(self) -> Plan:
        keys = self._keys()
        parts = self._merged([self._part(number, keys) for number in range(len(self.leaves))])
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
            order=self._order(columns, metrics),
            limit=self.query.limit,
            offset=self.offset,
            notes=tuple(self._notes(parts)),
            used_metrics=tuple((model.product, metric.name) for _, model, metric in self.asked),
        )

    # -- keys ----------------------------------------------------------------------------------------------

    def _keys(self) -> list[_Key]:
        keys: dict[str, _Key] = {}
        for name in self.query.dimensions:
            key = self._key(name)
            keys[key.name] = key
        window = self.query.time
        if window.grain is not None:
            key = self._key(f"{window.dimension or METRIC_TIME}{SEPARATOR}{window.grain.value}")
            keys[key.name] = key
        if any(key.grain is not None and key.grain.fiscal for key in keys.values()):
            fiscal_month([leaf.model for leaf in self.leaves])
        return list(keys.values())

    def _key(self, name: str) -> _Key:
        head, _, rest = name.partition(SEPARATOR)
        if head != METRIC_TIME:
            found = choose(self.world, self.bases, name)
            kept = found[0].dimension.grain if found[0].dimension.truncatable else None
            if found[0].grain is None and kept is not None:
                return _Key(f"{name}{SEPARATOR}{kept.value}", tuple(found), kept)
            return _Key(name, tuple(found), found[0].grain)
        own = self._own_times()
        grain = (
            self._grain(rest)
            if rest
            else max((one.dimension.grain or Grain.DAY for one in own), key=tuple(Grain).index)
        )
        return _Key(f"{METRIC_TIME}{SEPARATOR}{grain.value}", own, grain)

    def _grain(self, text: str) -> Grain:
        if text not in tuple(Grain):
            raise UnknownName("grain", text, [grain.value for grain in Grain])
        return Grain(text)

    def _own_times(self) -> tuple[Found, ...]:
        found = tuple(builder.own_time() for builder in self.builders)
        for one in found:
            if not self.world.discoverable(one.place, one.dimension):
                raise UnknownName("dimension", METRIC_TIME)
            require_allowed(self.world, one, METRIC_TIME)
        return found

    def _column(self, key: _Key) -> OutputColumn:
        dimension = key.found[0].dimension
        if key.grain is None:
            kind = self.builders[0].type_of(key.found[0])
        else:
            kind = ColumnType.TIMESTAMP if key.grain.sub_day else ColumnType.DATE
        zone = self.zone if kind is ColumnType.TIMESTAMP else ""
        label = dimension.label if key.grain is None else ""
        return OutputColumn(key.name, "dimension", kind, label, dimension.unit, key.grain, zone)

    # -- parts ---------------------------------------------------------------------------------------------

    def _part(self, number: int, keys: Sequence[_Key]) -> Part:
        builder = self.builders[number]
        found = [(key.found[number], builder.term(key.found[number], key.grain)) for key in keys]
        builder.restrict_by_metric()
        self._restrict_by_query(number)
        return builder.build([term for _, term in found], builder.snapshot([one for one, _ in found]))

    def _restrict_by_query(self, number: int) -> None:
        builder = self.builders[number]
        terms: dict[str, tuple[Found, Term]] = {}
        for comparison in leaves(self.query.filters):
            found, grain = self._filtered(comparison.field)[number]
            terms[comparison.field] = (found, builder.term(found, grain))
        if self.query.filters != TRUE:
            builder.restrict(self.query.filters, terms)
        window = self.query.time
        if window.start is None and window.end is None:
            return
        name = window.dimension or METRIC_TIME
        found = choose(self.world, self.bases, name)[number] if window.dimension else self._own_times()[number]
        kind = builder.type_of(found)
        if kind not in (ColumnType.DATE, ColumnType.TIMESTAMP):
            raise InvalidArgument(f"{name!r} is no date, so `time` cannot limit it.", hint="Use `filters`.")
        term = builder.term(found, None)
        builder.restrict(window_predicate(name, window, kind, self.zone), {name: (found, term)})

    def _filtered(self, name: str) -> list[tuple[Found, Grain | None]]:
        head, _, rest = name.partition(SEPARATOR)
        if head == METRIC_TIME:
            grain = self._grain(rest) if rest else None
            return [(one, grain) for one in self._own_times()]
        if name in self.query.metrics:
            raise not_supported(f"a filter on the metric {name!r}")
        return [(one, one.grain) for one in choose(self.world, self.bases, name)]

    def _merged(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """Parts over the same rows by the same keys become one, so that a table is read once."""
        merged: list[Part] = []
        for part in parts:
            for place, other in enumerate(merged):
                if replace(part, aggregates=()) == replace(other, aggregates=()):
                    merged[place] = replace(other, aggregates=other.aggregates + part.aggregates)
                    break
            else:
                merged.append(part)
        return tuple(merged)

    # -- order and notes -----------------------------------------------------------------------------------

    def _order(self, keys: Sequence[OutputColumn], metrics: Sequence[OutputColumn]) -> tuple[Order, ...]:
        """What was asked, then every key, so that a page is the same page each time."""
        columns = [column.name for column in (*keys, *metrics)]
        chosen: list[Order] = []
        for text in self.query.order:
            name = text.removeprefix("-")
            if name == METRIC_TIME:
                name = next((one for one in columns if one.startswith(METRIC_TIME + SEPARATOR)), name)
            if name not in columns:
                raise UnknownName("column to order by", name, columns, hint="Order by what the query asks for.")
            chosen.append(Order(name, text.startswith("-")))
        taken = {order.column for order in chosen}
        return (*chosen, *(Order(key.name) for key in keys if key.name not in taken))

    def _notes(self, parts: Sequence[Part]) -> list[str]:
        notes: list[str] = []
        minimum = max((part.minimum for part in parts), default=0)
        if minimum > 1:
            notes.append(f"Groups of fewer than {minimum} rows are not shown.")
        if any(join.many for part in parts for join in part.joins) and self.query.dimensions:
            notes.append("A row counts once in each group it belongs to, so groups need not add up to the total.")
        for _, _, metric in self.asked:
            if metric.certification.state != "certified":
                notes.append(f"{metric.name!r} is proposed, not certified.")
        return notes
