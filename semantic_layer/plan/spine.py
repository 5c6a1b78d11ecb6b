"""The rows of a time spine as terms: the beginning of each period, and the custom period it lies in."""

from __future__ import annotations

from semantic_layer.errors import InvalidArgument
from semantic_layer.metric import Grain, TimeSpine, quoted
from semantic_layer.plan.cut import Calendar, Cut
from semantic_layer.plan.plan import Term
from semantic_layer.plan.sources import Reading
from semantic_layer.plan.time import cut_term
from semantic_layer.plan.world import World
from semantic_layer.product import ColumnType


def spine_time(world: World, reading: Reading, spine: TimeSpine, zone: str) -> Term:
    """A spine's own column. Days and coarser are days of any calendar, whatever zone is asked for."""
    kind = _column_type(world, reading, spine.column)
    if kind not in (ColumnType.DATE, ColumnType.TIMESTAMP):
        raise InvalidArgument(f"{spine.column!r} of the time spine {spine.table!r} is no date.")
    return Term(_column(reading, spine.column), _alias(reading), kind, zone=zone if spine.grain.sub_day else "")


def spine_cut(
    world: World, reading: Reading, spine: TimeSpine, cut: Cut | None, zone: str, fiscal_month: int
) -> Term | None:
    """A spine's rows cut as asked, to its own periods by default; None where another spine holds the custom grain."""
    if not isinstance(cut, Calendar):
        return cut_term(spine_time(world, reading, spine, zone), cut or spine.grain, fiscal_month)
    return calendar_value(world, reading, cut) if cut.spine == spine else None


def spine_period(world: World, reading: Reading, spine: TimeSpine, grain: Grain, zone: str, month: int) -> Term:
    """A spine's rows cut to a grain."""
    return cut_term(spine_time(world, reading, spine, zone), grain, month)


def calendar_value(world: World, reading: Reading, calendar: Calendar) -> Term:
    """The custom period that a spine's row lies in, as its table names it."""
    name = calendar.grain.column
    return Term(_column(reading, name), _alias(reading), _column_type(world, reading, name))


def _column_type(world: World, reading: Reading, name: str) -> ColumnType:
    found = world.columns(reading.place).get(name)
    if found is None:
        raise InvalidArgument(f"the time spine {reading.place.dataset.table!r} has no column {name!r}.")
    return found.type


def _column(reading: Reading, name: str) -> str:
    return quoted(reading.place.dataset.name, name)


def _alias(reading: Reading) -> tuple[tuple[str, str], ...]:
    return ((reading.place.dataset.name, reading.alias),)
