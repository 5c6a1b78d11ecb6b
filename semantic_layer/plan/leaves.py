"""A metric taken apart: a formula over measures, each with the filters above it and whose column rights it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from semantic_layer.errors import InvalidArgument, Refused, UnknownName
from semantic_layer.metric import Measure, Metric, MetricInput, SemanticModel
from semantic_layer.plan.plan import Formula
from semantic_layer.plan.world import Place, World
from semantic_layer.policy import Grants
from semantic_layer.predicate import TRUE, Predicate


@dataclass(frozen=True)
class MetricFilter:
    """A filter of a metric on the way down. `owned` filters run with the owner's column rights."""

    predicate: Predicate
    owned: bool


@dataclass(frozen=True)
class Leaf:
    """One measure of a query. `asked` is the product and metric asked for, whose rules decide the rows.

    `owned` says that its columns are its owner's.
    """

    alias: str
    asked: tuple[str, str]
    model: SemanticModel
    measure: Measure
    filters: tuple[MetricFilter, ...]
    owned: bool
    base: Place
    grained: Place

    @property
    def metric(self) -> str:
        """The name of the metric asked for."""
        return self.asked[1]


@dataclass
class Leaves:
    """All measures of a query; the same measure under the same filters is computed once."""

    world: World
    found: list[Leaf] = field(default_factory=list[Leaf])

    def formula(self, model: SemanticModel, metric: Metric) -> Formula:
        """The metric over its measures. Raises Refused for what cannot be computed."""
        return self._formula(model, metric, (), False, (), (model.product, metric.name))

    def _formula(
        self,
        model: SemanticModel,
        metric: Metric,
        filters: tuple[MetricFilter, ...],
        owned: bool,
        trail: tuple[tuple[str, str], ...],
        asked: tuple[str, str],
    ) -> Formula:
        if metric.unsupported:
            raise not_supported(f"the metric {metric.name!r} {metric.unsupported}")
        here = (model.product, metric.name)
        if here in trail:
            raise InvalidArgument(f"the metric {metric.name!r} is computed from itself.")
        owned = owned or metric.certified
        filters = _with(filters, metric.filter, owned)
        inputs: dict[str, str | Formula] = {}
        for given in metric.inputs:
            below = _with(filters, given.filter, owned)
            if given.offset or given.join_to_timespine or given.fill_nulls_with is not None:
                raise not_supported(f"the metric {metric.name!r} shifts periods or fills empty ones")
            if given.measure is not None:
                inputs[given.alias] = self._leaf(model, given.measure, below, owned, asked)
            else:
                other, inner = self._other(model, metric, given)
                inputs[given.alias] = self._formula(other, inner, below, owned, (*trail, here), asked)
        return Formula(metric.expression, inputs)

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

    def _leaf(
        self,
        model: SemanticModel,
        measure: Measure,
        filters: tuple[MetricFilter, ...],
        owned: bool,
        asked: tuple[str, str],
    ) -> str:
        rules = self._rules(asked)
        for leaf in self.found:
            same = (leaf.model.product, leaf.measure, leaf.filters, leaf.owned)
            if same == (model.product, measure, filters, owned) and self._rules(leaf.asked) == rules:
                return leaf.alias
        base = self._place(model, measure.root or measure.dataset)
        grained = self._place(model, measure.dataset)
        alias = f"m{len(self.found)}"
        self.found.append(Leaf(alias, asked, model, measure, filters, owned, base, grained))
        return alias

    def _rules(self, asked: tuple[str, str]) -> Grants:
        """What the caller may read for a metric; two metrics share a measure only under the same rules."""
        return self.world.serving(*asked).grants

    def _place(self, model: SemanticModel, name: str) -> Place:
        place = self.world.place(model.product, name)
        if place is None:
            raise UnknownName("dataset", name)
        return place


def _with(filters: Sequence[MetricFilter], predicate: Predicate, owned: bool) -> tuple[MetricFilter, ...]:
    return tuple(filters) if predicate == TRUE else (*filters, MetricFilter(predicate, owned))


def not_supported(what: str) -> Refused:
    """The refusal of what is understood and not computed yet; never a wrong number instead."""
    return Refused(
        f"{what}, which is not computed yet.", rule="not_supported", hint="Ask for the metrics it is built from."
    )
