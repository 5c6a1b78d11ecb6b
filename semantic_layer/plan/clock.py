"""The rules of time: how a leaf's rows are read at the periods of a time spine, and how empty periods come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from semantic_layer.errors import InvalidArgument, Refused
from semantic_layer.metric import Cumulative, Grain, Offset, TimeSpine, Window
from semantic_layer.plan.cut import Calendar, Cut, base_grain, coarseness, period_grain
from semantic_layer.plan.leaves import not_supported
from semantic_layer.plan.names import METRIC_TIME, Found
from semantic_layer.plan.part import Field, PartBuilder, Timed
from semantic_layer.plan.plan import (
    CustomShift,
    Fill,
    Join,
    Operand,
    Part,
    Reduction,
    Shift,
    Source,
    Spread,
    Term,
    Tick,
)
from semantic_layer.plan.sources import Reading, Readings
from semantic_layer.plan.spine import calendar_value, spine_cut, spine_period
from semantic_layer.plan.time import cut_term, window_predicate
from semantic_layer.predicate import Leaf as Comparison
from semantic_layer.predicate import Predicate, all_of, map_leaves
from semantic_layer.product import Column, ColumnType


def start_clock(
    builder: PartBuilder, cuts: Sequence[Cut], filtered: Sequence[Cut], *, pinned: bool, whole: bool
) -> None:
    """Join the leaf's rows to the time spine as its metric asks; `cuts` are what the query cuts its own time to.

    `filtered` is what its filters cut it to, and `pinned` says that one fixes a period of a time that is not a key;
    `whole` that the asked range is of whole periods. Raises InvalidArgument, Refused.
    """
    leaf = builder.leaf
    if leaf.cumulative is None and not leaf.shifts:
        return
    if not cuts and not pinned:
        if leaf.cumulative is not None and _needs_time(leaf.cumulative):
            raise InvalidArgument(
                f"the metric {leaf.metric!r} has a value for each period, and the query has none.",
                hint="Add metric_time to `dimensions`, or `time.grain`.",
            )
        if leaf.shifts:
            raise InvalidArgument(
                f"the metric {leaf.metric!r} shifts periods, and the query has none.",
                hint="Add metric_time to `dimensions`, or `time.grain`.",
            )
        return
    own = builder.own_time()
    kept = own.dimension.grain or min((_finest(cuts), Grain.DAY), key=coarseness)
    exact = leaf.cumulative is not None or not whole or any(not isinstance(cut, Grain) for cut in filtered)
    at = kept if exact else _shifted_at(leaf.shifts, cuts, kept)
    finest = min((at, _finest(filtered, at)), key=coarseness)
    if leaf.cumulative is not None:
        given = leaf.cumulative
        _tick(builder, at, Spread(given.window, given.grain_to_date, given.leaves_out_current), finest)
    for offset in leaf.shifts:
        if offset.custom:
            _custom_tick(builder, offset, [*cuts, *filtered])
        else:
            shift = Shift(None, offset.grain) if offset.to_grain else Shift(Window(offset.count, offset.grain))
            _tick(builder, at, shift, finest, _beginning(offset, cuts, at, leaf.cumulative is not None))
    if leaf.cumulative is not None and cuts and kept not in cuts:
        reduced = replace(own, cut=kept)
        builder.reduction = Reduction(builder.term(reduced, kept, owned=True), leaf.cumulative.period_aggregation)


def _needs_time(given: Cumulative) -> bool:
    """Whether it has no meaning without a period: only what gathers everything is the total over all rows."""
    return given.needs_time or given.window is not None or given.grain_to_date is not None


def _finest(cuts: Sequence[Cut], default: Grain = Grain.DAY) -> Grain:
    grains = [base for cut in cuts if (base := base_grain(cut)) is not None]
    return min(grains, key=coarseness, default=default)


def _shifted_at(shifts: Sequence[Offset], cuts: Sequence[Cut], kept: Grain) -> Grain:
    """The grain whose periods are shifted: the finest queried where each period has one that stands for it."""
    if any(isinstance(cut, Calendar) for cut in cuts):
        return kept
    grains = [cut for cut in cuts if isinstance(cut, Grain) and not cut.fiscal]
    finest = min(grains, key=coarseness, default=kept)
    if any(coarseness(period_grain(cut) or kept) < coarseness(finest) for cut in cuts):
        return kept

    def stands(offset: Offset) -> bool:
        clean = offset.grain is Grain.WEEK if finest is Grain.WEEK else True
        return not offset.custom and clean and coarseness(finest) <= coarseness(offset.grain)

    return finest if all(stands(offset) for offset in shifts) else kept


def _beginning(offset: Offset, cuts: Sequence[Cut], at: Grain, cumulative: bool) -> list[Grain]:
    """The queried grains of which only the first period of the spine counts, so that a value is not added twice."""
    asked = [cut.spine.grain if isinstance(cut, Calendar) else cut for cut in cuts]
    if not offset.to_grain or cumulative or at in asked:
        return []
    return list(dict.fromkeys(cut for cut in asked if isinstance(cut, Grain)))


def _tick(
    builder: PartBuilder, at: Grain, rule: Spread | Shift, finest: Grain, begins: Sequence[Grain] = ()
) -> None:
    """`finest` is what the spine's own rows must have, for filters."""
    _append(builder, builder.world.spine(builder.leaf.model.product, finest), at, rule, begins)


