"""Exact percentiles on every engine: by its own function where that is exact, else from the group's sorted values.

A continuous percentile lies between two values, at `share * (n - 1)` of n (SQL:2016 PERCENTILE_CONT); a discrete one is
the first value with at least that share of the n up to it (PERCENTILE_DISC). NULL is no value, and NULL of none.
"""

from __future__ import annotations

from fractions import Fraction

from sqlglot import exp

from semantic_layer.metric import Aggregation
from semantic_layer.plan.plan import Aggregate
from semantic_layer.sql.build import Dialect, cast, is_present

_OWN_FUNCTIONS = ("duckdb", "postgres", "snowflake")
_POSTGRES_NUDGE = Fraction(1, 10**13)
"""Postgres multiplies the share as a double: 0.07 of 100 values is 7.000000000000001 there, and the eighth value."""


def percentile(value: exp.Expr, aggregate: Aggregate, dialect: Dialect) -> exp.Expr:
    """A median or percentile over a group; continuous ones over doubles. An approximate one may be estimated."""
    share = Fraction(1, 2)
    if aggregate.aggregation is not Aggregation.MEDIAN:
        share = Fraction(str(aggregate.percentile))
    if aggregate.discrete:
        if dialect in _OWN_FUNCTIONS:
            nudged = share - _POSTGRES_NUDGE if dialect == "postgres" and share > _POSTGRES_NUDGE else share
            return _within_group(exp.PercentileDisc(this=_number(nudged)), value)
        return _ranked(value, share, dialect)
    number = exp.Count(
        this=value.copy()
    )  # of the value itself: DataFusion takes it for the same as that of its cast
    value = cast(value, "DOUBLE")
    if aggregate.approximate and dialect == "duckdb":
        return exp.ApproxQuantile(this=value, quantile=_number(share))
    if dialect in _OWN_FUNCTIONS:
        return _within_group(exp.PercentileCont(this=_number(share)), value)
    if dialect == "clickhouse":
        return exp.ParameterizedAgg(this="quantileExactInclusive", expressions=[_number(share)], params=[value])
    return _between(value, number, share, dialect)


def _within_group(function: exp.Expr, value: exp.Expr) -> exp.Expr:
    return exp.WithinGroup(this=function, expression=_ordered(value))


def _ordered(value: exp.Expr) -> exp.Order:
    return exp.Order(expressions=[exp.Ordered(this=value)])


def _number(share: Fraction) -> exp.Expr:
    text = f"{float(share):.13f}".rstrip("0")
    return exp.Literal.number(text if not text.endswith(".") else f"{text}0")


def _ranked(value: exp.Expr, share: Fraction, dialect: Dialect) -> exp.Expr:
    """The value at rank `ceil(share * n)`, computed from whole numbers so that no rounding passes a row."""
    place = exp.Ceil(this=_times(exp.Count(this=value.copy()), share))
    first = exp.Literal.number(1)
    rank = exp.Greatest(this=cast(place, "BIGINT"), expressions=[first])
    return _at(value, rank, dialect)


def _between(value: exp.Expr, number: exp.Expr, share: Fraction, dialect: Dialect) -> exp.Expr:
    """The line between the two values around `share * (n - 1)`, counted from 0."""
    gaps = exp.Paren(this=exp.Sub(this=number, expression=exp.Literal.number(1)))
    place = _times(gaps, share)
    below, above = (
        _at(value, exp.Add(this=cast(end(this=place.copy()), "BIGINT"), expression=exp.Literal.number(1)), dialect)
        for end in (exp.Floor, exp.Ceil)
    )
    beyond = exp.Paren(this=exp.Sub(this=place, expression=exp.Floor(this=place.copy())))
    step = exp.Paren(this=exp.Sub(this=above, expression=below))
    return exp.Add(this=below.copy(), expression=exp.Mul(this=step, expression=beyond))


def _times(count: exp.Expr, share: Fraction) -> exp.Expr:
    """`count * share` as a double, exact wherever it is whole."""
    whole = exp.Mul(this=count, expression=exp.Literal.number(share.numerator))
    divided = exp.Div(this=cast(whole, "DOUBLE"), expression=exp.Literal.number(share.denominator))
    return exp.Paren(this=divided)


def _at(value: exp.Expr, place: exp.Expr, dialect: Dialect) -> exp.Expr:
    """The group's value at a place counted from 1; NULL where the group has none."""
    value = value.copy()
    if dialect == "clickhouse":
        held = exp.Anonymous(this="arraySort", expressions=[exp.Anonymous(this="groupArray", expressions=[value])])
        found = exp.Anonymous(this="arrayElement", expressions=[held, place])
        any_value = exp.GT(this=exp.Count(this=value.copy()), expression=exp.Literal.number(0))
        return exp.Case(ifs=[exp.If(this=any_value, true=found)])
    if dialect == "bigquery":
        present = exp.IgnoreNulls(this=exp.Order(this=value, expressions=[exp.Ordered(this=value.copy())]))
        held = exp.ArrayAgg(this=present)
        return exp.Bracket(this=held, expressions=[exp.Anonymous(this="SAFE_ORDINAL", expressions=[place])])
    ordered = exp.Order(this=value, expressions=[exp.Ordered(this=value.copy())])
    kept = exp.Filter(this=exp.ArrayAgg(this=ordered), expression=exp.Where(this=is_present(value.copy())))
    name = "ELEMENT_AT" if dialect == "trino" else "ARRAY_ELEMENT"
    return exp.Anonymous(this=name, expressions=[kept, place])
