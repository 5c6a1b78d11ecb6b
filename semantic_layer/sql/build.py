"""Statements put together from trees at hand; sqlglot's own builders copy and parse at each step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal

from sqlglot import exp

Dialect = Literal["duckdb", "postgres", "clickhouse", "datafusion", "trino", "snowflake", "bigquery"]
"""Tests run what is written for the first four (ClickHouse as chDB); for the others it is text, held by snapshots."""


def identifier(name: str) -> exp.Identifier:
    """A name as a quoted identifier."""
    return exp.Identifier(this=name, quoted=True)


def named(*parts: str) -> exp.Column:
    """A column, qualified or not."""
    return exp.Column(this=identifier(parts[-1]), table=identifier(parts[0]) if len(parts) > 1 else None)


def labelled(expression: exp.Expr, name: str) -> exp.Expr:
    """An expression under a quoted name."""
    return exp.Alias(this=expression, alias=identifier(name))


def table_named(name: str) -> exp.Table:
    """A common table by its name."""
    return exp.Table(this=exp.Identifier(this=name, quoted=False))


def one() -> exp.Expr:
    """The literal 1, where a query needs some column."""
    return exp.Literal.number(1)


def select(columns: Sequence[exp.Expr], source: exp.Expr | None, where: Iterable[exp.Expr] = ()) -> exp.Select:
    """SELECT columns FROM source WHERE all of these."""
    query = exp.Select(expressions=list(columns))
    if source is not None:
        query.set("from_", exp.From(this=source))
    condition = all_true(where)
    if condition is not None:
        query.set("where", exp.Where(this=condition))
    return query


def join(
    query: exp.Select, source: exp.Expr, on: exp.Expr | None, side: Literal["left", "full", "cross"] = "left"
) -> None:
    """Add a LEFT or FULL JOIN, or a CROSS JOIN where there is no condition."""
    kind = {"side": side.upper(), "on": on} if on is not None else {"kind": "CROSS"}
    query.append("joins", exp.Join(this=source, **kind))


def all_true(conditions: Iterable[exp.Expr]) -> exp.Expr | None:
    """The conjunction; None of none."""
    return _combined(exp.And, conditions)


def any_true(conditions: Iterable[exp.Expr]) -> exp.Expr | None:
    """The disjunction; None of none."""
    return _combined(exp.Or, conditions)


def _combined(operator: type[exp.Connector], conditions: Iterable[exp.Expr]) -> exp.Expr | None:
    found: exp.Expr | None = None
    for condition in conditions:
        part = exp.Paren(this=condition) if isinstance(condition, exp.Connector) else condition
        found = part if found is None else operator(this=found, expression=part)
    return found


def derived(query: exp.Select, alias: str) -> exp.Subquery:
    """The query as a table under an alias."""
    return exp.Subquery(this=query, alias=exp.TableAlias(this=identifier(alias)))


def same(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """Equality under which NULL equals NULL."""
    return exp.NullSafeEQ(this=left, expression=right)


def is_null(expression: exp.Expr) -> exp.Expr:
    """Whether it is NULL."""
    return exp.Is(this=expression, expression=exp.Null())


def is_present(expression: exp.Expr) -> exp.Expr:
    """Whether it is not NULL."""
    return exp.Not(this=is_null(expression))


def cast(expression: exp.Expr, kind: str) -> exp.Expr:
    """The expression in a type."""
    return exp.Cast(this=expression, to=_type(kind).copy())


@lru_cache(maxsize=512)
def _type(kind: str) -> exp.DataType:
    return exp.DataType.build(kind)
