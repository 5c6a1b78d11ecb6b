"""Writes filters and the names in them as dbt does: SQL with a template for each field."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from semantic_layer.errors import InvalidArgument
from semantic_layer.metric import Grain, SemanticModel
from semantic_layer.plan.names import BY, SEPARATOR
from semantic_layer.predicate import (
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
)

_SIGNS = {"eq": "=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_PART = "extract_"


def filter_text(predicate: Predicate, model: SemanticModel) -> str:
    """The filter as dbt writes it. Raises InvalidArgument for what it has no way to say."""
    match predicate:
        case Constant(value):
            return str(value).upper()
        case And(parts) | Or(parts):
            word = " AND " if isinstance(predicate, And) else " OR "
            return "(" + word.join(filter_text(part, model) for part in parts) + ")"
        case Not(part):
            return f"NOT ({filter_text(part, model)})"
        case IsNull(field):
            return f"{_field(field, model)} IS NULL"
        case Compare(field, operator, value):
            return f"{_field(field, model)} {_SIGNS[operator]} {_value(value)}"
        case In(field, values):
            if not values:
                raise InvalidArgument(f"the filter on {field!r} has no values, which SQL cannot say.")
            return f"{_field(field, model)} IN ({', '.join(map(_value, values))})"
        case Contains(field, value):
            if not isinstance(value, str) or any(mark in value for mark in "%_\\"):
                raise InvalidArgument(
                    f"the filter on {field!r} looks for {value!r}, which LIKE reads as a pattern."
                )
            return f"{_field(field, model)} LIKE {_value(f'%{value}%')}"
        case Range():
            return _range(predicate, model)


def template(name: str) -> str:
    """A name as a query writes it, as dbt's template for it: `TimeDimension('metric_time', 'month')`."""
    metric, by, entities = name.partition(BY)
    if by:
        return f"Metric({metric!r}, group_by={[one.strip() for one in entities.split(',')]!r})"
    head, _, last = name.rpartition(SEPARATOR)
    if head and last.startswith(_PART):
        return f"TimeDimension({head!r}, date_part_name={last.removeprefix(_PART)!r})"
    if head and last in tuple(Grain):
        return f"TimeDimension({head!r}, {last!r})"
    return f"Dimension({name!r})" if head else f"Entity({name!r})"


def _field(name: str, model: SemanticModel) -> str:
    return "{{ " + template(queried(name, model)) + " }}"


def queried(name: str, model: SemanticModel) -> str:
    """A field as dbt names it: `entity__field`. Raises InvalidArgument where its dataset has no primary entity."""
    owner, dot, field = name.rpartition(".")
    if not dot:
        return name
    dataset = model.dataset(owner)
    if dataset is None or not dataset.primary_entity:
        raise InvalidArgument(f"{name!r} is of a dataset without a primary entity, by which dbt names fields.")
    dimension = dataset.dimension(field)
    if dimension is not None and dimension.fact:
        raise InvalidArgument(f"{name!r} is a fact, and dbt filters by dimensions only.")
    return f"{dataset.primary_entity}{SEPARATOR}{field}"


def _range(predicate: Range, model: SemanticModel) -> str:
    field = _field(predicate.field, model)
    if None not in (predicate.low, predicate.high) and predicate.include_low and predicate.include_high:
        return f"{field} BETWEEN {_value(predicate.low)} AND {_value(predicate.high)}"
    ends = [
        f"{field} {sign} {_value(end)}"
        for end, sign in (
            (predicate.low, ">=" if predicate.include_low else ">"),
            (predicate.high, "<=" if predicate.include_high else "<"),
        )
        if end is not None
    ]
    return " AND ".join(ends)


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).upper()
        case int() | float() | Decimal():
            return str(value)
        case date() | datetime() | time():
            return f"'{value.isoformat()}'"
        case Attribute(name):
            raise InvalidArgument(f"the filter compares with the caller's {name!r}.")
        case _:
            return "'" + str(value).replace("'", "''") + "'"
