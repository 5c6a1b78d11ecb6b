"""Time zones for DuckDB without its calendar: the wall clock by the zone's own list of offsets.

DuckDB asks ICU for each row, about 0.8 µs twice; comparing with a few constants takes a tenth of that. What a
receipt shows stays `AT TIME ZONE`; what runs is rewritten here, and gives the same to the microsecond.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

FIRST_YEAR, END_YEAR = 2000, 2040
"""Instants outside these years are still asked of ICU."""

Years = tuple[tuple[str, int, int], ...]
"""For a column as the statement names it, the first year of its moments and the one after the last.

They make the statement short, and quick to plan: a moment outside of them is asked of ICU.
"""

_STEP = timedelta(days=7)
_SECOND = timedelta(seconds=1)

# A column of ours on a wall clock, as semantic_layer.sql.grain writes it. A quote inside a literal or a name is
# doubled, so that no literal and no name can hold this text.
_LOCAL = re.compile(r"""((?:"[^"]+"\.)?"[^"]+") AT TIME ZONE 'UTC' AT TIME ZONE '([\w+/-]+)'""")


@lru_cache(maxsize=512)
def quick(sql: str, years: Years = ()) -> str:
    """The statement with each `column AT TIME ZONE 'UTC' AT TIME ZONE zone` computed from the zone's offsets."""
    known = {column: (first, end) for column, first, end in years}

    def written(found: re.Match[str]) -> str:
        first, end = known.get(found[1], (FIRST_YEAR, END_YEAR))
        return _wall_clock(found[1], found[2], found[0], max(first, FIRST_YEAR), min(end, END_YEAR))

    return _LOCAL.sub(written, sql)


@lru_cache(maxsize=512)
def zoned_columns(sql: str) -> tuple[str, ...]:
    """The columns that `quick` would compute, as the statement names them."""
    return tuple(dict.fromkeys(found[1] for found in _LOCAL.finditer(sql)))


def _wall_clock(column: str, zone: str, by_calendar: str, first: int, end: int) -> str:
    offsets = zone_offsets(zone)
    if not offsets or first >= end:
        return by_calendar
    since, until = datetime(first, 1, 1, tzinfo=UTC), datetime(end, 1, 1, tzinfo=UTC)
    begun = max(place for place, (moment, _) in enumerate(offsets) if moment <= since)
    within = [pair for pair in offsets[begun:] if pair[0] < until]
    known = f"MAKE_TIMESTAMP(EPOCH_US({column}) + {_tree(within, column)})"
    bounds = f"{column} >= TIMESTAMP '{first}-01-01' AND {column} < TIMESTAMP '{end}-01-01'"
    return f"CASE WHEN {bounds} THEN {known} ELSE {by_calendar} END"


@lru_cache(maxsize=64)
def zone_offsets(zone: str) -> tuple[tuple[datetime, int], ...]:
    """From when (UTC) the zone is how many microseconds ahead of UTC; empty for a zone this machine does not know."""
    try:
        clock = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ()
    at, end = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(END_YEAR, 1, 1, tzinfo=UTC)
    found = [(at, _offset(at, clock))]
    while at < end:
        following = at + _STEP
        while (ahead := _offset(following, clock)) != found[-1][1]:
            change = _change(at, following, clock)
            found.append((change, _offset(change, clock)))
            at = change
            if ahead == found[-1][1]:
                break
        at = following
    return tuple((moment, offset) for moment, offset in found if moment < end)


def _offset(at: datetime, clock: ZoneInfo) -> int:
    ahead = at.astimezone(clock).utcoffset()
    assert ahead is not None, "a zone knows its offset"
    return ahead // timedelta(microseconds=1)


def _change(low: datetime, high: datetime, clock: ZoneInfo) -> datetime:
    """The first second after `low` at which the offset is not that of `low`; there is one up to `high`."""
    before = _offset(low, clock)
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if _offset(middle, clock) == before:
            low = middle
        else:
            high = middle
    return high


def _tree(offsets: Sequence[tuple[datetime, int]], column: str) -> str:
    """A balanced decision: with 80 changes of offset a row is compared seven times."""
    if len(offsets) == 1:
        return str(offsets[0][1])
    half = len(offsets) // 2
    change = offsets[half][0].strftime("%Y-%m-%d %H:%M:%S")
    earlier, later = _tree(offsets[:half], column), _tree(offsets[half:], column)
    return f"CASE WHEN {column} < TIMESTAMP '{change}' THEN {earlier} ELSE {later} END"
