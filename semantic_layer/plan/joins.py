"""How one dataset is joined to those before it on a way: by its keys, within its partition, at its time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from semantic_layer.errors import Refused
from semantic_layer.metric import Grain
from semantic_layer.plan.leaves import Leaf
from semantic_layer.plan.names import Found
from semantic_layer.plan.plan import Join, Term
from semantic_layer.plan.sources import Reading, Readings
from semantic_layer.plan.time import cut_term
from semantic_layer.plan.world import partition_place
from semantic_layer.product import ColumnType


class Rows(Protocol):
    """The rows of a part that something is joined to."""

    leaf: Leaf
    readings: Readings

    def plain(self, found: Found) -> Term:
        """A dimension's value, as it is."""
        ...

    def own_time_or_none(self) -> Found | None:
        """The time of the rows, or None."""
        ...


def join_of(rows: Rows, reading: Reading, *, full: bool) -> Join:
    """The join of a reading to the one before it; `full` keeps its rows that nothing belongs to.

    Raises Refused where its rows hold for a time and the measure has none.
    """
    step = reading.path[-1]
    relationship = step.relationship
    start, end = rows.readings.at(reading.path[:-1]), reading
    keys = zip(relationship.from_keys, relationship.to_keys, strict=True)
    pairs = [
        (_key(start, other), _key(end, own)) if step.many else (_key(start, own), _key(end, other))
        for own, other in keys
    ]
    return Join(
        source=rows.readings.source(reading),
        pairs=(*pairs, *_same_partitions(rows, reading)),
        many=step.many,
        kind="full" if full else "left",
        during=_during(rows, reading),
    )


def _key(reading: Reading, expression: str) -> Term:
    # A key may name its dataset as another model does, and reads no other.
    return Term(expression, (("", reading.alias),))


def _same_partitions(rows: Rows, reading: Reading) -> Iterator[tuple[Term, Term]]:
    """The partition of rows further back on the way is the one that a partitioned table is read at."""
    way = reading.path[:-1]
    for name in reading.path[-1].relationship.partitions:
        hops = partition_place(rows.leaf.base, way, name)
        assert hops is not None
        ends = [(one, one.place.dataset.dimension(name)) for one in (rows.readings.at(way[:hops]), reading)]
        terms = [rows.plain(Found(one.path, one.place, found)) for one, found in ends if found is not None]
        yield terms[0], terms[1]


def _during(rows: Rows, reading: Reading) -> tuple[Term, Term, Term] | None:
    """The moment at which a row with a time of validity must hold: the measure's own."""
    dataset = reading.place.dataset
    if dataset.validity is None:
        return None
    own = rows.own_time_or_none()
    ends = [found for name in dataset.validity if (found := dataset.dimension(name)) is not None]
    if own is None or len(ends) != 2:
        raise Refused(
            f"{dataset.name!r} holds rows that are valid for a time, and {rows.leaf.metric!r} has no time.",
            rule="no_moment",
            hint="Ask for a metric with a time of its own.",
        )
    terms = [rows.plain(own), *(rows.plain(Found(reading.path, reading.place, end)) for end in ends)]
    if len({term.type for term in terms}) > 1:
        terms = [cut_term(term, Grain.DAY, 0) if term.type is ColumnType.TIMESTAMP else term for term in terms]
    return terms[0], terms[1], terms[2]
