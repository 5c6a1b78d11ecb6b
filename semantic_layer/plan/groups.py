"""The plan of a query without metrics: the values of dimensions that occur together, for this caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from semantic_layer.errors import InvalidArgument, Refused
from semantic_layer.metric import Aggregation, Grain, Measure, SemanticModel
from semantic_layer.plan.columns import named_cut, ordered
from semantic_layer.plan.cut import Calendar, Cut, base_grain, coarseness
from semantic_layer.plan.leaves import Leaf
from semantic_layer.plan.names import BY, METRIC_TIME, SEPARATOR, choose, find
from semantic_layer.plan.part import Field, PartBuilder, Subplan
from semantic_layer.plan.plan import OutputColumn, Plan, Term
from semantic_layer.plan.query import MetricQuery, TimeWindow
from semantic_layer.plan.sources import Reading
from semantic_layer.plan.time import reporting_zone, window_predicate
from semantic_layer.plan.world import Place, World
from semantic_layer.predicate import TRUE, leaves
from semantic_layer.product import Column, ColumnType


def plan_groups(query: MetricQuery, world: World, default_zone: str, subplan: Subplan, offset: int) -> Plan:
    """The plan of a query that names dimensions only. Raises as a query with metrics does."""
    return _Groups(query, world, default_zone, subplan).plan(offset)


@dataclass(frozen=True)
class Base:
    """Where the rows of a query without metrics come from; `place` is None where only a time spine is asked."""

    place: Place | None
    model: SemanticModel


class _Groups:
    """One query without metrics being planned."""

    def __init__(self, query: MetricQuery, world: World, default_zone: str, subplan: Subplan) -> None:
        self.query, self.world = query, world
        window = query.time
        names = list(query.dimensions)
        if window.grain is not None:
            names.append(f"{window.dimension or METRIC_TIME}{SEPARATOR}{window.grain.value}")
        self.names = list(dict.fromkeys(names))
        used = [one.field for one in leaves(query.filters)]
        known = world.calendars()
        self.times = {
            name: named_cut(name.partition(SEPARATOR)[2] or Grain.DAY.value, known)
            for name in (*self.names, *used)
            if name.split(SEPARATOR)[0] == METRIC_TIME
        }
        plain = [name for name in self.names if name not in self.times]
        self.filtered = [name for name in used if name not in self.times and BY not in name]
        base = find_base(world, plain, self.filtered)
        zone = reporting_zone(window.zone, [base.model], default_zone)
        label = ", ".join(self.names)
        self.builder, self.reading = groups_builder(world, base, tuple(self.times.values()), label, zone, subplan)
        self.bases = [(label, self.builder.leaf.base)]

    def plan(self, offset: int) -> Plan:
        columns, terms = self._keys()
        self._restrict()
        part = replace(self.builder.build(terms, None), aggregates=())
        minimum = part.minimum
        if minimum > 1 and not self.query.distinct:
            raise Refused(
                f"groups of fewer than {minimum} rows are not shown, so single rows are not either.",
                rule="minimum_group_size",
                hint="Ask for `distinct` values.",
            )
        if self.query.min_max:
            columns = self._extremes(columns)
        return Plan(
            keys=tuple(columns),
            metrics=(),
            outputs=(),
            parts=(part,),
            order=ordered(self.query, columns, ()),
            limit=self.query.limit,
            offset=offset,
            notes=(f"Groups of fewer than {minimum} rows are not shown.",) if minimum > 1 else (),
            grouped=self.query.distinct,
            extremes=self.query.min_max,
        )

    def _keys(self) -> tuple[list[OutputColumn], list[Term]]:
        columns: list[OutputColumn] = []
        terms: list[Term] = []
        for name in self.names:
            cut = self.times.get(name)
            if cut is not None:
                term, label, unit = self._time(cut), "", ""
                shown = f"{METRIC_TIME}{SEPARATOR}{cut.value}"
            else:
                (found,) = choose(self.world, self.bases, name)
                kept = found.dimension.grain if found.dimension.truncatable else None
                cut = found.cut or kept
                shown = f"{name}{SEPARATOR}{kept.value}" if found.cut is None and kept else name
                term = self.builder.term(found, cut)
                label, unit = found.dimension.label if cut is None else "", found.dimension.unit
            kind = term.result_type
            zone = self.builder.zone if kind is ColumnType.TIMESTAMP and not isinstance(cut, Calendar) else ""
            grain = cut if isinstance(cut, Grain) else None
            columns.append(OutputColumn(shown, "dimension", kind, label, unit, grain, zone))
            terms.append(term)
        return columns, terms

    def _time(self, cut: Cut) -> Term:
        assert self.reading is not None
        spine = self.world.spine(self.builder.leaf.model.product, self._finest(), self._custom())
        return self.builder.spine_key(self.reading, spine, cut)

    def _finest(self) -> Grain:
        return min((base_grain(cut) or Grain.DAY for cut in self.times.values()), key=coarseness)

    def _custom(self) -> list[Calendar]:
        return [cut for cut in self.times.values() if isinstance(cut, Calendar)]

    def _restrict(self) -> None:
        fields: dict[str, Field] = {}
        for one in leaves(self.query.filters):
            name = one.field
            if name in self.times:
                term = self._time(self.times[name])
                kind = term.result_type or ColumnType.DATE
                fields[name] = Field(name, term, Column(name, kind))
            elif BY in name:
                fields[name] = self.builder.metric_field(name)
            else:
                (found,) = choose(self.world, self.bases, name)
                kept = found.dimension.grain if found.dimension.truncatable else None
                fields[name] = self.builder.field(name, found, found.cut or kept)
        if self.query.filters != TRUE:
            self.builder.restrict(self.query.filters, fields)
        window = self.query.time
        if window.start is not None or window.end is not None:
            self._restrict_window(window)

    def _restrict_window(self, window: TimeWindow) -> None:
        if window.dimension:
            (found,) = choose(self.world, self.bases, window.dimension)
            self.builder.restrict_window(found, window)
            return
        if self.reading is None:
            raise InvalidArgument(
                "`time` limits metric_time, which the query does not name.",
                hint="Name a time dimension in `time.dimension`, or add metric_time to `dimensions`.",
            )
        finest = self._finest()
        term = self._time(finest if finest.sub_day else Grain.DAY)
        kind = term.result_type or ColumnType.DATE
        predicate = window_predicate(METRIC_TIME, window, kind, self.builder.zone)
        self.builder.restrict(predicate, {METRIC_TIME: Field("time window", term, Column(METRIC_TIME, kind))})

    def _extremes(self, columns: Sequence[OutputColumn]) -> list[OutputColumn]:
        if len(columns) != 1:
            raise InvalidArgument("`min_max` takes one dimension.", hint="Ask for each dimension apart.")
        return [replace(columns[0], name=f"{columns[0].name}{SEPARATOR}{end}") for end in ("min", "max")]


def find_base(world: World, dimensions: Sequence[str], filtered: Sequence[str]) -> Base:
    """The dataset that holds one of these dimensions and leads to all others with the fewest joins.

    Without dimensions it is one that holds a field of the filter, or else the time spine.

    Raises UnknownName, or InvalidArgument where no dataset leads to them all.
    """
    named = dimensions or filtered
    if not named:
        return Base(None, next(iter(world.models.values())))
    everything = (*dimensions, *filtered)
    for local, many in ((named, False), (everything, False), (named, True), (everything, True)):
        reaching = [
            place
            for place in world.places()
            if any(_local(world, place, name) for name in local)
            and all(_reached(world, place, name, many=many) for name in everything)
        ]
        if reaching:
            place = min(reaching, key=lambda one: _suitability(world, one, everything))
            return Base(place, world.models[place.home])
    known = [place for place in world.places() if _reached(world, place, named[0], many=True)]
    place = (known or list(world.places()))[0]
    return Base(place, world.models[place.home])


def _suitability(world: World, place: Place, names: Sequence[str]) -> tuple[int, int]:
    """First the dataset that the fewest joins are needed from, then the smallest."""
    return sum(not _local(world, place, name) for name in names), len(place.dataset.dimensions)


def _local(world: World, place: Place, name: str) -> bool:
    return any(not one.path and world.discoverable(one.place, one.dimension) for one in find(world, place, name))


def _reached(world: World, place: Place, name: str, *, many: bool) -> bool:
    found = [one for one in find(world, place, name) if world.discoverable(one.place, one.dimension)]
    return any((many and one.spelled) or not any(step.many for step in one.path) for one in found)


def groups_builder(
    world: World, base: Base, times: Sequence[Cut], label: str, zone: str, subplan: Subplan
) -> tuple[PartBuilder, Reading | None]:
    """A builder over the base, every row of every joined table kept, and the time spine where time is asked for."""
    spine = None
    if times:
        grains = [grain for cut in times if (grain := base_grain(cut)) is not None]
        custom = [cut for cut in times if isinstance(cut, Calendar)]
        finest = min(grains, key=coarseness, default=Grain.DAY)
        spine = world.spine(base.model.product, finest, custom)
    place = base.place
    if place is None:
        if spine is None:
            raise InvalidArgument("the query asks for nothing.", hint="Name a metric or a dimension.")
        place = world.spine_place(spine)
    leaf = rows_leaf(base.model, place, label)
    builder = PartBuilder(world, leaf, zone, base.model.fiscal_year_start_month, subplan, full=True)
    if spine is None:
        return builder, None
    reading = builder.readings.at(()) if base.place is None else builder.readings.spine(spine, "metric_time")
    if base.place is not None:
        builder.cross(reading)
    return builder, reading


def rows_leaf(model: SemanticModel, place: Place, label: str) -> Leaf:
    """A count of a dataset's rows, with which no metric is meant."""
    measure = Measure("rows", place.dataset.name, Aggregation.COUNT, "1", frozenset())
    return Leaf("m0", ("", label), model, measure, (), True, place, place)
