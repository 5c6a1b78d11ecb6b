"""Time cut to a grain, in SQL: days and coarser as dates of the reporting zone, finer ones as instants in UTC."""

from __future__ import annotations

from sqlglot import exp

from semantic_layer.metric import Grain
from semantic_layer.product import ColumnType
from semantic_layer.sql.build import cast


def truncated(value: exp.Expr, kind: ColumnType | None, grain: Grain, zone: str, fiscal_month: int) -> exp.Expr:
    """The beginning of the period that the value lies in.

    Timestamps are naive and in UTC. An hour, minute or finer period is an instant, so that a day of 25 hours has
    25 of them; it is cut by local time all the same (a zone of half an hour has hours that begin at :30 UTC).
    """
    local = value if kind is ColumnType.DATE or zone in ("", "UTC") else _local(value, zone)
    if grain.sub_day:
        cut = _trunc(grain.value, local.copy())
        if local is value:
            return cut
        # value - (local - cut): what lies between is the same length on both clocks.
        return exp.Sub(this=value.copy(), expression=exp.paren(exp.Sub(this=local, expression=cut)))
    if grain.fiscal:
        months = exp.Interval(this=exp.Literal.string(str(fiscal_month - 1)), unit=exp.var("MONTH"))
        unit = "quarter" if grain is Grain.FISCAL_QUARTER else "year"
        shifted = _trunc(unit, exp.Sub(this=local, expression=months))
        return cast(exp.Add(this=shifted, expression=months.copy()), "DATE")
    return cast(_trunc(grain.value, local), "DATE")


def _local(value: exp.Expr, zone: str) -> exp.Expr:
    """A UTC timestamp on the wall clock of the zone."""
    instant = exp.AtTimeZone(this=value.copy(), zone=exp.Literal.string("UTC"))
    return exp.AtTimeZone(this=instant, zone=exp.Literal.string(zone))


def _trunc(unit: str, value: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="DATE_TRUNC", expressions=[exp.Literal.string(unit), value])
