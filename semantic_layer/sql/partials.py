"""Rows added up a period before they meet the time spine, where that changes no number and spares most of the work.

A cumulative metric shows each row at every later period. Sums, counts, least and greatest values of a period's rows
say as much as the rows themselves, so only one row a period and group is spread over the spine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from semantic_layer.metric import Aggregation, quoted
from semantic_layer.plan.plan import Join, Part, Term
from semantic_layer.predicate import And, Predicate, all_of, fields_of

PERIODS = "wh.periods"
_MERGED = (Aggregation.SUM, Aggregation.COUNT, Aggregation.MIN, Aggregation.MAX)


@dataclass(frozen=True)
class Partial:
    """A part in two steps: `inner` adds up each period and group of `places`, whose sums `outer` reads on the spine.

    `places` are the positions of the keys that the clock does not decide.
    """

    inner: Part
    outer: Part
    places: tuple[int, ...]


def partial_of(part: Part) -> Partial | None:
    """The part in two steps, or None where its numbers cannot be merged from those of periods."""
    if not part.ticks or part.distinct or part.snapshot is not None or part.events is not None:
        return None
    if any(one.aggregation not in _MERGED for one in part.aggregates):
        return None
    clocked = {tick.alias for tick in part.ticks}
    late: tuple[list[Join], list[Join]] = ([], [])
    for join in part.late:
        depends = any(_depends(left, clocked) for left, _ in join.pairs)
        late[depends].append(join)
        if depends:
            clocked.add(join.source.alias)
    conditions = _split(part, clocked)
    if conditions is None:
        return None
    places = tuple(place for place, key in enumerate(part.keys) if not _depends(key, clocked))
    first = part.ticks[0]
    before = Term(quoted(PERIODS, "t0"), ((PERIODS, PERIODS),), first.before.result_type, zone=first.before.zone)
    keys = tuple(
        Term(quoted(PERIODS, f"k{place}"), ((PERIODS, PERIODS),), key.result_type) if place in places else key
        for place, key in enumerate(part.keys)
    )
    return Partial(
        inner=replace(part, ticks=(), late=tuple(late[False]), filter=conditions[0], fill=None, reduction=None),
        outer=replace(
            part,
            joins=(),
            keys=keys,
            late=tuple(late[True]),
            filter=conditions[1],
            ticks=(
                replace(first, before=replace(before, fiscal_month=first.before.fiscal_month)),
                *part.ticks[1:],
            ),
        ),
        places=places,
    )


def _depends(term: Term, clocked: set[str]) -> bool:
    return any(alias in clocked for _, alias in term.aliases)


def _split(part: Part, clocked: set[str]) -> tuple[Predicate, Predicate] | None:
    """The filter on rows, and the one on periods; None where one condition asks for both."""
    on_clock = {one.name for one in part.operands if _depends(one.term, clocked)}
    rows: list[Predicate] = []
    periods: list[Predicate] = []
    for condition in _conditions(part.filter):
        named = fields_of(condition)
        if named & on_clock and named - on_clock:
            return None
        (periods if named & on_clock else rows).append(condition)
    return all_of(*rows), all_of(*periods)


def _conditions(predicate: Predicate) -> Sequence[Predicate]:
    return predicate.parts if isinstance(predicate, And) else (predicate,)
