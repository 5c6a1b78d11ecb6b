"""The one filter language: typed, three-valued as in SQL, the same for agents, policies, metrics and evaluations.

A row is returned only where a predicate is TRUE, also under NOT. The plain evaluation in this file is the
oracle that every engine's translation is tested against. The rules, where engines differ of themselves:

- strings compare by Unicode code point, decimals exactly, timestamps in UTC;
- NULL and NaN make a comparison unknown;
- an array matches where any element does, so NOT means none; NULL elements are skipped, and an array without
  elements is NULL;
- `in` with no values is FALSE for every non-NULL cell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, cast

from semantic_layer.errors import InvalidFilter, UnknownName
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType

Scalar = str | int | float | Decimal | bool | date | datetime | time
Operator = Literal["eq", "lt", "le", "gt", "ge"]


@dataclass(frozen=True)
class Attribute:
    """A value that the principal's attribute of this name fills in; only policies may hold one."""

    name: str


Value = Scalar | Attribute


@dataclass(frozen=True)
class Constant:
    """TRUE or FALSE for every row."""

    value: bool


@dataclass(frozen=True)
class Compare:
    field: str
    operator: Operator
    value: Value


@dataclass(frozen=True)
class In:
    """`values` are alternatives; an `Attribute` among them stands for all of the attribute's values."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """From `low` to `high`; either end may be None (open) or excluded."""

    field: str
    low: Value | None
    high: Value | None
    include_low: bool = True
    include_high: bool = True


@dataclass(frozen=True)
class IsNull:
    field: str


@dataclass(frozen=True)
class Contains:
    """A substring by code points, case kept."""

    field: str
    value: Value


@dataclass(frozen=True)
class And:
    parts: tuple[Predicate, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Predicate, ...]


@dataclass(frozen=True)
class Not:
    part: Predicate


Predicate = Constant | Compare | In | Range | IsNull | Contains | And | Or | Not
Leaf = Compare | In | Range | IsNull | Contains

TRUE = Constant(True)
FALSE = Constant(False)


def all_of(*parts: Predicate) -> Predicate:
    """The conjunction, flattened; TRUE parts vanish and one FALSE part decides."""
    flat: list[Predicate] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, And) else (part,))
    kept = tuple(dict.fromkeys(part for part in flat if part != TRUE))
    if FALSE in kept:
        return FALSE
    return TRUE if not kept else kept[0] if len(kept) == 1 else And(kept)


def any_of(*parts: Predicate) -> Predicate:
    """The disjunction, flattened; FALSE parts vanish and one TRUE part decides."""
    flat: list[Predicate] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Or) else (part,))
    kept = tuple(dict.fromkeys(part for part in flat if part != FALSE))
    if TRUE in kept:
        return TRUE
    return FALSE if not kept else kept[0] if len(kept) == 1 else Or(kept)


def negation(part: Predicate) -> Predicate:
    """The opposite, with constants and double negations folded; unknown stays unknown."""
    match part:
        case Constant(value):
            return Constant(not value)
        case Not(inner):
            return inner
        case _:
            return Not(part)


def fields_of(predicate: Predicate) -> frozenset[str]:
    """Every field the predicate names."""
    return frozenset(leaf.field for leaf in leaves(predicate))


def leaves(predicate: Predicate) -> Iterator[Leaf]:
    """The comparisons inside, in reading order."""
    match predicate:
        case And(parts) | Or(parts):
            for part in parts:
                yield from leaves(part)
        case Not(part):
            yield from leaves(part)
        case Constant():
            return
        case _:
            yield predicate


def map_leaves(predicate: Predicate, change: Callable[[Leaf], Predicate]) -> Predicate:
    """The predicate with each comparison replaced by what `change` makes of it."""
    match predicate:
        case And(parts):
            return all_of(*(map_leaves(part, change) for part in parts))
        case Or(parts):
            return any_of(*(map_leaves(part, change) for part in parts))
        case Not(part):
            return negation(map_leaves(part, change))
        case Constant():
            return predicate
        case _:
            return change(predicate)


def rename_fields(predicate: Predicate, name: Callable[[str], str]) -> Predicate:
    """The predicate over other field names."""
    return map_leaves(predicate, lambda leaf: replace(leaf, field=name(leaf.field)))


# -- values ------------------------------------------------------------------------------------------------


def bind(predicate: Predicate, columns: Mapping[str, Column]) -> Predicate:
    """The predicate with every value of its column's own type.

    Raises UnknownName for a field that is not in `columns` and InvalidFilter for a value or operator that
    does not fit. Attributes are left for `resolve`.
    """

    def typed(leaf: Leaf) -> Predicate:
        column = columns.get(leaf.field)
        if column is None:
            raise UnknownName("column", leaf.field, columns)
        if not column.scalar:
            raise InvalidFilter(
                f"column {leaf.field!r} holds objects and cannot be filtered.",
                hint="Filter on one of its scalar paths.",
            )
        return _typed_leaf(leaf, column)

    return map_leaves(predicate, typed)


def _typed_leaf(leaf: Leaf, column: Column) -> Predicate:
    element = (column.items or ColumnType.STRING) if column.type is ColumnType.ARRAY else column.type

    def value(raw: Value) -> Value:
        return raw if isinstance(raw, Attribute) else coerce(raw, element, column.name)

    match leaf:
        case Compare(field, operator, raw):
            if element is ColumnType.BOOLEAN and operator != "eq":
                raise InvalidFilter(f"column {field!r} is boolean and has no order.", hint="Use eq or ne.")
            return Compare(field, operator, value(raw))
        case In(field, raws):
            return In(field, tuple(dict.fromkeys(value(raw) for raw in raws)))
        case Range(low=low, high=high):
            return replace(
                leaf,
                low=None if low is None else value(low),
                high=None if high is None else value(high),
            )
        case Contains(field, raw):
            if element is not ColumnType.STRING:
                raise InvalidFilter(
                    f"column {field!r} is {element.value}; contains needs a string column.", hint="Use eq or in."
                )
            return Contains(field, value(raw))
        case IsNull():
            return leaf


def coerce(raw: Any, kind: ColumnType, field: str) -> Scalar:
    """The value in its column's type: dates and timestamps from ISO 8601, decimals exact, timestamps in UTC.

    Raises InvalidFilter where the value does not fit, naming field, value and the expected form.
    """
    try:
        value = _COERCIONS[kind](raw)
    except (ValueError, TypeError, InvalidOperation, OverflowError):
        value = None
    if value is None:
        raise InvalidFilter(
            f"{raw!r} is not a {kind.value} for column {field!r}.", hint=f"Give {_EXAMPLES[kind]}."
        )
    return value


def _string(raw: Any) -> Scalar | None:
    if isinstance(raw, str) and any(0xD800 <= ord(char) <= 0xDFFF for char in raw):
        return None
    return raw if isinstance(raw, str) else None


_WHOLE = re.compile(r"[-+]?[0-9]{1,19}")
_NUMERAL = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")


def _numeral(raw: int | float | Decimal | str) -> bool:
    """Whether text is a number as JSON writes one; Python's underscores and other digits are not."""
    return not isinstance(raw, str) or _NUMERAL.fullmatch(raw) is not None


