"""A Predicate as SQL with bound values, meaning exactly what `semantic_layer.predicate.evaluate` means.

DuckDB tables hold a contract's types as VARCHAR, BIGINT, DOUBLE, DECIMAL(precision, scale), BOOLEAN, DATE,
TIME, TIMESTAMP (naive, in UTC) and lists of these. Postgres tables are whatever their owner made them, so
there strings are cast to text and timestamps compared by what `physical_type` says.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

from sqlglot import exp

from semantic_layer.errors import InvalidFilter, Refused
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
from semantic_layer.product import Column, ColumnType
from semantic_layer.sql.build import (
    Dialect,
    all_true,
    any_true,
    cast,
    identifier,
    is_null,
    is_present,
    named,
    select,
)
from semantic_layer.sql.dialects import adapted

_COMPARISONS: Mapping[Operator, type[exp.Binary]] = {
    "eq": exp.EQ,
    "lt": exp.LT,
    "le": exp.LTE,
    "gt": exp.GT,
    "ge": exp.GTE,
}

_CAST_NAMES: Mapping[ColumnType, str] = {
    ColumnType.STRING: "TEXT",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.NUMBER: "DOUBLE",
    ColumnType.DECIMAL: "DECIMAL",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMP",
    ColumnType.TIME: "TIME",
}

_MAX_DECIMAL_DIGITS = 38
MOST_TEXTS = 2_000
_texts: dict[tuple[Dialect, Any], str] = {}
"""Conditions that were written lately, by their shape: writing one takes several times as long as building it, and
every call has the same row filters."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Parameters:
    """The values of one statement, named p0, p1 … in the order they were added; text never becomes SQL."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def add(self, value: Any) -> exp.Placeholder:
        """A placeholder for the value."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return exp.Placeholder(this=name)


def predicate_sql(
    predicate: Predicate,
    columns: Mapping[str, Column],
    parameters: Parameters,
    *,
    dialect: Dialect = "duckdb",
    table: str = "",
    operands: Mapping[str, exp.Expr] | None = None,
) -> exp.Expr:
    """The predicate as a boolean SQL expression over `columns`, its values added to `parameters`.

    `table` qualifies the columns; `operands` gives the SQL of fields that are not plain columns. Raises
    UnknownName for a field that is not in `columns`, InvalidFilter for a value that does not fit its type or
    an attribute that was not resolved, Refused for a list on an engine that lists are not written for.
    """
    compiler = _Compiler(columns, parameters, dialect, table, operands or {})
    return compiler.node(bind(predicate, columns))


def where_text(
    predicate: Predicate, columns: Mapping[str, Column], dialect: Dialect
) -> tuple[str, dict[str, Any]]:
    """The predicate as text for a WHERE clause (`$p0` for DuckDB, `%(p0)s` for Postgres), and its values."""
    parameters = Parameters()
    expression = predicate_sql(predicate, columns, parameters, dialect=dialect)
    key = dialect, _shape(expression)
    text = _texts.get(key)
    if text is None:
        if len(_texts) >= MOST_TEXTS:
            _texts.clear()
        text = _texts[key] = render(expression, dialect)
    return text, parameters.values


def _shape(part: Any) -> Any:
    """What the text of an expression depends on: its kind and its parts. Values are none of them: they are bound."""
    if isinstance(part, exp.Expr):
        return type(part), *((name, _shape(held)) for name, held in part.args.items() if held is not None)
    return tuple(_shape(one) for one in typing.cast("list[Any]", part)) if isinstance(part, list) else part


def render(expression: exp.Expr, dialect: Dialect, *, pretty: bool = False) -> str:
    """The expression's text. For Postgres a per cent sign in a name is doubled, as psycopg asks."""
    if dialect == "postgres":
        expression = expression.copy()
        for name in expression.find_all(exp.Identifier, exp.Literal):
            name.set("this", str(name.this).replace("%", "%%"))
    return adapted(expression, dialect).sql(dialect=dialect, pretty=pretty, copy=False)


@dataclass(frozen=True)
class _Operand:
    """What is compared: an SQL expression without NaN, the column's declaration and its element type."""

    sql: exp.Expr
    column: Column
    type: ColumnType


@dataclass(frozen=True)
class _Bound:
    """A value as the engine can hold it; where `exact` is false the value lies just above it."""

    value: Scalar
    type: str
    exact: bool = True


