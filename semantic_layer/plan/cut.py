"""How a time dimension can be cut in a query: to a grain, to a company's own period, or to a part of the date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from semantic_layer.metric import CustomGrain, Grain, TimeSpine


class DatePart(StrEnum):
    """A number that a date has, the same in every year; `dow` counts from Monday, which is 1."""

    YEAR = "extract_year"
    QUARTER = "extract_quarter"
    MONTH = "extract_month"
    DAY = "extract_day"
    DAY_OF_WEEK = "extract_dow"
    DAY_OF_YEAR = "extract_doy"


@dataclass(frozen=True)
class Calendar:
    """A custom grain and the time spine whose rows say which period they are in."""

    spine: TimeSpine
    grain: CustomGrain

    @property
    def value(self) -> str:
        """Its name in a query."""
        return self.grain.name


Cut = Grain | DatePart | Calendar


def calendars(spines: Iterable[TimeSpine]) -> dict[str, Calendar]:
    """The custom grains of these spines by name; the first of a name counts."""
    found: dict[str, Calendar] = {}
    for spine in spines:
        for grain in spine.custom_grains:
            found.setdefault(grain.name, Calendar(spine, grain))
    return found


def read_cut(text: str, known: Mapping[str, Calendar]) -> Cut | None:
    """The cut of that name, or None. A model's own calendar goes before our fiscal grains of the same name."""
    if text in known:
        return known[text]
    if text in tuple(Grain):
        return Grain(text)
    return DatePart(text) if text in tuple(DatePart) else None


def cut_names(known: Mapping[str, Calendar]) -> list[str]:
    """Every cut a query may name."""
    return [*(grain.value for grain in Grain), *(part.value for part in DatePart), *known]


def coarseness(grain: Grain) -> int:
    """The place of a grain from the finest up; a fiscal one stands beside its like."""
    alike = {Grain.FISCAL_QUARTER: Grain.QUARTER, Grain.FISCAL_YEAR: Grain.YEAR}
    return tuple(Grain).index(alike.get(grain, grain))


def base_grain(cut: Cut) -> Grain | None:
    """The grain that rows must be kept at, at the coarsest, so that they can be cut so."""
    match cut:
        case Calendar(spine=spine):
            return spine.grain
        case DatePart():
            return Grain.DAY
        case Grain():
            return cut


def period_grain(cut: Cut) -> Grain | None:
    """The coarsest grain whose periods each lie in one value of the cut."""
    if isinstance(cut, DatePart):
        return {DatePart.YEAR: Grain.YEAR, DatePart.QUARTER: Grain.QUARTER, DatePart.MONTH: Grain.MONTH}.get(
            cut, Grain.DAY
        )
    return base_grain(cut)
