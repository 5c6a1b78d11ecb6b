"""Reads the SQL filters of semantic files into Predicates, once, at load; what is not understood is an error.

Only a field compared with values may stand in one, joined by AND, OR and NOT. Callers never send SQL.
"""

from __future__ import annotations

import operator as compare
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import cast

from sqlglot import exp

from semantic_layer.errors import InvalidArgument
from semantic_layer.predicate import (
    Compare,
    Constant,
    Contains,
    In,
    IsNull,
    Not,
    Operator,
    Predicate,
    Range,
    Scalar,
    all_of,
    any_of,
)
from semantic_layer.sql.expressions import parsed

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_COMPARISONS: dict[type[exp.Expr], Operator] = {
    exp.EQ: "eq",
    exp.LT: "lt",
    exp.LTE: "le",
    exp.GT: "gt",
    exp.GTE: "ge",
}
_MIRRORED: dict[Operator, Operator] = {"eq": "eq", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


Cut = Callable[[str, str], str]
"""The field that a field cut to a grain (`day`) or part of the date (`extract_year`) is; raises InvalidArgument."""


def read_filter(
    text: str, *, dialect: str = "", template: Callable[[str], str] | None = None, cut: Cut | None = None
) -> Predicate:
    """The filter in this SQL; its fields are named as they stand there.

    `template` gives the field that a Jinja expression, `{{ … }}`, stands for; `cut` one that is cast to a date,
    truncated or taken a part of. Raises InvalidArgument for what is more than a comparison of a field with values.
    """

    def named(found: re.Match[str]) -> str:
        if template is None:
            raise InvalidArgument("templates are not read here.", hint="Write the field's name.")
        return '"' + template(found[1].strip()).replace('"', '""') + '"'

    return _Reader(cut).node(parsed(_TEMPLATE.sub(named, text), dialect))


@dataclass(frozen=True)
class _Reader:
    cut: Cut | None

    def node(self, tree: exp.Expr) -> Predicate:
        tree = tree.unnest()
        match tree:
            case exp.And():
                return all_of(self.node(tree.left), self.node(tree.right))
            case exp.Or():
                return any_of(self.node(tree.left), self.node(tree.right))
            case exp.Not():
                return Not(self.node(tree.this))
            case exp.Boolean():
                return Constant(bool(tree.this))
            case exp.Column():
                return Compare(self.field(tree), "eq", True)
            case exp.Coalesce():
                return self.compared(tree, "eq", True)
            case _:
                return self.comparison(tree)

    def comparison(self, tree: exp.Expr) -> Predicate:
        match tree:
            case exp.NEQ():
                return Not(self.sides(tree, "eq"))
            case exp.EQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                return self.sides(tree, _COMPARISONS[type(tree)])
            case exp.In():
                if tree.args.get("query") or tree.args.get("unnest"):
                    raise _unread(tree)
                return self.among(tree.this, tuple(_value(item) for item in tree.expressions))
            case exp.Between():
                return Range(self.field(tree.this), _value(tree.args["low"]), _value(tree.args["high"]))
            case exp.Is():
                return self.stated(tree)
            case exp.Like():
                return self.like(tree)
            case _:
                raise _unread(tree)

    def sides(self, tree: exp.Expr, operator: Operator) -> Predicate:
        binary = cast("exp.Binary", tree)
        if self.is_field(binary.left):
            return self.compared(binary.left, operator, _value(binary.right))
        return self.compared(binary.right, _MIRRORED[operator], _value(binary.left))

    def compared(self, side: exp.Expr, operator: Operator, value: Scalar) -> Predicate:
        """A field, or COALESCE of one and a value, beside a value. A COALESCE is never unknown."""
        inner = side.unnest()
        if not isinstance(inner, exp.Coalesce):
            return Compare(self.field(side), operator, value)
        field, otherwise = self.coalesced(inner)
        return _or_if_null(Compare(field, operator, value), field, _holds(otherwise, operator, value, side))

    def among(self, side: exp.Expr, values: tuple[Scalar, ...]) -> Predicate:
        inner = side.unnest()
        if not isinstance(inner, exp.Coalesce):
            return In(self.field(side), values)
        field, otherwise = self.coalesced(inner)
        held = any(_holds(otherwise, "eq", value, side) for value in values)
        return _or_if_null(In(field, values), field, held)

    def coalesced(self, tree: exp.Coalesce) -> tuple[str, Scalar]:
        others = cast("Sequence[exp.Expr]", tree.expressions)
        if len(others) != 1:
            raise _unread(tree)
        return self.field(tree.this), _value(others[0])

    def stated(self, tree: exp.Is) -> Predicate:
        if isinstance(tree.expression, exp.Null):
            return IsNull(self.field(tree.this))
        if isinstance(tree.expression, exp.Boolean):
            # IS TRUE and IS FALSE are never unknown.
            found = Compare(self.field(tree.this), "eq", bool(tree.expression.this))
            return all_of(Not(IsNull(found.field)), found)
        raise _unread(tree)

    def like(self, tree: exp.Like) -> Predicate:
        pattern = _value(tree.expression)
        if not isinstance(pattern, str):
            raise _unread(tree)
        inner = pattern[1:-1] if len(pattern) > 2 and pattern[0] == pattern[-1] == "%" else pattern
        if any(mark in inner for mark in "%_\\"):
            raise InvalidArgument(f"the pattern {pattern!r} is not read.", hint="Write LIKE '%text%'.")
        field = self.field(tree.this)
        return Contains(field, inner) if inner != pattern else Compare(field, "eq", pattern)

    def is_field(self, tree: exp.Expr) -> bool:
        tree = tree.unnest()
        if isinstance(tree, exp.Coalesce):
            return self.is_field(tree.this)
        return isinstance(_uncut(tree)[0], exp.Column)

    def field(self, tree: exp.Expr) -> str:
        """The field's name; one that is cast to a date, truncated or taken a part of is that field, cut."""
        column, cuts = _uncut(tree)
        if not isinstance(column, exp.Column) or (cuts and self.cut is None):
            raise _unread(tree)
        name = ".".join(part.name for part in column.parts)
        for cut in reversed(cuts):
            assert self.cut is not None
            name = self.cut(name, cut)
        return name


def _or_if_null(found: Predicate, field: str, held: bool) -> Predicate:
    """What COALESCE says: the comparison, and where the field is NULL, what the other value says."""
    return any_of(IsNull(field), found) if held else all_of(Not(IsNull(field)), found)


def _holds(left: Scalar, operator: Operator, right: Scalar, tree: exp.Expr) -> bool:
    """Whether a comparison of two values holds. Raises InvalidArgument for values of two kinds."""
    numbers = all(isinstance(one, (int, Decimal)) and not isinstance(one, bool) for one in (left, right))
    if not numbers and type(left) is not type(right):
        raise _unread(tree)
    return bool(getattr(compare, operator)(left, right))


_PARTS = {
    "year": "extract_year",
    "quarter": "extract_quarter",
    "month": "extract_month",
    "day": "extract_day",
    "doy": "extract_doy",
    "dayofyear": "extract_doy",
    "isodow": "extract_dow",
}
"""SQL's parts of a date as ours. Its `dow` begins on Sunday, ours is ISO's: no part of ours is that one."""
_MOMENTS = ("timestamp", "timestampntz", "datetime", "timestamptz")


def _uncut(tree: exp.Expr) -> tuple[exp.Expr, list[str]]:
    """What stands inside of casts to moments, which say nothing, and of cuts; the outermost cut first."""
    cuts: list[str] = []
    while True:
        tree = tree.unnest()
        match tree:
            case exp.Cast() if tree.to.is_type(*_MOMENTS):
                tree = tree.this
            case exp.Cast() if tree.to.is_type("date"):
                cuts.append("day")
                tree = tree.this
            case exp.TsOrDsToDate() | exp.Date():
                cuts.append("day")
                tree = tree.this
            case exp.DateTrunc() | exp.TimestampTrunc():
                cuts.append(tree.text("unit").casefold())
                tree = tree.this
            case exp.Extract() if tree.name.casefold() in _PARTS:
                cuts.append(_PARTS[tree.name.casefold()])
                tree = tree.expression
            case exp.Year() | exp.Quarter() | exp.Month() | exp.Day():
                cuts.append(f"extract_{type(tree).__name__.casefold()}")
                tree = tree.this
            case _:
                return tree, cuts


def _value(tree: exp.Expr) -> Scalar:
    tree = tree.unnest()
    match tree:
        case exp.Literal():
            return tree.name if tree.is_string else _number(tree.name)
        case exp.Neg() if isinstance(tree.this, exp.Literal) and not tree.this.is_string:
            return -_number(tree.this.name)
        case exp.Boolean():
            return bool(tree.this)
        case exp.Cast() if tree.to.is_type("date"):
            return _moment(tree.this).date().isoformat()
        case exp.Cast() if tree.to.is_type(*_MOMENTS):
            return _shown(_moment(tree.this))
        case exp.Add() | exp.Sub() if isinstance(tree.right, exp.Interval):
            return _shown(_moment(tree))
        case _:
            raise _unread(tree)


def _moment(tree: exp.Expr) -> datetime:
    """A constant moment: a literal, cast or not, and lengths of time added to it or taken away."""
    tree = tree.unnest()
    if isinstance(tree, (exp.Add, exp.Sub)) and isinstance(tree.right, exp.Interval):
        length, sign = tree.right, 1 if isinstance(tree, exp.Add) else -1
        unit, count = length.text("unit").casefold().removesuffix("s"), length.this
        step = _STEPS.get(unit)
        if step is None or not isinstance(count, exp.Literal) or not count.name.isdigit():
            raise _unread(tree)
        return _moment(tree.left) + sign * int(count.name) * step
    if isinstance(tree, exp.Cast) and tree.to.is_type("date", *_MOMENTS):
        found = _moment(tree.this)
        return datetime(found.year, found.month, found.day) if tree.to.is_type("date") else found
    if isinstance(tree, exp.Literal) and tree.is_string:
        try:
            return datetime.fromisoformat(tree.name)
        except ValueError:
            pass
    raise _unread(tree)


def _shown(moment: datetime) -> str:
    """As a filter gives it: midnight is a day, which dates and moments both take."""
    is_day = moment.tzinfo is None and moment == datetime(moment.year, moment.month, moment.day)
    return moment.date().isoformat() if is_day else moment.isoformat()


_STEPS = {
    "week": timedelta(weeks=1),
    "day": timedelta(days=1),
    "hour": timedelta(hours=1),
    "minute": timedelta(minutes=1),
    "second": timedelta(seconds=1),
}
"""Months and years are no length of time."""


def _number(text: str) -> int | Decimal:
    return int(text) if text.isdigit() else Decimal(text)


def _unread(tree: exp.Expr) -> InvalidArgument:
    return InvalidArgument(
        f"{tree.sql()!r} is not read in a filter.", hint="Compare a field with values: =, <, IN, BETWEEN, IS NULL."
    )
