"""How a filter is written in JSON and YAML: `{field, op, value}`, `all`, `any`, `not`; and back again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, cast

from semantic_layer.errors import InvalidFilter, UnknownName, close_names
from semantic_layer.predicate import (
    TRUE,
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
    Value,
    all_of,
    any_of,
    negation,
)

OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "between", "is_null", "contains")
_FORM = 'Write {"field": "region", "op": "eq", "value": "EU"}, or all, any, not over such.'
MAX_DEPTH = 16
MAX_LEAVES = 200
MAX_VALUES = 1_000


def parse_filter(data: Any, *, attributes: bool = False) -> Predicate:
    """A filter from its JSON form; None and [] mean TRUE, a list means all.

    `attributes` allows `{principal: name}` as a value (policies only). Raises InvalidFilter naming the part
    that is wrong; unknown keys and operators are errors with a suggestion, never dropped.
    """
    parser = _Parser(attributes)
    return TRUE if data is None else parser.node(data, 0)


class _Parser:
    def __init__(self, attributes: bool) -> None:
        self.attributes = attributes
        self.leaves = 0

    def node(self, data: Any, depth: int) -> Predicate:
        if depth > MAX_DEPTH:
            raise InvalidFilter(f"the filter is nested deeper than {MAX_DEPTH}.", hint="Flatten it.")
        if isinstance(data, list):
            return all_of(*(self.node(item, depth + 1) for item in cast("list[Any]", data)))
        if not isinstance(data, Mapping):
            raise InvalidFilter(
                f"a filter must be an object, not {type(data).__name__}.",
                hint='Write {"field": "region", "op": "eq", "value": "EU"}.',
            )
        form = cast("Mapping[str, Any]", data)
        for word, join in (("all", all_of), ("any", any_of)):
            if word in form:
                self._only(form, {word})
                parts = form[word]
                if not isinstance(parts, list):
                    raise InvalidFilter(f"{word!r} takes a list of filters.")
                return join(*(self.node(part, depth + 1) for part in cast("list[Any]", parts)))
        if "not" in form:
            self._only(form, {"not"})
            return negation(self.node(form["not"], depth + 1))
        return self.leaf(form)

    def _only(self, form: Mapping[str, Any], allowed: set[str]) -> None:
        for key in form:
            if key not in allowed:
                raise UnknownName("filter key", str(key), allowed, hint=_FORM)

    def leaf(self, form: Mapping[str, Any]) -> Predicate:
        self._only(form, {"field", "op", "value"})
        self.leaves += 1
        if self.leaves > MAX_LEAVES:
            raise InvalidFilter(f"the filter has more than {MAX_LEAVES} comparisons.", hint="Use `in`.")
        field = form.get("field")
        if not isinstance(field, str) or not field:
            raise InvalidFilter("a filter needs a `field`.", hint=f"Got {dict(form)!r}.")
        operator = form.get("op", "eq")
        if operator not in OPERATORS:
            near = close_names(str(operator), OPERATORS) or OPERATORS
            raise InvalidFilter(f"no operator {operator!r}.", hint="Use one of " + ", ".join(near) + ".")
        if operator == "is_null":
            return self.null_test(field, form.get("value", True))
        if "value" not in form:
            raise InvalidFilter(f"the filter on {field!r} needs a `value`.")
        return self.comparison(field, str(operator), form["value"])

    def null_test(self, field: str, value: Any) -> Predicate:
        if not isinstance(value, bool):
            raise InvalidFilter(f"is_null on {field!r} takes true or false.")
        return IsNull(field) if value else Not(IsNull(field))

    def comparison(self, field: str, operator: str, raw: Any) -> Predicate:
        match operator:
            case "in" | "not_in":
                found = In(field, self.values(field, raw))
                return found if operator == "in" else Not(found)
            case "between":
                ends = cast("list[Any]", raw) if isinstance(raw, list) else []
                if len(ends) != 2:
                    raise InvalidFilter(f"between on {field!r} takes [low, high].")
                return Range(field, self.value(field, ends[0]), self.value(field, ends[1]))
            case "contains":
                if raw == "":
                    raise InvalidFilter(f"contains on {field!r} needs at least one character.")
                return Contains(field, self.value(field, raw))
            case "ne":
                return Not(Compare(field, "eq", self.value(field, raw)))
            case _:
                return Compare(field, cast("Operator", operator), self.value(field, raw))

    def values(self, field: str, raw: Any) -> tuple[Value, ...]:
        if self.attributes and isinstance(raw, Mapping):
            return (self.value(field, raw),)
        if not isinstance(raw, list):
            raise InvalidFilter(f"in on {field!r} takes a list.", hint=f"Write [{raw!r}].")
        items = cast("list[Any]", raw)
        if len(items) > MAX_VALUES:
            raise InvalidFilter(f"in on {field!r} takes at most {MAX_VALUES} values.")
        return tuple(self.value(field, item) for item in items)

    def value(self, field: str, raw: Any) -> Value:
        if raw is None:
            raise InvalidFilter(f"NULL compares with nothing on {field!r}.", hint="Use is_null.")
        if self.attributes and isinstance(raw, Mapping):
            form = cast("Mapping[str, Any]", raw)
            self._only(form, {"principal"})
            name = form.get("principal")
            if not isinstance(name, str) or not name:
                raise InvalidFilter(
                    f"the value for {field!r} names no attribute.", hint="Write {principal: regions}."
                )
            return Attribute(name)
        if isinstance(raw, (str, bool, int, float, Decimal, date, datetime, time)):
            return raw
        raise InvalidFilter(f"{raw!r} is not a value for {field!r}.", hint="Give a string, number or date.")


def filter_form(predicate: Predicate) -> Any:
    """The JSON form of a predicate; `parse_filter` reads it back to one that holds for the same rows.

    A range with an excluded end becomes two comparisons: the same for a scalar column, the only kind that such
    ranges are made for (time); on an array two elements could satisfy one comparison each.
    """
    match predicate:
        case Constant(value):
            return {"all": []} if value else {"any": []}
        case And(parts):
            return {"all": [filter_form(part) for part in parts]}
        case Or(parts):
            return {"any": [filter_form(part) for part in parts]}
        case Not(part):
            return {"not": filter_form(part)}
        case _:
            return _leaf_form(predicate)


def _leaf_form(leaf: Leaf) -> Any:
    match leaf:
        case IsNull(field):
            return {"field": field, "op": "is_null", "value": True}
        case Compare(field, operator, value):
            return {"field": field, "op": operator, "value": _plain(value)}
        case In(field, values):
            if len(values) == 1 and isinstance(values[0], Attribute):
                return {"field": field, "op": "in", "value": _plain(values[0])}
            return {"field": field, "op": "in", "value": [_plain(value) for value in values]}
        case Contains(field, value):
            return {"field": field, "op": "contains", "value": _plain(value)}
        case Range():
            return _range_form(leaf)


def _range_form(leaf: Range) -> Any:
    field = leaf.field
    if leaf.low is not None and leaf.high is not None and leaf.include_low and leaf.include_high:
        return {"field": field, "op": "between", "value": [_plain(leaf.low), _plain(leaf.high)]}
    parts: Sequence[Any] = [
        {"field": field, "op": operator, "value": _plain(end)}
        for end, operator in (
            (leaf.low, "ge" if leaf.include_low else "gt"),
            (leaf.high, "le" if leaf.include_high else "lt"),
        )
        if end is not None
    ]
    return parts[0] if len(parts) == 1 else {"all": list(parts)}


def _plain(value: Value) -> Any:
    if isinstance(value, Attribute):
        return {"principal": value.name}
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
