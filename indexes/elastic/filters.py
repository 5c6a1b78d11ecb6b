"""A Predicate as an Elasticsearch filter, meaning exactly what `semantic_layer.predicate.evaluate` means.

Elasticsearch knows no unknown: a filter holds or does not. So each node is asked for the documents where it is TRUE
and, under NOT, for those where it is FALSE. No script, regular expression or wildcard is ever sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from indexes.elastic.encoding import (
    LONGEST_STRING,
    Stored,
    element_type,
    gram_phrase,
    gram_prefix,
    stored,
    unscaled,
)
from indexes.elastic.mapping import CarriedField, carried_fields
from indexes.ports import Allowed
from semantic_layer.errors import InvalidFilter
from semantic_layer.predicate import (
    And,
    Attribute,
    Compare,
    Constant,
    Contains,
    In,
    IsNull,
    Leaf,
    Not,
    Operator,
    Or,
    Predicate,
    Range,
    Scalar,
    Value,
    bind,
)
from semantic_layer.product import ColumnType, DataProduct

Clause = dict[str, Any]

MAX_TERMS = 65_536
"""Elasticsearch's default `index.max_terms_count`."""

ALL: Clause = {"match_all": {}}
NONE: Clause = {"match_none": {}}
_BOUNDS: Mapping[Operator, str] = {"lt": "lt", "le": "lte", "gt": "gt", "ge": "gte"}


class _Inexpressible(Exception):
    """A comparison that the fields cannot decide: the order of two very long strings."""


class Filters:
    """Makes the filters of one product's index."""

    def __init__(self, product: DataProduct) -> None:
        self._fields = carried_fields(product)

    def of(self, allowed: Allowed) -> Clause:
        """The filter that lets through exactly the allowed chunks: by what they carry, or else by their numbers."""
        if allowed.where is None:
            return numbered(allowed.numbers.tolist())
        try:
            return self.where(allowed.where)
        except _Inexpressible:
            return numbered(allowed.numbers.tolist())

    def where(self, where: Mapping[str, Predicate]) -> Clause:
        """The chunks whose dataset is a key of `where` and whose columns make its predicate TRUE."""
        return _any([self._dataset(dataset, predicate) for dataset, predicate in where.items()])

    def _dataset(self, dataset: str, predicate: Predicate) -> Clause:
        fields = self._fields[dataset]
        bound = bind(predicate, {name: field.column for name, field in fields.items()})
        return _all([{"term": {"dataset": dataset}}, _Translation(fields).true(bound)])


def numbered(numbers: Sequence[int]) -> Clause:
    """The chunks of these numbers."""
    return _terms("number", list(numbers))


class _Translation:
    """Translates predicates over one dataset's fields."""

    def __init__(self, fields: Mapping[str, CarriedField]) -> None:
        self._fields = fields

    def true(self, predicate: Predicate) -> Clause:
        """Where the predicate is TRUE."""
        match predicate:
            case Constant(value):
                return ALL if value else NONE
            case And(parts):
                return _all([self.true(part) for part in parts])
            case Or(parts):
                return _any([self.true(part) for part in parts])
            case Not(part):
                return self.false(part)
            case IsNull(field):
                return _none([_exists(self._fields[field])])
            case _:
                return self._leaf(predicate)

    def false(self, predicate: Predicate) -> Clause:
        """Where the predicate is FALSE: neither TRUE nor unknown."""
        match predicate:
            case Constant(value):
                return NONE if value else ALL
            case And(parts):
                return _any([self.false(part) for part in parts])
            case Or(parts):
                return _all([self.false(part) for part in parts])
            case Not(part):
                return self.true(part)
            case IsNull(field):
                return _exists(self._fields[field])
            case _:
                field = self._fields[predicate.field]
                return {"bool": {"filter": [_exists(field)], "must_not": [self._leaf(predicate)]}}

    def _leaf(self, leaf: Leaf) -> Clause:
        field = self._fields[leaf.field]
        match leaf:
            case Compare(_, "eq", value):
                return _equal(field, [_scalar(value, leaf.field)])
            case Compare(_, operator, value):
                return _between(field, [(operator, _scalar(value, leaf.field))])
            case In(_, values):
                return _equal(field, [_scalar(value, leaf.field) for value in values])
            case Contains(_, value):
                return _containing(field, str(_scalar(value, leaf.field)))
            case Range(low=low, high=high):
                ends: list[tuple[Operator, Scalar]] = []
                if low is not None:
                    ends.append(("ge" if leaf.include_low else "gt", _scalar(low, leaf.field)))
                if high is not None:
                    ends.append(("le" if leaf.include_high else "lt", _scalar(high, leaf.field)))
                return _between(field, ends)
            case IsNull():
                return _none([_exists(field)])


