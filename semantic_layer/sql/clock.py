"""A tick of a part's clock as SQL: the time spine's periods, and which rows each of them shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from semantic_layer.metric import Window
from semantic_layer.plan.plan import CustomShift, Shift, Spread, Term, Tick
from semantic_layer.product import ColumnType
from semantic_layer.sql.build import any_true, cast, derived, labelled, named, select
from semantic_layer.sql.grain import interval, truncated

Written = Callable[[Term], exp.Expr]


def periods(tick: Tick, source: exp.Expr, written: Written, where: Sequence[exp.Expr]) -> exp.Expr:
    """The spine's periods under the tick's alias: `t`, and for a custom shift `was`, the period it shows."""
    if isinstance(tick.rule, CustomShift):
        return derived(_custom(tick, tick.rule, source, written), tick.alias)
    begun = any_true(exp.EQ(this=written(begin), expression=written(tick.period)) for begin in tick.begins)
    query = select(
        [labelled(written(tick.period), "t")], source, [*where, *([begun] if begun is not None else [])]
    )
    query.set("distinct", exp.Distinct())
    return derived(query, tick.alias)


def shows(tick: Tick, written: Written) -> exp.Expr:
    """Whether a period of the spine shows a row."""
    period, before = named(tick.alias, "t"), written(tick.before)
    kind = tick.period.result_type
    match tick.rule:
        case CustomShift():
            return exp.EQ(this=named(tick.alias, "was"), expression=before)
        case Shift(back=Window() as back):
            return exp.EQ(this=_minus(period, back, kind), expression=before)
        case Shift(to_grain=grain):
            assert grain is not None
            zone, month = tick.before.zone, tick.before.fiscal_month
            return exp.EQ(this=truncated(period, kind, grain, zone, month), expression=before)
        case Spread():
            return _gathers(tick.rule, period, before, tick)


def _gathers(rule: Spread, period: exp.Expr, before: exp.Expr, tick: Tick) -> exp.Expr:
    """Whether a row lies within what a period gathers: up to it, from where its window or larger period begins."""
    kind = tick.period.result_type
    upper = exp.LT if rule.leaves_out_current else exp.LTE
    found: exp.Expr = upper(this=before, expression=period)
    if rule.window is not None:
        lower = exp.GTE if rule.leaves_out_current else exp.GT
        since = _minus(period.copy(), rule.window, kind)
        found = exp.And(this=found, expression=lower(this=before.copy(), expression=since))
    if rule.to_date is not None:
        start = truncated(period.copy(), kind, rule.to_date, tick.before.zone, tick.before.fiscal_month)
        found = exp.And(this=found, expression=exp.GTE(this=before.copy(), expression=start))
    return found


def _minus(period: exp.Expr, window: Window, kind: ColumnType | None) -> exp.Expr:
    back = exp.Sub(this=period, expression=interval(window))
    return cast(back, "DATE") if kind is ColumnType.DATE else back


def _custom(tick: Tick, rule: CustomShift, source: exp.Expr, written: Written) -> exp.Select:
    """Each period and the one at the same place of the custom period that is `count` later, or its first.

    A place that the later custom period does not have shows nothing.
    """
    rows = select([labelled(written(tick.period), "d"), labelled(written(rule.calendar), "c")], source)
    rows.set("distinct", exp.Distinct())
    first = exp.Window(this=exp.Min(this=named("d")), partition_by=[named("c")])
    place = exp.Window(this=exp.RowNumber(), partition_by=[named("c")], order=_by("d"))
    placed = select([named("d"), labelled(first, "first"), labelled(place, "place")], derived(rows, "rows"))
    rank = exp.Window(this=exp.Anonymous(this="DENSE_RANK"), order=_by("first"))
    ranked = select([named("d"), named("place"), labelled(rank, "rank")], derived(placed, "placed"))
    later = exp.Add(this=named("was", "rank"), expression=exp.Literal.number(rule.count))
    at = exp.Literal.number(1) if rule.whole else named("was", "place")
    query = select([labelled(named("was", "d"), "was"), labelled(named("now", "d"), "t")], derived(ranked, "was"))
    condition = exp.And(
        this=exp.EQ(this=named("now", "rank"), expression=later),
        expression=exp.EQ(this=named("now", "place"), expression=at),
    )
    query.append("joins", exp.Join(this=derived(ranked.copy(), "now"), kind="INNER", on=condition))
    return query


def _by(name: str) -> exp.Order:
    return exp.Order(expressions=[exp.Ordered(this=named(name), nulls_first=False)])