@dataclass(frozen=True)
class _Compiler:
    columns: Mapping[str, Column]
    parameters: Parameters
    dialect: Dialect
    table: str
    operands: Mapping[str, exp.Expr]

    def node(self, predicate: Predicate) -> exp.Expr:
        match predicate:
            case Constant(value):
                return exp.Boolean(this=value)
            case And(parts):
                return all_true(self.node(part) for part in parts) or exp.Boolean(this=True)
            case Or(parts):
                return any_true(self.node(part) for part in parts) or exp.Boolean(this=False)
            case Not(part):
                return exp.Not(this=exp.Paren(this=self.node(part)))
            case _:
                return self.leaf(predicate)

    def leaf(self, leaf: Leaf) -> exp.Expr:
        column = self.columns[leaf.field]
        plain = (self.table, leaf.field) if self.table else (leaf.field,)
        source = self.operands[leaf.field].copy() if leaf.field in self.operands else named(*plain)
        if column.type is ColumnType.ARRAY:
            return self._any_element(leaf, column, source)
        return self._holds(leaf, self._operand(source, column, column.type))

    def _operand(self, source: exp.Expr, column: Column, kind: ColumnType) -> _Operand:
        if kind is ColumnType.NUMBER:
            source = exp.Nullif(this=source, expression=cast(exp.Literal.string("NaN"), "DOUBLE"))
        if kind is ColumnType.STRING and self.dialect == "postgres":
            source = cast(source, "TEXT")
        if kind is ColumnType.TIMESTAMP and self.dialect == "postgres" and not _zone_known(column):
            source = exp.Extract(this=exp.var("EPOCH"), expression=source)
        return _Operand(source, column, kind)

    def _any_element(self, leaf: Leaf, column: Column, source: exp.Expr) -> exp.Expr:
        if self.dialect not in ("duckdb", "postgres"):
            raise Refused(
                f"a condition on the list {leaf.field!r} is not written for {self.dialect}.",
                rule="not_supported",
                hint="Ask on DuckDB or Postgres.",
            )
        item = exp.Column(this=exp.to_identifier("item"), table=exp.to_identifier("element"))
        element = self._operand(item, column, column.items or ColumnType.STRING)
        elements = exp.alias_(exp.Unnest(expressions=[source]), "element", table=["item"])
        offered = [is_present(element.sql)]
        if isinstance(leaf, IsNull):
            counted = select([exp.Count(this=exp.Star())], elements, offered)
            return exp.EQ(this=exp.Subquery(this=counted), expression=exp.Literal.number(0))
        held = exp.LogicalOr(this=exp.Paren(this=self._holds(leaf, element)))
        return exp.Subquery(this=select([held], elements, offered))

    def _holds(self, leaf: Leaf, operand: _Operand) -> exp.Expr:
        match leaf:
            case IsNull():
                return is_null(operand.sql)
            case Compare(_, operator, value):
                return self._compare(operand, operator, _value(value, leaf.field))
            case In(field_name, values):
                return self._in(operand, [_value(value, field_name) for value in values])
            case Contains(field_name, value):
                return self._contains(operand, str(_value(value, field_name)))
            case Range(low=low, high=high):
                ends: list[exp.Expr] = []
                if low is not None:
                    ends.append(
                        self._compare(operand, "ge" if leaf.include_low else "gt", _value(low, leaf.field))
                    )
                if high is not None:
                    ends.append(
                        self._compare(operand, "le" if leaf.include_high else "lt", _value(high, leaf.field))
                    )
                return all_true(ends) or _always(operand, True)

    def _compare(self, operand: _Operand, operator: Operator, value: Scalar) -> exp.Expr:
        if operator == "eq" and self._is_uuid(operand):
            return self._in(operand, [value])
        bound = self._bound(value, operand)
        if isinstance(bound, int):
            above = operator in ("gt", "ge")
            return _always(operand, operator != "eq" and above == (bound < 0))
        if not bound.exact:
            if operator == "eq":
                return _always(operand, False)
            operator = "le" if operator in ("lt", "le") else "gt"
        left = operand.sql.copy()
        if operand.type is ColumnType.STRING and operator != "eq" and self.dialect == "postgres":
            left = exp.Collate(this=left, expression=identifier("C"))
        return _COMPARISONS[operator](this=left, expression=self._placeholder(bound))

    def _is_uuid(self, operand: _Operand) -> bool:
        return (
            self.dialect == "postgres"
            and operand.type is operand.column.type is ColumnType.STRING
            and operand.column.physical_type.casefold() == "uuid"
        )

    def _in(self, operand: _Operand, values: list[Scalar]) -> exp.Expr:
        if self._is_uuid(operand):
            # As uuid and not as its text, so that an index on the key is used; only its own text can equal it.
            values = [value for value in values if _UUID.fullmatch(str(value))]
            operand = replace(operand, sql=operand.sql.this)
            bounds = [_Bound(value, "UUID") for value in values]
            return self._among(operand, bounds)
        bounds = [self._bound(value, operand) for value in values]
        return self._among(operand, [bound for bound in bounds if isinstance(bound, _Bound) and bound.exact])

    def _among(self, operand: _Operand, exact: list[_Bound]) -> exp.Expr:
        if not exact:
            return _always(operand, False)
        return exp.In(this=operand.sql.copy(), expressions=[self._placeholder(bound) for bound in exact])

    def _contains(self, operand: _Operand, text: str) -> exp.Expr:
        if self.dialect == "postgres" and "\0" in text:
            return _always(operand, False)
        held = (
            exp.Collate(this=operand.sql, expression=identifier("C"))
            if self.dialect == "postgres"
            else operand.sql
        )
        place = exp.Anonymous(this="STRPOS", expressions=[held.copy(), self._placeholder(_Bound(text, "TEXT"))])
        return exp.GT(this=place, expression=exp.Literal.number(0))

    def _placeholder(self, bound: _Bound) -> exp.Expr:
        return cast(self.parameters.add(bound.value), bound.type)

    def _bound(self, value: Scalar, operand: _Operand) -> _Bound | int:
        """The value as the engine holds it, or -1 / 1 where it lies below / above everything it holds."""
        name = _CAST_NAMES[operand.type]
        if isinstance(value, Decimal):
            return (
                _Bound(value, "NUMERIC") if self.dialect == "postgres" else _decimal_bound(value, operand.column)
            )
        if isinstance(value, datetime):
            return self._moment(value, operand.column)
        if isinstance(value, str) and self.dialect == "postgres" and "\0" in value:
            return _Bound(value.split("\0")[0], name, exact=False)
        return _Bound(value, name)

    def _moment(self, value: datetime, column: Column) -> _Bound:
        if self.dialect != "postgres":
            return _Bound(value.replace(tzinfo=None), "TIMESTAMP")
        if not _zone_known(column):
            return _Bound(_epoch(value), "NUMERIC")
        aware = _is_aware(column)
        return _Bound(value if aware else value.replace(tzinfo=None), "TIMESTAMPTZ" if aware else "TIMESTAMP")