def _integer(raw: Any) -> Scalar | None:
    if isinstance(raw, bool):
        return None
    if isinstance(raw, (float, Decimal)):
        number = int(raw) if raw == int(raw) else None
    elif isinstance(raw, str):
        number = int(raw) if _WHOLE.fullmatch(raw) else None
    else:
        number = raw if isinstance(raw, int) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def _number(raw: Any) -> Scalar | None:
    if isinstance(raw, bool) or not isinstance(raw, (int, float, Decimal, str)) or not _numeral(raw):
        return None
    number = float(raw)
    return number if math.isfinite(number) else None


def _decimal(raw: Any) -> Scalar | None:
    if isinstance(raw, bool) or not isinstance(raw, (int, float, Decimal, str)) or not _numeral(raw):
        return None
    number = Decimal(repr(raw)) if isinstance(raw, float) else Decimal(raw)
    return number if number.is_finite() else None


def _boolean(raw: Any) -> Scalar | None:
    return raw if isinstance(raw, bool) else {"true": True, "false": False}.get(str(raw).casefold())


def _date(raw: Any) -> Scalar | None:
    if isinstance(raw, datetime):
        return raw.date() if raw.time() == time() else None
    if isinstance(raw, date):
        return raw
    moment = datetime.fromisoformat(raw)
    return moment.date() if moment.tzinfo is None and moment.time() == time() else None


def _timestamp(raw: Any) -> Scalar | None:
    if isinstance(raw, date) and not isinstance(raw, datetime):
        raw = datetime(raw.year, raw.month, raw.day)
    moment = raw if isinstance(raw, datetime) else datetime.fromisoformat(raw)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _time(raw: Any) -> Scalar | None:
    moment = raw if isinstance(raw, time) else time.fromisoformat(raw)
    return moment if moment.tzinfo is None else None


