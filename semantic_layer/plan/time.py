"""Time in a query: the reporting zone, the fiscal calendar, and ranges as bounds of a column's own type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from semantic_layer.errors import InvalidArgument
from semantic_layer.metric import Grain, SemanticModel
from semantic_layer.plan.cut import Cut, DatePart, base_grain, coarseness
from semantic_layer.plan.plan import Term
from semantic_layer.plan.query import TimeWindow, read_zone
from semantic_layer.predicate import TRUE, Predicate, Range
from semantic_layer.product import ColumnType


def reporting_zone(asked: str, models: Iterable[SemanticModel], default: str) -> str:
    """The one zone of a query: the one asked for, else its models', else the default.

    Raises InvalidArgument where two models differ and the query does not choose.
    """
    if asked:
        return asked
    zones = sorted({model.time_zone for model in models if model.time_zone})
    if len(zones) > 1:
        raise InvalidArgument(
            f"these metrics report in different time zones ({', '.join(zones)}).",
            hint="Choose one in `time.zone`.",
        )
    return zones[0] if zones else default


def fiscal_month(models: Iterable[SemanticModel]) -> int:
    """The month in which these models' fiscal year starts. Raises InvalidArgument without a common one."""
    months = {model.fiscal_year_start_month for model in models}
    if len(months) != 1 or 0 in months:
        raise InvalidArgument(
            "these metrics have no common fiscal calendar.",
            hint="Set fiscal_year_start_month in the model, or use quarter and year.",
        )
    return months.pop()


def cut_term(term: Term, cut: Grain | DatePart, fiscal_month: int) -> Term:
    """A whole time cut to a grain or a part of its date."""
    if isinstance(cut, DatePart):
        return replace(term, part=cut)
    return replace(term, grain=cut, fiscal_month=fiscal_month if cut.fiscal else 0)


def too_fine(cut: Cut, kept: Grain | None, kind: ColumnType | None) -> bool:
    """Whether a time kept at this grain, or of this type, cannot be cut so."""
    asked = base_grain(cut)
    floor = kept or (Grain.DAY if kind is ColumnType.DATE else Grain.NANOSECOND)
    if kind is ColumnType.DATE:
        floor = max(floor, Grain.DAY, key=coarseness)
    return asked is not None and not isinstance(cut, DatePart) and coarseness(asked) < coarseness(floor)


def is_whole(moment: date | datetime | None, grain: Grain) -> bool:
    """Whether a period of the grain begins at the moment; without a moment there is nothing to cut."""
    if moment is None or grain.sub_day or grain.fiscal:
        return True
    if isinstance(moment, datetime) and moment.time() != time():
        return False
    match grain:
        case Grain.WEEK:
            return moment.weekday() == 0
        case Grain.MONTH:
            return moment.day == 1
        case Grain.QUARTER:
            return moment.day == 1 and moment.month % 3 == 1
        case Grain.YEAR:
            return moment.day == 1 and moment.month == 1
        case _:
            return True


def window_predicate(field: str, window: TimeWindow, kind: ColumnType | None, zone: str) -> Predicate:
    """start ≤ field < end. A date begins at midnight in the zone; TRUE where neither end is given."""
    if window.start is None and window.end is None:
        return TRUE
    if kind is ColumnType.DATE:
        low, high = (_first_day(end, zone) for end in (window.start, window.end))
    else:
        low, high = (_instant(end, zone) for end in (window.start, window.end))
    return Range(field, low, high, include_low=True, include_high=False)


def _instant(moment: date | datetime | None, zone: str) -> datetime | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return (moment.replace(tzinfo=read_zone(zone)) if moment.tzinfo is None else moment).astimezone(UTC)


def _first_day(moment: date | datetime | None, zone: str) -> date | None:
    """The first whole day at or after the moment, in the zone."""
    if moment is None or not isinstance(moment, datetime):
        return moment
    local = moment if moment.tzinfo is None else moment.astimezone(read_zone(zone))
    return local.date() + timedelta(days=1) if local.time() != time() else local.date()