def _custom_tick(builder: PartBuilder, offset: Offset, cuts: Sequence[Cut]) -> None:
    calendar = builder.world.calendars(builder.leaf.model.product).get(offset.custom)
    if calendar is None:
        raise Refused(
            f"the metric {builder.leaf.metric!r} shifts by {offset.custom!r}, which no time spine has.",
            rule="no_time_spine",
            hint="Declare it under custom_granularities of a time spine.",
        )
    reading = builder.readings.spine(calendar.spine, f"tick {len(builder.ticks)}")
    whole = bool(cuts) and all(isinstance(cut, Calendar) and cut.value == offset.custom for cut in cuts)
    value = calendar_value(builder.world, reading, calendar)
    _append(builder, calendar.spine, calendar.spine.grain, CustomShift(offset.count, value, whole), ())


def _append(
    builder: PartBuilder,
    spine: TimeSpine,
    at: Grain,
    rule: Spread | Shift | CustomShift,
    begins: Sequence[Grain],
) -> None:
    number = len(builder.ticks)
    reading = builder.readings.spine(spine, f"tick {number}")
    before = builder.moment(number) if number else builder.plain(builder.own_time())

    def period(grain: Grain) -> Term:
        return spine_period(builder.world, reading, spine, grain, builder.zone, builder.fiscal_month)

    builder.ticks.append(
        Tick(
            alias=f"wh.clock_{number}",
            spine=builder.readings.source(reading),
            period=period(at),
            before=cut_term(before, at, builder.fiscal_month),
            rule=rule,
            begins=tuple(period(grain) for grain in begins),
        )
    )


def filter_clock(builder: PartBuilder) -> None:
    """Ask the last tick's spine what the filters ask of the leaf's own time."""
    found = [one for one in builder.timed if builder.asks_spine(one.fields)]
    if not found:
        return
    last = builder.ticks[-1]
    spine = _spine_named(builder, last.spine)
    reading = builder.readings.spine(spine, f"tick {len(builder.ticks) - 1}")
    filter_, operands = _on_spine(builder, builder.readings, reading, spine, found, [])
    builder.ticks[-1] = replace(last, filter=filter_, operands=operands)


def _spine_named(builder: PartBuilder, source: Source) -> TimeSpine:
    spines = builder.world.spines(builder.leaf.model.product)
    return next(one for one in spines if (one.product, one.table) == (source.product, source.table))


