"""The plan of a dimension's values: the groups that a count of its dataset's rows has for this caller."""

from __future__ import annotations

from dataclasses import replace

from semantic_layer.errors import InvalidArgument, Refused, UnknownName
from semantic_layer.metric import Aggregation, Grain, Measure
from semantic_layer.plan.leaves import Leaf
from semantic_layer.plan.names import METRIC_TIME, SEPARATOR, Found, find, require_allowed
from semantic_layer.plan.part import PartBuilder
from semantic_layer.plan.plan import Formula, Operand, Order, OutputColumn, Plan
from semantic_layer.plan.time import reporting_zone
from semantic_layer.plan.world import World
from semantic_layer.predicate import Contains, IsNull, Not, Predicate, all_of
from semantic_layer.product import Column, ColumnType

ROWS = "rows"
_VALUE, _TEXT = "value", "text"


def build_values_plan(
    dimension: str, world: World, *, contains: str = "", limit: int, default_zone: str = "UTC", offset: int = 0
) -> Plan:
    """The plan of a dimension's distinct values in order, NULL left out, with how many rows hold each.

    `contains` keeps values whose text holds it, whatever its case. Raises UnknownName, InvalidArgument where the
    name is ambiguous, Refused where the values are withheld.
    """
    found = _the_dimension(world, dimension)
    require_allowed(world, found, dimension)
    model = world.models[found.place.home]
    measure = Measure(ROWS, found.place.dataset.name, Aggregation.COUNT, "1", frozenset())
    leaf = Leaf("m0", ("", dimension), model, measure, (), True, found.place, found.place)
    zone = reporting_zone("", [model], default_zone)
    builder = PartBuilder(world, leaf, zone, model.fiscal_year_start_month)
    term = builder.term(found, found.cut)
    kind = term.result_type
    part = builder.build([term], None)
    text = replace(term, expression=f"LOWER(CAST({term.expression} AS VARCHAR))", type=ColumnType.STRING)
    kept: list[Predicate] = [Not(IsNull(_VALUE))]
    if contains:
        kept.append(Contains(_TEXT, contains.lower()))
    part = replace(
        part,
        filter=all_of(part.filter, *kept),
        operands=(
            *part.operands,
            Operand(_VALUE, term, Column(_VALUE, kind or ColumnType.STRING)),
            Operand(_TEXT, text, Column(_TEXT, ColumnType.STRING)),
        ),
    )
    name = dimension
    grain = found.cut if isinstance(found.cut, Grain) else None
    column = OutputColumn(name, "dimension", kind, found.dimension.label, found.dimension.unit, grain, zone)
    return Plan(
        keys=(column,),
        metrics=(OutputColumn(ROWS, "metric", ColumnType.INTEGER),),
        outputs=(Formula('"m0"', {"m0": "m0"}),),
        parts=(part,),
        order=(Order(name),),
        limit=limit,
        offset=offset,
    )


def _the_dimension(world: World, name: str) -> Found:
    if name.split(SEPARATOR)[0] == METRIC_TIME:
        raise InvalidArgument(f"{name!r} is another dimension for each metric.", hint="Name the dimension itself.")
    places = list(world.places())
    found = [
        one
        for place in places
        for one in find(world, place, name)
        if not one.path and world.discoverable(one.place, one.dimension)
    ]
    identities = {one.identity for one in found}
    if len(identities) > 1:
        choices = ", ".join(sorted({one.name for one in found}))
        raise InvalidArgument(f"{name!r} could be several dimensions.", hint=f"Write one of {choices}.")
    if not found:
        known = [
            Found((), place, dimension).name
            for place in places
            for dimension in place.dataset.dimensions
            if not dimension.fact and world.discoverable(place, dimension)
        ]
        plain = [one.rpartition(SEPARATOR)[2] for one in known]
        raise UnknownName("dimension", name, [*known, *plain], hint="`describe` lists a metric's dimensions.")
    kind = found[0].dimension.type
    if kind in (ColumnType.OBJECT, ColumnType.ARRAY):
        raise Refused(f"{name!r} holds lists or objects, not values.", rule="not_scalar")
    return found[0]
