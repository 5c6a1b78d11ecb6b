"""Time cut to a grain, in SQL: days and coarser as dates of the reporting zone, finer ones as instants in UTC."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from semantic_layer.errors import Refused
from semantic_layer.metric import Grain, Window
from semantic_layer.plan.cut import DatePart
from semantic_layer.product import ColumnType
from semantic_layer.sql.build import cast

_PARTS: Mapping[DatePart, str] = {
    DatePart.YEAR: "YEAR",
    DatePart.QUARTER: "QUARTER",
    DatePart.MONTH: "MONTH",
    DatePart.DAY: "DAY",
    DatePart.DAY_OF_WEEK: "ISODOW",
    DatePart.DAY_OF_YEAR: "DOY",
}
_UNITS: Mapping[Grain, tuple[int, str]] = {
    Grain.MICROSECOND: (1, "MICROSECOND"),
    Grain.MILLISECOND: (1, "MILLISECOND"),
    Grain.SECOND: (1, "SECOND"),
    Grain.MINUTE: (1, "MINUTE"),
    Grain.HOUR: (1, "HOUR"),
    Grain.DAY: (1, "DAY"),
    Grain.WEEK: (7, "DAY"),
    Grain.MONTH: (1, "MONTH"),
    Grain.QUARTER: (3, "MONTH"),
    Grain.YEAR: (12, "MONTH"),
    Grain.FISCAL_QUARTER: (3, "MONTH"),
    Grain.FISCAL_YEAR: (12, "MONTH"),
}


def truncated(value: exp.Expr, kind: ColumnType | None, grain: Grain, zone: str, fiscal_month: int) -> exp.Expr:
    """The beginning of the period that the value lies in.

    Timestamps are naive and in UTC. An hour, minute or finer period is an instant, so that a day of 25 hours has
    25 of them; it is cut by local time all the same (a zone of half an hour has hours that begin at :30 UTC).
    """
    if kind is ColumnType.DATE and grain is Grain.DAY:
        return value
    local = value if kind is ColumnType.DATE or zone in ("", "UTC") else _local(value, zone)
    if grain.sub_day:
        cut = _trunc(grain.value, local.copy(), kind)
        if local is value:
            return cut
        # value - (local - cut): what lies between is the same length on both clocks.
        return exp.Sub(this=value.copy(), expression=exp.paren(exp.Sub(this=local, expression=cut)))
    if grain.fiscal:
        months = exp.Interval(this=exp.Literal.string(str(fiscal_month - 1)), unit=exp.var("MONTH"))
        unit = "quarter" if grain is Grain.FISCAL_QUARTER else "year"
        shifted = _trunc(unit, exp.Sub(this=local, expression=months), kind)
        return cast(exp.Add(this=shifted, expression=months.copy()), "DATE")
    return cast(_trunc(grain.value, local, kind), "DATE")


def part_of(value: exp.Expr, kind: ColumnType | None, part: DatePart, zone: str) -> exp.Expr:
    """A part of the date in the zone, as a whole number; weeks begin on Monday, which is 1."""
    local = value if kind is ColumnType.DATE or zone in ("", "UTC") else _local(value, zone)
    return cast(exp.Extract(this=exp.var(_PARTS[part]), expression=local), "BIGINT")


def interval(window: Window, times: int = 1) -> exp.Expr:
    """A length of time, in a unit that engines know. Raises Refused for nanoseconds."""
    if window.grain not in _UNITS:
        raise Refused(
            f"no engine counts in {window.grain.value}s.", rule="not_supported", hint="Use microseconds."
        )
    count, unit = _UNITS[window.grain]
    return exp.Interval(this=exp.Literal.string(str(count * window.count * times)), unit=exp.var(unit))


def _local(value: exp.Expr, zone: str) -> exp.Expr:
    """A UTC timestamp on the wall clock of the zone."""
    instant = exp.AtTimeZone(this=value.copy(), zone=exp.Literal.string("UTC"))
    return exp.AtTimeZone(this=instant, zone=exp.Literal.string(zone))


def _trunc(unit: str, value: exp.Expr, kind: ColumnType | None) -> exp.Expr:
    """The cut; a moment's is marked, for engines that cut dates and moments in different ways."""
    cut = exp.Anonymous(this="DATE_TRUNC", expressions=[exp.Literal.string(unit), value])
    if kind is ColumnType.TIMESTAMP:
        cut.meta["moment"] = True
    return cut