_COERCIONS: Mapping[ColumnType, Callable[[Any], Scalar | None]] = {
    ColumnType.STRING: _string,
    ColumnType.INTEGER: _integer,
    ColumnType.NUMBER: _number,
    ColumnType.DECIMAL: _decimal,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.DATE: _date,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.TIME: _time,
}

_EXAMPLES: Mapping[ColumnType, str] = {
    ColumnType.STRING: "a string",
    ColumnType.INTEGER: "a whole number such as 42",
    ColumnType.NUMBER: "a finite number such as 4.2",
    ColumnType.DECIMAL: "a decimal such as 4.20",
    ColumnType.BOOLEAN: "true or false",
    ColumnType.DATE: "an ISO date such as 2025-01-31",
    ColumnType.TIMESTAMP: "an ISO timestamp such as 2025-01-31T12:00:00Z",
    ColumnType.TIME: "an ISO time such as 12:30:00",
}


def resolve(predicate: Predicate, principal: Principal) -> Predicate | None:
    """The predicate with the principal's attributes filled in; None where one is missing (the rule denies).

    An attribute with several values means any of them; one with none is FALSE for every non-NULL cell. As an end
    of a range it needs exactly one value, or counts as missing.
    """
    missing: list[str] = []

    def values_of(value: Value) -> tuple[Scalar, ...]:
        if not isinstance(value, Attribute):
            return (value,)
        held = principal.value(value.name)
        if held is None:
            missing.append(value.name)
            return ()
        return held if isinstance(held, tuple) else (held,)

    def filled(leaf: Leaf) -> Predicate:
        match leaf:
            case In(field, values):
                return In(field, tuple(one for value in values for one in values_of(value)))
            case Compare(field, operator, Attribute() as value):
                held = values_of(value)
                return any_of(*(Compare(field, operator, one) for one in held)) if held else In(field, ())
            case Contains(field, Attribute() as value):
                held = values_of(value)
                return any_of(*(Contains(field, one) for one in held)) if held else In(field, ())
            case Range(low=low, high=high):
                ends = [end for end in (low, high) if isinstance(end, Attribute)]
                bounds = {end: values_of(end) for end in ends}
                if any(len(bound) != 1 for bound in bounds.values()):
                    missing.extend(end.name for end in ends)
                    return FALSE
                pick = {end: bound[0] for end, bound in bounds.items()}
                return replace(
                    leaf,
                    low=pick[low] if isinstance(low, Attribute) else low,
                    high=pick[high] if isinstance(high, Attribute) else high,
                )
            case _:
                return leaf

    result = map_leaves(predicate, filled)
    return None if missing else result


# -- the plain evaluation ----------------------------------------------------------------------------------


def evaluate(predicate: Predicate, row: Mapping[str, Any]) -> bool | None:
    """TRUE, FALSE or None (unknown) for one row, by Kleene's three-valued logic (SQL:2016, 6.39)."""
    match predicate:
        case Constant(value):
            return value
        case And(parts):
            results = [evaluate(part, row) for part in parts]
            return False if False in results else None if None in results else True
        case Or(parts):
            results = [evaluate(part, row) for part in parts]
            return True if True in results else None if None in results else False
        case Not(part):
            result = evaluate(part, row)
            return None if result is None else not result
        case IsNull(field):
            return not _elements(row.get(field))
        case _:
            elements = _elements(row.get(predicate.field))
            return any(_holds(predicate, element) for element in elements) if elements else None


def _elements(cell: Any) -> list[Any]:
    """What a cell offers to compare with: itself, or an array's elements; NULL and NaN offer nothing."""
    items = list(cast("Sequence[Any]", cell)) if isinstance(cell, (list, tuple)) else [cell]
    return [
        item.replace(tzinfo=UTC) if isinstance(item, datetime) and item.tzinfo is None else item
        for item in items
        if item is not None and not (isinstance(item, float) and math.isnan(item))
    ]


def _holds(leaf: Compare | In | Range | Contains, element: Any) -> bool:
    match leaf:
        case Compare(_, operator, value):
            return _compare(element, operator, value)
        case In(_, values):
            return any(_compare(element, "eq", value) for value in values)
        case Contains(_, value):
            return str(value) in element
        case Range(_, low, high, include_low, include_high):
            above = low is None or _compare(element, "ge" if include_low else "gt", low)
            return above and (high is None or _compare(element, "le" if include_high else "lt", high))


def _compare(element: Any, operator: Operator, value: Any) -> bool:
    match operator:
        case "eq":
            return bool(element == value)
        case "lt":
            return bool(element < value)
        case "le":
            return bool(element <= value)
        case "gt":
            return bool(element > value)
        case "ge":
            return bool(element >= value)
