"""A metric taken apart: a formula over measures, each with the filters and shifts above it and whose rights it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from semantic_layer.errors import InvalidArgument, Refused, UnknownName
from semantic_layer.metric import Conversion, Cumulative, Measure, Metric, MetricInput, Offset, SemanticModel
from semantic_layer.plan.plan import Formula
from semantic_layer.plan.world import Place, World
from semantic_layer.policy import Grants
from semantic_layer.predicate import TRUE, Predicate

Name = tuple[str, str]
"""A product and a metric of it."""


@dataclass(frozen=True)
class MetricFilter:
    """A filter of a metric on the way down. `owned` filters run with the owner's column rights.

    `above` is how many shifts of time stand above it: it sees time as it is before those.
    """

    predicate: Predicate
    owned: bool
    above: int = 0


@dataclass(frozen=True)
class Leaf:
    """One measure of a query. `asked` is the product and metric asked for, whose rules decide the rows.

    `owned` says that its columns are its owner's; `trail` are the metrics it was found through. Its time is first
    spread as `cumulative` says, then moved by `shifts`, the innermost first. With `events`, what is aggregated are
    these, by the opportunities that the leaf's own rows are. With `every_period`, periods without rows show up too.
    """

    alias: str
    asked: Name
    model: SemanticModel
    measure: Measure
    filters: tuple[MetricFilter, ...]
    owned: bool
    base: Place
    grained: Place
    trail: tuple[Name, ...] = ()
    cumulative: Cumulative | None = None
    shifts: tuple[Offset, ...] = ()
    every_period: bool = False
    fill: int | None = None
    conversion: Conversion | None = None
    events: Leaf | None = None

    @property
    def metric(self) -> str:
        """The name of the metric asked for."""
        return self.asked[1]


@dataclass(frozen=True)
class _Way:
    """What lies above a metric on the way down from the one asked for."""

    asked: Name
    filters: tuple[MetricFilter, ...] = ()
    owned: bool = False
    trail: tuple[Name, ...] = ()
    shifts: tuple[Offset, ...] = ()
    cumulative: Cumulative | None = None

    def past(self, model: SemanticModel, metric: Metric) -> _Way:
        """The way below a metric. Raises InvalidArgument where it is computed from itself."""
        here = (model.product, metric.name)
        if here in self.trail:
            raise InvalidArgument(f"the metric {metric.name!r} is computed from itself.")
        way = replace(self, owned=self.owned or metric.certified, trail=(*self.trail, here))
        return way.filtered(metric.filter)

    def filtered(self, predicate: Predicate) -> _Way:
        if predicate == TRUE:
            return self
        found = MetricFilter(predicate, self.owned, len(self.shifts))
        return replace(self, filters=(*self.filters, found))


@dataclass
class Leaves:
    """All measures of a query; the same measure under the same filters is computed once.

    `trail` are the metrics whose filters led to this query, so that a filter never asks for its own metric.
    """

    world: World
    trail: tuple[Name, ...] = ()
    found: list[Leaf] = field(default_factory=list[Leaf])

    def formula(
        self, model: SemanticModel, metric: Metric, asked: Name | None = None, owned: bool = False
    ) -> Formula:
        """The metric over its measures; `asked` is another metric whose rules decide, `owned` whose rights it has.

        Raises Refused for what cannot be computed, InvalidArgument where a metric is computed from itself.
        """
        way = _Way(asked or (model.product, metric.name), owned=owned, trail=self.trail)
        return self._formula(model, metric, way)

    def _formula(self, model: SemanticModel, metric: Metric, way: _Way) -> Formula:
        if metric.unsupported:
            raise not_supported(f"the metric {metric.name!r} {metric.unsupported}")
        way = way.past(model, metric)
        if metric.conversion is not None:
            return self._conversion(model, metric, way)
        if metric.cumulative is not None:
            if way.cumulative is not None:
                raise not_supported(f"the metric {metric.name!r} accumulates what is accumulated")
            way = replace(way, cumulative=metric.cumulative)
        inputs = {given.alias: self._input(model, metric, given, way) for given in metric.inputs}
        return Formula(metric.expression, inputs, guarded=metric.kind != "simple")

    def _input(self, model: SemanticModel, metric: Metric, given: MetricInput, way: _Way) -> str | Formula:
        # An input's own filter is applied to its shifted time, as whoever shifted it sees it.
        way = way.filtered(given.filter)
        if given.offset is not None:
            if way.cumulative is not None:
                raise not_supported(f"the metric {metric.name!r} accumulates a shifted metric")
            way = replace(way, shifts=(given.offset, *way.shifts))
        if given.measure is not None:
            return self._filled(given, self._leaf(model, given, way))
        other, inner = self._other(model, metric, given)
        if way.cumulative is not None and inner.kind != "simple":
            raise not_supported(f"the metric {metric.name!r} accumulates {inner.name!r}, which is {inner.kind}")
        return self._formula(other, inner, way)

    def _filled(self, given: MetricInput, alias: str) -> str | Formula:
        if given.fill_nulls_with is None:
            return alias
        return Formula(f'COALESCE("value", {int(given.fill_nulls_with)})', {"value": alias})

    def _other(self, model: SemanticModel, metric: Metric, given: MetricInput) -> tuple[SemanticModel, Metric]:
        own = model.metric(given.metric)
        if own is not None:
            return model, own
        product, _, name = given.metric.partition(".")
        other = self.world.models.get(product)
        found = other.metric(name) if other else None
        if other is None or found is None:
            raise InvalidArgument(f"the metric {metric.name!r} needs {given.metric!r}, which is not published.")
        return other, found

    # -- conversions ---------------------------------------------------------------------------------------

    def _conversion(self, model: SemanticModel, metric: Metric, way: _Way) -> Formula:
        """Opportunities as any measure; events with the opportunities they come from. Filters are the base's."""
        assert metric.conversion is not None
        if way.shifts or way.cumulative:
            raise not_supported(f"the conversion metric {metric.name!r} is shifted or accumulated")
        given = {one.alias: one for one in metric.inputs}
        base = self._simple(model, metric, given["base"], way)
        bare = _Way(way.asked, owned=way.owned, trail=way.trail)
        events = self._simple(model, metric, given["conversion"], bare)
        joined = replace(
            base[0],
            conversion=metric.conversion,
            events=events[0],
            every_period=events[0].every_period,
            fill=events[0].fill,
        )
        inputs = {
            "base": self._filled(base[1], self._kept(base[0])),
            "conversion": self._filled(events[1], self._kept(joined)),
        }
        return Formula(metric.expression, inputs, guarded=True)

    def _simple(
        self, model: SemanticModel, metric: Metric, given: MetricInput, way: _Way
    ) -> tuple[Leaf, MetricInput]:
        """The one leaf of a measure or a simple metric, and the input that says how its gaps are filled."""
        way = way.filtered(given.filter)
        if given.measure is not None:
            return self._new(model, given, way), given
        other, inner = self._other(model, metric, given)
        if inner.kind != "simple" or inner.inputs[0].measure is None:
            raise not_supported(f"the metric {metric.name!r} converts {inner.name!r}, which is {inner.kind}")
        return self._simple(other, inner, inner.inputs[0], way.past(other, inner))

    # -- leaves --------------------------------------------------------------------------------------------

    def _leaf(self, model: SemanticModel, given: MetricInput, way: _Way) -> str:
        return self._kept(self._new(model, given, way))

    def _new(self, model: SemanticModel, given: MetricInput, way: _Way) -> Leaf:
        measure = given.measure
        assert measure is not None
        return Leaf(
            alias="",
            asked=way.asked,
            model=model,
            measure=measure,
            filters=way.filters,
            owned=way.owned,
            base=self._place(model, measure.root or measure.dataset),
            grained=self._place(model, measure.dataset),
            trail=way.trail,
            cumulative=way.cumulative,
            shifts=way.shifts,
            every_period=given.join_to_timespine,
            fill=given.fill_nulls_with,
        )

    def _kept(self, leaf: Leaf) -> str:
        """The alias of an equal leaf, or a new one; two metrics share a measure only under the same rules."""
        rules = self._rules(leaf.asked)
        for other in self.found:
            same = replace(leaf, alias=other.alias, asked=other.asked, trail=other.trail, fill=other.fill)
            if (
                same == other
                and self._rules(other.asked) == rules
                and (not leaf.cumulative or leaf.fill == other.fill)
            ):
                return other.alias
        alias = f"m{len(self.found)}"
        self.found.append(replace(leaf, alias=alias))
        return alias

    def _rules(self, asked: Name) -> Grants:
        """What the caller may read for a metric."""
        return self.world.serving(*asked).grants

    def _place(self, model: SemanticModel, name: str) -> Place:
        place = self.world.place(model.product, name)
        if place is None:
            raise UnknownName("dataset", name)
        return place


def filters_at(filters: Sequence[MetricFilter], steps: int) -> list[tuple[MetricFilter, int]]:
    """Each filter with how many of a leaf's `steps` of time lie below it."""
    return [(one, steps - one.above) for one in filters]


def not_supported(what: str) -> Refused:
    """The refusal of what is understood and not computed yet; never a wrong number instead."""
    return Refused(
        f"{what}, which is not computed yet.", rule="not_supported", hint="Ask for the metrics it is built from."
    )