def fill_of(builder: PartBuilder, keys: Sequence[tuple[Found, Cut | None]]) -> Fill | None:
    """Every period of the spine as a row of the part, where the leaf asks for it and the query groups by its time."""
    positions = [number for number, (found, _) in enumerate(keys) if builder.is_own_time(found)]
    if not builder.leaf.every_period or not positions:
        return None
    cuts = [keys[number][1] or builder.own_time().dimension.grain or Grain.DAY for number in positions]
    if builder.reduction is not None and builder.reduction.time.grain is not None:
        positions.append(len(keys))
        cuts.append(builder.reduction.time.grain)
    filtered = [field.cut for one in builder.timed for field in one.fields.values() if field.cut is not None]
    grains = [base for cut in (*cuts, *filtered) if (base := base_grain(cut)) is not None]
    custom = [cut for cut in (*cuts, *filtered) if isinstance(cut, Calendar)]
    home = builder.leaf.model.product
    spine = builder.world.spine(home, min(grains, key=coarseness), custom)
    readings = Readings(builder.world, builder.leaf)
    reading = readings.spine(spine, "fill")
    late: list[Join] = []
    terms = [_spine_key(builder, readings, reading, spine, cut, late) for cut in cuts]
    filter_, operands = _on_spine(builder, readings, reading, spine, builder.timed, late)
    periods = Part(
        base=readings.source(reading),
        joins=(),
        keys=tuple(terms),
        filter=filter_,
        operands=operands,
        late=tuple(late),
    )
    again, columns, places = _again(builder, keys)
    return Fill(periods, tuple(positions), again, columns, places)


def _spine_key(
    builder: PartBuilder, readings: Readings, reading: Reading, spine: TimeSpine, cut: Cut, late: list[Join]
) -> Term:
    """A spine's row cut as a key is; a custom grain of another spine is looked up there."""
    found = spine_cut(builder.world, reading, spine, cut, builder.zone, builder.fiscal_month)
    if found is not None:
        if isinstance(cut, Calendar):
            builder.show_column(reading, cut)
        return found
    assert isinstance(cut, Calendar)
    other = readings.spine(cut.spine, f"fill {cut.value}")
    builder.show_column(other, cut)
    grain = cut.spine.grain
    pairs = tuple(
        spine_period(builder.world, one, own, grain, builder.zone, builder.fiscal_month)
        for one, own in ((reading, spine), (other, cut.spine))
    )
    joined = Join(readings.source(other), ((pairs[0], pairs[1]),))
    if joined not in late:
        late.append(joined)
    return calendar_value(builder.world, other, cut)


def _on_spine(
    builder: PartBuilder,
    readings: Readings,
    reading: Reading,
    spine: TimeSpine,
    timed: Sequence[Timed],
    late: list[Join],
) -> tuple[Predicate, tuple[Operand, ...]]:
    """Filters over a leaf's own time, asked of the rows of a spine instead."""
    operands: dict[str, Operand] = {}
    kept: list[Predicate] = []
    for one in timed:

        def asked(comparison: Comparison, fields: dict[str, Field] = one.fields) -> Predicate:
            given = fields[comparison.field]
            cut = given.cut or spine.grain
            term = _spine_key(builder, readings, reading, spine, cut, late)
            if given.cut is None and term.result_type is not given.column.type:
                raise not_supported(f"a filter on the exact {comparison.field!r} of {builder.leaf.metric!r}")
            assert term.result_type is not None
            label = f"{term.aliases[0][1]} {cut.value}"
            operands[label] = Operand(label, term, Column(label, term.result_type))
            return replace(comparison, field=label)

        predicate = one.predicate
        if one.window is not None:
            kind = ColumnType.TIMESTAMP if spine.grain.sub_day else ColumnType.DATE
            predicate = window_predicate(METRIC_TIME, one.window, kind, builder.zone)
            whole = replace(one.fields[METRIC_TIME], column=Column(METRIC_TIME, kind))
            kept.append(map_leaves(predicate, lambda leaf, whole=whole: asked(leaf, {METRIC_TIME: whole})))
        else:
            kept.append(map_leaves(predicate, asked))
    return all_of(*kept), tuple(operands[name] for name in sorted(operands))


def _again(
    builder: PartBuilder, keys: Sequence[tuple[Found, Cut | None]]
) -> tuple[Predicate, dict[str, Column], dict[str, int]]:
    """The query's other filters, as far as they ask for keys: rows without facts must pass them too."""
    places = {(found.identity, cut or found.cut): number for number, (found, cut) in enumerate(keys)}
    kept: list[Predicate] = []
    columns: dict[str, Column] = {}
    positions: dict[str, int] = {}
    for one in builder.outer:
        predicate, wanted = one.predicate, one.fields
        found = {
            name: places.get((each.found.identity, each.cut)) if each.found else None
            for name, each in wanted.items()
        }
        if any(place is None for place in found.values()):
            continue
        kept.append(predicate)
        for name, place in found.items():
            assert place is not None
            columns[name], positions[name] = wanted[name].column, place
    return all_of(*kept), columns, positions