def _value(value: Value, name: str) -> Scalar:
    if isinstance(value, Attribute):
        raise InvalidFilter(
            f"the filter on {name!r} still needs the principal's attribute {value.name!r}.",
            hint="Resolve a policy's rows for a principal before reading.",
        )
    return value


def _always(operand: _Operand, value: bool) -> exp.Expr:
    """`value` for every cell that is not NULL."""
    return exp.Case(ifs=[exp.If(this=is_present(operand.sql.copy()), true=exp.Boolean(this=value))])


def _decimal_bound(value: Decimal, column: Column) -> _Bound | int:
    """DuckDB compares two decimals in a common type of at most 38 digits, so the value is floored to fit one."""
    whole_digits = max(column.precision - column.scale, value.adjusted() + 1, 1)
    if whole_digits > _MAX_DECIMAL_DIGITS - column.scale:
        return -1 if value < 0 else 1
    digits = value.as_tuple().exponent
    scale = min(max(-digits if isinstance(digits, int) else 0, 0), _MAX_DECIMAL_DIGITS - whole_digits)
    wide = Context(prec=2 * _MAX_DECIMAL_DIGITS)
    floored = value.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_FLOOR, context=wide)
    return _Bound(floored, f"DECIMAL({max(whole_digits + scale, 1)}, {scale})", exact=floored == value)


def _zone_known(column: Column) -> bool:
    return "timestamp" in column.physical_type.casefold()


def _is_aware(column: Column) -> bool:
    physical = column.physical_type.casefold()
    return "timestamptz" in physical or "with time zone" in physical


def _epoch(moment: datetime) -> Decimal:
    """Seconds since 1970 in UTC, exact to the microsecond."""
    since = moment - datetime(1970, 1, 1, tzinfo=moment.tzinfo)
    return Decimal(since.days * 86_400 + since.seconds) + Decimal(since.microseconds) / 1_000_000
