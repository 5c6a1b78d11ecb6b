"""What a metric is, in words that a person or a model reads: its formula, inputs, filters and time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

from semantic_layer.metric import Aggregation, Measure, Metric, MetricInput, Offset, SemanticModel, Window
from semantic_layer.predicate import (
    TRUE,
    And,
    Attribute,
    Compare,
    Constant,
    Contains,
    In,
    IsNull,
    Not,
    Or,
    Predicate,
    Range,
    fields_of,
)
from semantic_layer.sql.portable import formula_text, measure_text, plain_name, row_text

_AGGREGATES = {
    Aggregation.SUM: "the sum of {}",
    Aggregation.COUNT: "the number of rows with {}",
    Aggregation.COUNT_DISTINCT: "the number of distinct {}",
    Aggregation.MIN: "the least {}",
    Aggregation.MAX: "the greatest {}",
    Aggregation.AVERAGE: "the average of {}",
    Aggregation.MEDIAN: "the median of {}",
}
_SIGNS = {"eq": "is", "lt": "is less than", "le": "is at most", "gt": "is more than", "ge": "is at least"}


def metric_words(metric: Metric) -> str:
    """The formula in one sentence without its end; what its filters say comes after it, with `where`."""
    said = {given.alias: _input(given) for given in metric.inputs}
    inputs = list(said.values())
    match metric.kind:
        case "simple" if inputs:
            text = inputs[0]
        case "ratio" if len(inputs) == 2:
            text = f"{inputs[0]} divided by {inputs[1]}"
        case "cumulative" if inputs:
            text = _cumulative(metric, inputs[0])
        case "conversion" if len(inputs) == 2:
            text = _conversion(metric, *inputs)
        case _:
            plain = {given.alias: _plain(given) for given in metric.inputs}
            parts = ", ".join(f"{alias} is {said[alias]}" for alias, one in plain.items() if not one)
            text = formula_text(
                metric.expression, {alias: one or plain_name(alias) for alias, one in plain.items()}
            )
            text += f", where {parts}" if parts else ""
    return text if metric.filter == TRUE else f"{text}, for rows where {filter_words(metric.filter)}"


def input_forms(metric: Metric) -> list[dict[str, Any]]:
    """Each input: the metric or measure it is, in words, with its filter and shift in time."""
    return [
        {
            "name": given.metric or f"{given.measure.dataset}.{given.measure.name}"
            if given.measure
            else given.metric,
            "kind": "metric" if given.metric else "measure",
            "alias": given.alias if given.metric and given.alias != given.metric else "",
            "words": "" if given.measure is None else _measure(given.measure),
            "filter": filter_words(given.filter) if given.filter != TRUE else "",
            "offset": _offset(given.offset) if given.offset else "",
            "empty_periods": str(given.fill_nulls_with) if given.fill_nulls_with is not None else "",
        }
        for given in metric.inputs
    ]


def metric_times(model: SemanticModel, metric: Metric) -> list[str]:
    """The time dimensions by which `metric_time` cuts it, as `dataset.dimension`, with the grain they are kept at."""
    found: dict[str, None] = {}
    for measure in model.measures_of(metric):
        dataset = model.dataset(measure.dataset)
        name = measure.default_time or (f"{measure.dataset}.{dataset.default_time}" if dataset else "")
        owner, _, field = name.rpartition(".")
        own = model.dataset(owner)
        dimension = own.dimension(field) if own else None
        if dimension is not None:
            found[f"{name} by {dimension.grain.value}" if dimension.grain else name] = None
    return list(found)


def fields_read(model: SemanticModel, metric: Metric) -> frozenset[str]:
    """Every field that the filters of the metric, and of the metrics below it, name."""
    found = fields_of(metric.filter)
    for given in metric.inputs:
        found |= fields_of(given.filter)
        below = model.metric(given.metric) if given.metric else None
        found |= fields_read(model, below) if below is not None else frozenset()
    return found


def filter_words(predicate: Predicate) -> str:
    """A filter as a person says it: `status is 'paid' and amount is at least 10`."""
    match predicate:
        case Constant(value):
            return "always" if value else "never"
        case And(parts):
            return " and ".join(_nested(part) for part in parts)
        case Or(parts):
            return " or ".join(_nested(part) for part in parts)
        case Not(Compare(field, "eq", value)):
            return f"{field} is not {_value(value)}"
        case Not(In(field, values)):
            return f"{field} is none of {', '.join(map(_value, values))}"
        case Not(IsNull(field)):
            return f"{field} is known"
        case Not(part):
            return f"not ({filter_words(part)})"
        case IsNull(field):
            return f"{field} is not known"
        case Compare(field, operator, value):
            return f"{field} {_SIGNS[operator]} {_value(value)}"
        case In(field, values):
            return f"{field} is one of {', '.join(map(_value, values))}"
        case Contains(field, value):
            return f"{field} contains {_value(value)}"
        case Range():
            return " and ".join(_range(predicate))


def _nested(part: Predicate) -> str:
    return f"({filter_words(part)})" if isinstance(part, (And, Or)) else filter_words(part)


def _range(part: Range) -> Iterator[str]:
    if part.low is not None:
        yield f"{part.field} is {'at least' if part.include_low else 'more than'} {_value(part.low)}"
    if part.high is not None:
        yield f"{part.field} is {'at most' if part.include_high else 'less than'} {_value(part.high)}"


def _value(value: Any) -> str:
    match value:
        case Attribute(name):
            return f"the caller's {name}"
        case bool():
            return str(value).lower()
        case date() | datetime() | time():
            return value.isoformat()
        case str():
            return repr(value)
        case _:
            return str(value)


def _input(given: MetricInput) -> str:
    text = given.metric or (_measure(given.measure) if given.measure else given.alias)
    if given.filter != TRUE:
        text += f" (where {filter_words(given.filter)})"
    return f"{text} ({_offset(given.offset)})" if given.offset else text


def _plain(given: MetricInput) -> str:
    """What stands for an input inside a formula; empty where it needs words of its own."""
    if given.filter != TRUE or given.offset is not None or (given.measure and given.measure.non_additive):
        return ""
    return measure_text(given.measure) if given.measure else plain_name(given.metric)


def _measure(measure: Measure) -> str:
    if measure.aggregation is Aggregation.COUNT and not measure.columns:
        text = f"the number of rows of {measure.dataset}"
    elif measure.aggregation is Aggregation.PERCENTILE:
        kind = "discrete " if measure.discrete else ""
        text = f"the {kind}{measure.percentile * 100:g}th percentile of {row_text(measure.expression)}"
    else:
        text = _AGGREGATES[measure.aggregation].format(row_text(measure.expression))
    level = measure.non_additive
    if level is None:
        return text
    moment = "last" if level.choice == "max" else "first"
    within = f" of each {', '.join(level.groupings)}" if level.groupings else ""
    return f"{text} at the {moment} {level.time}{within}"


def _cumulative(metric: Metric, text: str) -> str:
    own = metric.cumulative
    if own is None:
        return f"the running total of {text}"
    span = "over all time"
    if own.window is not None:
        before = " before the current one" if own.leaves_out_current else ", the current one included"
        span = f"over {_length(own.window)}{before}"
    elif own.grain_to_date is not None:
        span = f"since the beginning of the {own.grain_to_date.value}"
    shown = "average of its values" if own.period_aggregation == "average" else f"{own.period_aggregation} value"
    return f"{text}, accumulated {span}; a longer period shows the {shown}"


def _conversion(metric: Metric, base: str, conversion: str) -> str:
    own = metric.conversion
    if own is None:
        return f"{conversion} after {base}"
    within = f" within {_length(own.window)}" if own.window else ""
    same = "".join(f" with the same {one}" for one, _ in own.constant_properties)
    counted = f"{conversion} by the same {own.entity}{within}{same} after {base}"
    return counted if own.calculation == "conversions" else f"{counted}, divided by {base}"


def _length(window: Window) -> str:
    return f"{window.count} {window.grain.value}{'s' if window.count != 1 else ''}"


def _offset(offset: Offset) -> str:
    grain = offset.custom or offset.grain.value
    if offset.to_grain:
        return f"at the beginning of the {grain}"
    return f"{offset.count} {grain}{'s' if offset.count != 1 else ''} earlier"
