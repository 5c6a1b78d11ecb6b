"""What a model lost on its way through dbt's form: the model as it was beside the model as it came back."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import fields, replace
from typing import Any

from semantic_layer.errors import InvalidArgument
from semantic_layer.metric import Dimension, Measure, Metric, SemanticDataset, SemanticModel
from semantic_layer.predicate import rename_fields
from semantic_layer.semantics.dbt_filters import queried
from semantic_layer.semantics.forms import UNWRITTEN, form_of

_MODEL = ("time_zone", "fiscal_year_start_month", "description", "instructions", "kept")
_RESHAPED = ("inputs", "expression", "kind", "formula")
_DATASET = ("dimensions", "measures", "table", "product", "unique_keys")


def losses(model: SemanticModel, back: SemanticModel, reshaped: Collection[str]) -> Iterator[str]:
    """In a line for each part, the fields that did not come back as they were.

    A metric that was left out whole has been said by whoever left it out. Of the `reshaped` ones, how they are put
    together is not compared: it was written differently on purpose.
    """
    for key in _MODEL:
        if getattr(model, key) and getattr(model, key) != getattr(back, key):
            yield f"the model's {key}"
    for dataset in model.datasets:
        other = back.dataset(dataset.name)
        if other is not None:
            yield from _of_dataset(dataset, other)
    for metric in model.metrics:
        there = back.metric(metric.name)
        if there is not None:
            apart = _RESHAPED if metric.name in reshaped else ("formula",)
            yield from _changed(f"metric {metric.name}", _asked(metric, model), there, apart)


def _of_dataset(dataset: SemanticDataset, other: SemanticDataset) -> Iterator[str]:
    keys = {key for key in dataset.unique_keys if key not in (*other.unique_keys, dataset.key)}
    if keys:
        yield f"dataset {dataset.name}: unique_keys"
    yield from _changed(f"dataset {dataset.name}", dataset, other, _DATASET)
    for one in dataset.dimensions:
        there = other.dimension(one.name)
        if not one.fact:
            yield from _changed(f"dimension {dataset.name}.{one.name}", one, there, _unsaid(one))


def _unsaid(dimension: Dimension) -> tuple[str, ...]:
    """dbt asks every time dimension for its grain; where the model has none, days are written."""
    return () if dimension.grain else ("grain",)


def _asked(metric: Metric, model: SemanticModel) -> Metric:
    """The metric as dbt puts it: its filter's fields by entity, its one measure under the name that dbt gives it."""
    if metric.kind == "simple" and metric.inputs:
        given = replace(metric.inputs[0], alias="measure")
        if given.measure is not None:
            given = replace(given, measure=_timed(given.measure, model))
        metric = replace(metric, inputs=(given,), expression='"measure"')
    try:
        return replace(metric, filter=rename_fields(metric.filter, lambda name: queried(name, model)))
    except InvalidArgument:
        return metric


def _timed(measure: Measure, model: SemanticModel) -> Measure:
    """The measure with its times as dbt has them: its dataset's own where it names none, in that dataset's names."""
    dataset, level = model.dataset(measure.dataset), measure.non_additive
    own = f"{measure.dataset}."
    if not measure.default_time and dataset is not None and dataset.default_time:
        measure = replace(measure, default_time=own + dataset.default_time)
    return (
        measure
        if level is None
        else replace(measure, non_additive=replace(level, time=level.time.removeprefix(own)))
    )


def _changed(what: str, part: Any, other: Any, apart: tuple[str, ...]) -> Iterator[str]:
    names = [
        one.name
        for one in fields(part)
        if one.name not in (*apart, *UNWRITTEN)
        and (other is None or form_of(getattr(part, one.name)) != form_of(getattr(other, one.name)))
    ]
    if names:
        yield f"{what}: {', '.join(names)}"