def _equal(field: CarriedField, values: Sequence[Scalar]) -> Clause:
    held: list[Stored] = []
    for value in values:
        if isinstance(value, Decimal):
            bound, exact = unscaled(field.column, value)
            held += [bound] if exact else []
        else:
            held.append(stored(field.column, value))
    return _terms(field.name, held)


def _between(field: CarriedField, ends: Sequence[tuple[Operator, Scalar]]) -> Clause:
    """Where one value lies within these ends; without any, wherever there is a value."""
    if not ends:
        return _exists(field)
    if element_type(field.column) is ColumnType.BOOLEAN:
        return _terms(field.name, [value for value in (False, True) if all(_holds(value, *end) for end in ends)])
    bounds: dict[str, Stored] = {}
    for operator, value in ends:
        name, held = _end(field, operator, value)
        bounds[name] = held
    return {"range": {field.name: bounds}}


def _end(field: CarriedField, operator: Operator, value: Scalar) -> tuple[str, Stored]:
    if isinstance(value, Decimal):
        held, exact = unscaled(field.column, value)
        if not exact:  # floored: nothing held lies between the two
            operator = "le" if operator in ("lt", "le") else "gt"
        return _BOUNDS[operator], held
    if isinstance(value, str) and len(value) > LONGEST_STRING:
        raise _Inexpressible
    return _BOUNDS[operator], stored(field.column, value)


def _holds(value: bool, operator: Operator, end: Scalar) -> bool:
    bound = bool(end)
    return {"lt": value < bound, "le": value <= bound, "gt": value > bound, "ge": value >= bound}[operator]


def _containing(field: CarriedField, text: str) -> Clause:
    if field.grams is None or not text:
        return _exists(field)
    if len(text) == 1:
        return {"prefix": {field.grams: {"value": gram_prefix(text)}}}
    return {"match_phrase": {field.grams: {"query": gram_phrase(text), "analyzer": "whitespace"}}}


def _exists(field: CarriedField) -> Clause:
    return {"exists": {"field": field.name}}


def _terms(name: str, values: Sequence[Stored]) -> Clause:
    parts = [values[at : at + MAX_TERMS] for at in range(0, len(values), MAX_TERMS)]
    return _any([{"terms": {name: list(part)}} for part in parts])


def _all(clauses: Sequence[Clause]) -> Clause:
    return clauses[0] if len(clauses) == 1 else {"bool": {"filter": list(clauses)}}


def _any(clauses: Sequence[Clause]) -> Clause:
    if not clauses:
        return NONE
    return clauses[0] if len(clauses) == 1 else {"bool": {"should": list(clauses), "minimum_should_match": 1}}


def _none(clauses: Sequence[Clause]) -> Clause:
    return {"bool": {"must_not": list(clauses)}}


def _scalar(value: Value, name: str) -> Scalar:
    if isinstance(value, Attribute):
        raise InvalidFilter(
            f"the filter on {name!r} still needs the principal's attribute {value.name!r}.",
            hint="Resolve a policy's rows for a principal before reading.",
        )
    return value
