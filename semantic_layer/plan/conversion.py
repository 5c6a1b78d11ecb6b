"""The events that a conversion metric counts, and how each finds the opportunity that it came from."""

from __future__ import annotations

from semantic_layer.metric import Grain
from semantic_layer.plan.cut import coarseness
from semantic_layer.plan.names import Found
from semantic_layer.plan.part import PartBuilder
from semantic_layer.plan.plan import Events, Term


def events_of(builder: PartBuilder) -> Events | None:
    """What a leaf's own rows, the opportunities, led to; None where it is no conversion's.

    Entities and constant properties are join keys: they need no right to see the column. Raises InvalidArgument
    where one of them is not reached.
    """
    leaf = builder.leaf
    if leaf.events is None or leaf.conversion is None:
        return None
    events = PartBuilder(builder.world, leaf.events, builder.zone, builder.fiscal_month, builder.subplan)
    events.restrict_by_metric()
    names = [(leaf.conversion.entity, leaf.conversion.entity), *leaf.conversion.constant_properties]
    matches = tuple((_plain(builder, base), _plain(events, other)) for base, other in names)
    own, other = builder.own_time(), events.own_time()
    grain = max(own.dimension.grain or Grain.DAY, other.dimension.grain or Grain.DAY, key=coarseness)
    times = (_cut(builder, own, grain), _cut(events, other, grain))
    part = events.build([*(term for _, term in matches), times[1]], None)
    return Events(part, matches, times, leaf.conversion.window, builder.row())


def time_grains(builder: PartBuilder) -> list[Grain]:
    """How fine the leaf's own time is kept, and that of the events it leads to."""
    events = builder.leaf.events
    other = PartBuilder(builder.world, events, builder.zone, builder.fiscal_month) if events else None
    return [one.own_time().dimension.grain or Grain.DAY for one in (builder, other) if one is not None]


def _plain(builder: PartBuilder, name: str) -> Term:
    found = builder.resolve(name)
    builder.readings.at(found.path)
    return builder.plain(found)


def _cut(builder: PartBuilder, found: Found, grain: Grain) -> Term:
    return builder.cut(builder.plain(found), grain, found, owned=True)
