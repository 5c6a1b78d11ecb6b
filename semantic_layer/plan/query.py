"""What an agent or a person asks of metrics, in one closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from semantic_layer.errors import InvalidArgument, UnknownName, close_names
from semantic_layer.filter_form import filter_form, parse_filter
from semantic_layer.metric import Grain
from semantic_layer.predicate import TRUE, Predicate

KEYS = ("metrics", "dimensions", "filters", "time", "order", "limit", "saved_query", "distinct", "min_max")
TIME_KEYS = ("grain", "start", "end", "zone", "dimension")
MAX_NAMES = 50
MAX_LIMIT = 1_000_000


@dataclass(frozen=True)
class TimeWindow:
    """Periods of `grain` (None: no grouping by time) from `start`, inclusive, to `end`, exclusive.

    A date, or a moment without an offset, is meant in the reporting `zone` (empty: the model's). `dimension` is
    the time dimension meant; empty for each metric's own.
    """

    grain: Grain | None = None
    start: date | datetime | None = None
    end: date | datetime | None = None
    zone: str = ""
    dimension: str = ""


@dataclass(frozen=True)
class MetricQuery:
    """Metrics by dimensions, under a filter. `order` names what is asked for, with `-` for descending.

    Without metrics it asks for the dimensions' values that occur together: each once where `distinct`, only the least
    and the greatest of one dimension with `min_max`.
    """

    metrics: tuple[str, ...]
    dimensions: tuple[str, ...] = ()
    filters: Predicate = TRUE
    time: TimeWindow = TimeWindow()
    order: tuple[str, ...] = ()
    limit: int | None = None
    saved_query: str = ""
    distinct: bool = True
    min_max: bool = False

    @classmethod
    def from_json(cls, data: Any) -> MetricQuery:
        """A query from its JSON form. Raises UnknownName for a key, InvalidArgument for a wrong value."""
        form = _object(data, "a metric query", KEYS)
        query = cls(
            metrics=_names(form, "metrics"),
            dimensions=_names(form, "dimensions"),
            filters=parse_filter(form.get("filters")),
            time=_time(form.get("time")),
            order=_names(form, "order"),
            limit=_limit(form.get("limit")),
            saved_query=_text(form, "saved_query"),
            distinct=_flag(form, "distinct", True),
            min_max=_flag(form, "min_max", False),
        )
        if not (query.metrics or query.saved_query or query.dimensions or query.time.grain):
            raise InvalidArgument(
                "a metric query needs `metrics`.", hint="Name at least one; `discover` lists them."
            )
        if query.metrics and (query.min_max or not query.distinct):
            raise InvalidArgument("`min_max` and `distinct` are for a query without metrics.")
        return query

    def to_json(self) -> dict[str, Any]:
        """The form that `from_json` reads back; what is not set is left out."""
        time = {
            "grain": self.time.grain.value if self.time.grain else "",
            "start": self.time.start.isoformat() if self.time.start else "",
            "end": self.time.end.isoformat() if self.time.end else "",
            "zone": self.time.zone,
            "dimension": self.time.dimension,
        }
        form: dict[str, Any] = {
            "metrics": list(self.metrics),
            "dimensions": list(self.dimensions),
            "filters": filter_form(self.filters) if self.filters != TRUE else None,
            "time": {key: value for key, value in time.items() if value},
            "order": list(self.order),
            "limit": self.limit,
            "saved_query": self.saved_query,
            "min_max": self.min_max,
        }
        kept = {key: value for key, value in form.items() if value}
        return kept if self.distinct else {**kept, "distinct": False}


def read_grain(text: str) -> Grain:
    """The grain of that name. Raises InvalidArgument with the nearest ones."""
    try:
        return Grain(text)
    except ValueError:
        near = close_names(text, [grain.value for grain in Grain]) or tuple(Grain)
        raise InvalidArgument(f"no grain {text!r}.", hint="Use one of " + ", ".join(near) + ".") from None


def read_zone(text: str) -> ZoneInfo:
    """The IANA time zone of that name. Raises InvalidArgument where there is none."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = "Give an IANA name such as Europe/Berlin."
        raise InvalidArgument(f"no time zone {text!r}.", hint=hint) from None


def _object(data: Any, what: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise InvalidArgument(f"{what} must be an object.", hint="Its keys are " + ", ".join(keys) + ".")
    form = cast("Mapping[str, Any]", data)
    for key in form:
        if key not in keys:
            raise UnknownName(f"key of {what}", str(key), keys, hint="The keys are " + ", ".join(keys) + ".")
    return form


def _names(form: Mapping[str, Any], key: str) -> tuple[str, ...]:
    raw = form.get(key)
    items = cast("list[Any]", raw if isinstance(raw, list) else [] if raw is None else [raw])
    if len(items) > MAX_NAMES or not all(isinstance(item, str) and item for item in items):
        raise InvalidArgument(
            f"`{key}` takes a list of at most {MAX_NAMES} names.", hint=f'Write "{key}": ["name"].'
        )
    return tuple(dict.fromkeys(cast("list[str]", items)))


def _text(form: Mapping[str, Any], key: str) -> str:
    raw = form.get(key)
    if raw is not None and not isinstance(raw, str):
        raise InvalidArgument(f"`{key}` takes a text, not {raw!r}.")
    return raw or ""


def _flag(form: Mapping[str, Any], key: str, default: bool) -> bool:
    raw = form.get(key, default)
    if not isinstance(raw, bool):
        raise InvalidArgument(f"`{key}` takes true or false, not {raw!r}.")
    return raw


def _limit(raw: Any) -> int | None:
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 < raw <= MAX_LIMIT:
        raise InvalidArgument(f"`limit` takes a whole number from 1 to {MAX_LIMIT}, not {raw!r}.")
    return raw


def _time(raw: Any) -> TimeWindow:
    if raw is None:
        return TimeWindow()
    form = _object(raw, "`time`", TIME_KEYS)
    grain, zone = _text(form, "grain"), _text(form, "zone")
    start, end = (_moment(form.get(key), key) for key in ("start", "end"))
    if zone:
        read_zone(zone)
    return TimeWindow(read_grain(grain) if grain else None, start, end, zone, _text(form, "dimension"))


def _moment(raw: Any, key: str) -> date | datetime | None:
    if raw is None or isinstance(raw, date):
        return raw
    try:
        text = str(raw)
        return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
    except ValueError:
        hint = "Give an ISO date such as 2025-01-31 or a timestamp such as 2025-01-31T12:00:00Z."
        raise InvalidArgument(f"`time.{key}` {raw!r} is no date.", hint=hint) from None
