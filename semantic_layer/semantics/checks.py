"""What must hold between the parts of a model, whatever file it came from: names exist, no metric needs itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from semantic_layer.errors import InvalidArgument, Problem, close_names
from semantic_layer.metric import Dimension, Measure, Metric, SemanticModel
from semantic_layer.predicate import bind, leaves
from semantic_layer.product import Column, ColumnType, DataProduct


def check_model(model: SemanticModel) -> list[Problem]:
    """Every mistake between the metrics, measures, filters and datasets of one model."""
    checker = _Checker(model)
    return [*checker.metrics(), *checker.circles()]


def check_across(models: Mapping[str, SemanticModel], products: Mapping[str, DataProduct]) -> list[Problem]:
    """Every name by which one product's model speaks of another product that does not exist there."""
    return [problem for model in models.values() for problem in _across(model, models, products)]


class _Checker:
    def __init__(self, model: SemanticModel) -> None:
        self.model = model
        self.dimensions = {
            f"{dataset.name}.{dimension.name}": dimension
            for dataset in model.datasets
            for dimension in dataset.dimensions
        }

    def problem(self, line: int, message: str, asked: str = "", known: Iterable[str] = ()) -> Problem:
        near = close_names(asked, known)
        return Problem(self.model.file, line, message, f"Did you mean {near[0]!r}?" if near else "")

    def metrics(self) -> Iterator[Problem]:
        names = [metric.name for metric in self.model.metrics]
        for metric in self.model.metrics:
            for given in metric.inputs:
                if given.metric and "." not in given.metric and given.metric not in names:
                    message = f"metric {metric.name!r}: no metric {given.metric!r}."
                    yield self.problem(metric.line, message, given.metric, names)
                if given.measure is not None:
                    yield from self.measure(metric, given.measure)
            yield from self.filter(metric)

    def measure(self, metric: Metric, measure: Measure) -> Iterator[Problem]:
        times = [name for name, one in self.dimensions.items() if one.is_time]
        if "." in measure.default_time and measure.default_time not in times:
            message = f"metric {metric.name!r}: no time dimension {measure.default_time!r}."
            yield self.problem(metric.line, message, measure.default_time, times)
        if measure.non_additive is not None:
            given = measure.non_additive
            for name in (given.time, *given.groupings):
                full = name if "." in name else f"{measure.dataset}.{name}"
                if full not in self.dimensions and "__" not in name:
                    message = f"metric {metric.name!r}: non_additive names no dimension {name!r}."
                    yield self.problem(metric.line, message, full, self.dimensions)

    def filter(self, metric: Metric) -> Iterator[Problem]:
        columns: dict[str, Column] = {}
        for leaf in leaves(metric.filter):
            dimension = self.dimensions.get(leaf.field)
            if dimension is not None and dimension.type is None:
                return  # its values are bound where its type is known
            if dimension is not None:
                columns[leaf.field] = _column(leaf.field, dimension)
            elif "." in leaf.field:
                message = f"metric {metric.name!r}: the filter names no field {leaf.field!r}."
                yield self.problem(metric.line, message, leaf.field, self.dimensions)
                return
            else:
                return
        try:
            bind(metric.filter, columns)
        except InvalidArgument as error:
            yield self.problem(metric.line, f"metric {metric.name!r}: {error.message}")

    def circles(self) -> Iterator[Problem]:
        done: set[str] = set()
        for metric in self.model.metrics:
            trail = self._circle(metric.name, (), done)
            if trail:
                shown = " → ".join(trail)
                yield self.problem(metric.line, f"metric {metric.name!r} is computed from itself: {shown}.")

    def _circle(self, name: str, trail: tuple[str, ...], done: set[str]) -> tuple[str, ...]:
        if name in trail:
            return (*trail[trail.index(name) :], name)
        metric = self.model.metric(name)
        if metric is None or name in done:
            return ()
        for given in metric.inputs:
            found = self._circle(given.metric, (*trail, name), done) if given.metric else ()
            if found:
                return found
        done.add(name)
        return ()


def _column(name: str, dimension: Dimension) -> Column:
    return Column(name, dimension.type or ColumnType.STRING)


def _across(
    model: SemanticModel, models: Mapping[str, SemanticModel], products: Mapping[str, DataProduct]
) -> Iterator[Problem]:
    for dataset in model.datasets:
        product = products.get(dataset.product)
        if product is None:
            near = close_names(dataset.product, products)
            suggestion = f"Did you mean {near[0]!r}?" if near else ""
            message = f"dataset {dataset.name!r}: no product {dataset.product!r}."
            yield Problem(model.file, dataset.line, message, suggestion)
        elif product.dataset(dataset.table) is None:
            near = close_names(dataset.table, [one.name for one in product.datasets])
            suggestion = f"Did you mean {near[0]!r}?" if near else ""
            message = f"dataset {dataset.name!r}: {dataset.product!r} has no dataset {dataset.table!r}."
            yield Problem(model.file, dataset.line, message, suggestion)
    for relationship in model.relationships:
        if model.dataset(relationship.to_dataset) is None:
            yield from _target(model, relationship.to_dataset, relationship.line, models, products)


def _target(
    model: SemanticModel,
    target: str,
    line: int,
    models: Mapping[str, SemanticModel],
    products: Mapping[str, DataProduct],
) -> Iterator[Problem]:
    product, _, name = target.partition(".")
    known = [f"{one.product}.{dataset.name}" for one in models.values() for dataset in one.datasets] + [
        f"{one.name}.{dataset.name}" for one in products.values() for dataset in one.datasets
    ]
    if f"{product}.{name}" not in known:
        near = close_names(target, known)
        suggestion = f"Did you mean {near[0]!r}?" if near else ""
        yield Problem(model.file, line, f"a relationship leads to {target!r}, which does not exist.", suggestion)
