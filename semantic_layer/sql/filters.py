"""Reads the SQL filters of semantic files into Predicates, once, at load; what is not understood is an error.

Only a field compared with values may stand in one, joined by AND, OR and NOT. Callers never send SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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


def read_filter(text: str, *, dialect: str = "", template: Callable[[str], str] | None = None) -> Predicate:
    """The filter in this SQL; its fields are named as they stand there.

    `template` gives the field that a Jinja expression, `{{ … }}`, stands for. Raises InvalidArgument for what is
    more than a comparison of a field with values.
    """

    def named(found: re.Match[str]) -> str:
        if template is None:
            raise InvalidArgument("templates are not read here.", hint="Write the field's name.")
        return '"' + template(found[1].strip()).replace('"', '""') + '"'

    return _node(parsed(_TEMPLATE.sub(named, text), dialect))


def _node(tree: exp.Expr) -> Predicate:
    tree = tree.unnest()
    match tree:
        case exp.And():
            return all_of(_node(tree.left), _node(tree.right))
        case exp.Or():
            return any_of(_node(tree.left), _node(tree.right))
        case exp.Not():
            return Not(_node(tree.this))
        case exp.Boolean():
            return Constant(bool(tree.this))
        case exp.Column():
            return Compare(_field(tree), "eq", True)
        case _:
            return _comparison(tree)


def _comparison(tree: exp.Expr) -> Predicate:
    match tree:
        case exp.NEQ():
            return Not(_compared(tree, "eq"))
        case exp.EQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            return _compared(tree, _COMPARISONS[type(tree)])
        case exp.In():
            if tree.args.get("query") or tree.args.get("unnest"):
                raise _unread(tree)
            return In(_field(tree.this), tuple(_value(item) for item in tree.expressions))
        case exp.Between():
            return Range(_field(tree.this), _value(tree.args["low"]), _value(tree.args["high"]))
        case exp.Is():
            return _is(tree)
        case exp.Like():
            return _like(tree)
        case _:
            raise _unread(tree)


def _compared(tree: exp.Expr, operator: Operator) -> Predicate:
    binary = cast("exp.Binary", tree)
    if _is_field(binary.left):
        return Compare(_field(binary.left), operator, _value(binary.right))
    return Compare(_field(binary.right), _MIRRORED[operator], _value(binary.left))


def _is(tree: exp.Is) -> Predicate:
    if isinstance(tree.expression, exp.Null):
        return IsNull(_field(tree.this))
    if isinstance(tree.expression, exp.Boolean):
        # IS TRUE and IS FALSE are never unknown.
        found = Compare(_field(tree.this), "eq", bool(tree.expression.this))
        return all_of(Not(IsNull(found.field)), found)
    raise _unread(tree)


def _like(tree: exp.Like) -> Predicate:
    pattern = _value(tree.expression)
    if not isinstance(pattern, str):
        raise _unread(tree)
    inner = pattern[1:-1] if len(pattern) > 2 and pattern[0] == pattern[-1] == "%" else pattern
    if any(mark in inner for mark in "%_\\"):
        raise InvalidArgument(f"the pattern {pattern!r} is not read.", hint="Write LIKE '%text%'.")
    return Contains(_field(tree.this), inner) if inner != pattern else Compare(_field(tree.this), "eq", pattern)


def _is_field(tree: exp.Expr) -> bool:
    return isinstance(_uncast(tree), exp.Column)


def _field(tree: exp.Expr) -> str:
    column = _uncast(tree)
    if not isinstance(column, exp.Column):
        raise _unread(tree)
    return ".".join(part.name for part in column.parts)


def _uncast(tree: exp.Expr) -> exp.Expr:
    """A moment may be written with a cast around it; it is bound in its own type all the same."""
    tree = tree.unnest()
    if isinstance(tree, exp.Cast) and tree.to.is_type(
        "date", "timestamp", "timestampntz", "datetime", "timestamptz"
    ):
        return tree.this.unnest()
    return tree


def _value(tree: exp.Expr) -> Scalar:
    tree = _uncast(tree)
    match tree:
        case exp.Literal():
            return tree.name if tree.is_string else _number(tree.name)
        case exp.Neg() if isinstance(tree.this, exp.Literal) and not tree.this.is_string:
            return -_number(tree.this.name)
        case exp.Boolean():
            return bool(tree.this)
        case _:
            raise _unread(tree)


def _number(text: str) -> int | Decimal:
    return int(text) if text.isdigit() else Decimal(text)


def _unread(tree: exp.Expr) -> InvalidArgument:
    return InvalidArgument(
        f"{tree.sql()!r} is not read in a filter.", hint="Compare a field with values: =, <, IN, BETWEEN, IS NULL."
    )
