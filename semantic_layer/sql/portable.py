"""Canonical SQL written as people write it, for files that other tools read: standard dialect, plain names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from semantic_layer.metric import Aggregation, Measure
from semantic_layer.sql.expressions import canonical

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_AGGREGATES: Mapping[Aggregation, str] = {
    Aggregation.SUM: "SUM({})",
    Aggregation.COUNT: "COUNT({})",
    Aggregation.COUNT_DISTINCT: "COUNT(DISTINCT {})",
    Aggregation.MIN: "MIN({})",
    Aggregation.MAX: "MAX({})",
    Aggregation.AVERAGE: "AVG({})",
    Aggregation.MEDIAN: "MEDIAN({})",
}


def row_text(sql: str, dataset: str = "", *, dialect: str = "") -> str:
    """An expression over a row; columns of `dataset` stand without it."""

    def named(column: exp.Column) -> exp.Expr:
        parts = [part.name for part in column.parts]
        if dataset and parts[0] == dataset:
            return _column(parts[1:])
        # `product.dataset` is one name in canonical SQL and two in a file.
        return _column([*".".join(parts[:-1]).split("."), parts[-1]] if len(parts) > 1 else parts)

    return _rewritten(sql, named, dialect)


def measure_text(measure: Measure, *, dialect: str = "") -> str:
    """The aggregate of a measure: `SUM(orders.amount)`; one that reads no column counts `dataset.*`."""
    if measure.aggregation is Aggregation.COUNT and not measure.columns:
        return f"COUNT({plain_name(measure.dataset)}.*)"
    text = row_text(measure.expression, dialect=dialect)
    if measure.aggregation is Aggregation.PERCENTILE:
        function = "PERCENTILE_DISC" if measure.discrete else "PERCENTILE_CONT"
        return f"{function}({measure.percentile}) WITHIN GROUP (ORDER BY {text})"
    return _AGGREGATES[measure.aggregation].format(text)


def formula_text(expression: str, inputs: Mapping[str, str], *, dialect: str = "") -> str:
    """A metric's expression with what its inputs stand for in place of their aliases."""

    def named(column: exp.Column) -> exp.Expr:
        given = inputs.get(column.name)
        return _column([column.name]) if given is None else sqlglot.parse_one(given, read=dialect or None)

    return _rewritten(expression, named, dialect)


def plain_columns(sql: str) -> tuple[str, ...]:
    """The columns that canonical SQL names, each once, in order of first mention."""
    return tuple(dict.fromkeys(column.name for column in canonical(sql).find_all(exp.Column)))


def plain_name(name: str) -> str:
    """The name, in quotes where it would not read as one without."""
    return exp.to_identifier(name, quoted=not _reads_plain(name)).sql()


def _rewritten(sql: str, change: Callable[[exp.Column], exp.Expr], dialect: str) -> str:
    tree = canonical(sql).copy()
    changed = tree.transform(lambda node: change(node) if isinstance(node, exp.Column) else node)
    return changed.sql(dialect or None)


def _column(parts: list[str]) -> exp.Expr:
    names = [exp.to_identifier(part, quoted=not _reads_plain(part)) for part in parts]
    return exp.column(names[-1], *reversed(names[:-1]))


@lru_cache(maxsize=4096)
def _reads_plain(name: str) -> bool:
    """Whether a name reads as a column without quotes, in any of the dialects that semantic files are written in."""
    if not _PLAIN.fullmatch(name):
        return False
    try:
        return all(
            isinstance(sqlglot.parse_one(name, read=dialect), exp.Column)
            for dialect in (None, "duckdb", "postgres")
        )
    except SqlglotError:
        return False
