"""The columns of an answer: what each key means and is cut to, how it is ordered and filtered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from semantic_layer.errors import InvalidArgument, UnknownName
from semantic_layer.metric import Grain
from semantic_layer.plan.cut import Calendar, Cut, DatePart, cut_names, read_cut
from semantic_layer.plan.names import SEPARATOR, Found
from semantic_layer.plan.part import PartBuilder
from semantic_layer.plan.plan import Having, Order, OutputColumn, Part
from semantic_layer.plan.query import MetricQuery
from semantic_layer.predicate import TRUE, Predicate, bind, leaves
from semantic_layer.product import Column, ColumnType


@dataclass(frozen=True)
class Key:
    """One column to group by, and what it means for each leaf, in the order of the leaves."""

    name: str
    found: tuple[Found, ...]
    cut: Cut | None


def named_cut(text: str, known: Mapping[str, Calendar]) -> Cut:
    """The cut of that name. Raises UnknownName with the nearest ones."""
    found = read_cut(text, known)
    if found is None:
        raise UnknownName("grain", text, cut_names(known))
    return found


def cut_type(builder: PartBuilder, found: Found, cut: Cut | None) -> ColumnType | None:
    """The type of a dimension cut so."""
    match cut:
        case None:
            return builder.type_of(found)
        case Grain():
            return ColumnType.TIMESTAMP if cut.sub_day else ColumnType.DATE
        case DatePart():
            return ColumnType.INTEGER
        case Calendar():
            return builder.calendar_type(cut)


def merged(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Parts over the same rows by the same keys become one, so that a table is read once."""
    found: list[Part] = []
    for part in parts:
        for place, other in enumerate(found):
            if part.events is None and replace(part, aggregates=()) == replace(other, aggregates=()):
                found[place] = replace(other, aggregates=other.aggregates + part.aggregates)
                break
        else:
            found.append(part)
    return tuple(found)


def ordered(
    query: MetricQuery, keys: Sequence[OutputColumn], metrics: Sequence[OutputColumn]
) -> tuple[Order, ...]:
    """What was asked, then every key, so that a page is the same page each time."""
    columns = [column.name for column in (*keys, *metrics)]
    chosen: list[Order] = []
    for text in query.order:
        name = text.removeprefix("-")
        if name not in columns:
            name = next((one for one in columns if one.startswith(name + SEPARATOR)), name)
        if name not in columns:
            raise UnknownName("column to order by", name, columns, hint="Order by what the query asks for.")
        chosen.append(Order(name, text.startswith("-")))
    taken = {order.column for order in chosen}
    return (*chosen, *(Order(key.name) for key in keys if key.name not in taken))


def having(predicate: Predicate, keys: Sequence[OutputColumn], metrics: Sequence[OutputColumn]) -> Having | None:
    """The filter on the answer. Raises UnknownName for a field it does not have, InvalidFilter for a wrong value."""
    if predicate == TRUE:
        return None
    columns = {one.name: Column(one.name, one.type or ColumnType.STRING) for one in keys}
    columns |= {one.name: Column(one.name, ColumnType.NUMBER) for one in metrics}
    for one in leaves(predicate):
        if one.field not in columns:
            raise InvalidArgument(
                f"one condition asks for a metric and for {one.field!r}, which the answer does not show.",
                hint=f"Add {one.field!r} to `dimensions`, or filter it apart.",
            )
    return Having(bind(predicate, columns), columns)
