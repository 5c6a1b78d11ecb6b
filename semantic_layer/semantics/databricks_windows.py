"""What the windows of a Databricks measure mean here: a level at a moment, a running total, a trailing window."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from semantic_layer.metric import Grain
from semantic_layer.semantics.nodes import listed, text_of
from semantic_layer.yaml_file import Node

_TRAILING = re.compile(r"trailing\s+(\d+)\s+(\w+?)s?(?:\s+(inclusive|exclusive))?", re.IGNORECASE)


@dataclass(frozen=True)
class _Order:
    dataset: str
    text: str
    inner: str
    grain: str
    column: str


@dataclass
class Orders:
    """The dimensions that windows may be ordered by, with what each is cut from."""

    found: dict[str, _Order] = field(default_factory=dict[str, _Order])
    used: dict[str, str] = field(default_factory=dict[str, str])
    calendar: tuple[str, str] | None = None

    def add(self, name: str, dataset: str, text: str, cut: tuple[str, str], column: str) -> None:
        """Note a dimension: its expression, the grain that it cuts to and of what, the one column that it reads."""
        grain, inner = cut
        self.found[name] = _Order(dataset, _bare(text), _bare(inner), grain, column)

    def keeps_calendar(self, name: str) -> bool:
        """Whether windows can run over this dimension's own periods: one (dataset, column) is the view's calendar."""
        order = self.found.get(name)
        if order is None or not order.column:
            return False
        self.calendar = self.calendar or (order.dataset, order.column)
        return self.calendar == (order.dataset, order.column)

    def field(self, name: str) -> str:
        """The dimension as `dataset.field`, or its name where there is none; it becomes its dataset's own time."""
        order = self.found.get(name)
        if order is None:
            return name
        self.used.setdefault(order.dataset, name)
        return f"{order.dataset}.{name}"

    def is_default(self, name: str) -> bool:
        """Whether the dimension is its dataset's own time, or becomes it."""
        order = self.found.get(name)
        return order is not None and self.used.setdefault(order.dataset, name) == name

    def default_time(self, dataset: str) -> str:
        """The time that windows over a dataset are ordered by; empty where none is."""
        return self.used.get(dataset, "")

    def cut_of(self, coarse: str, fine: str) -> Grain | None:
        """The grain to which one dimension cuts the other; None where it does not."""
        first, second = self.found.get(coarse), self.found.get(fine)
        if first is None or second is None or not first.grain:
            return None
        return Grain(first.grain) if first.inner in (second.text, _bare(fine), second.inner or None) else None


def window_of(measure: Node, orders: Orders, *, plain: str) -> dict[str, Any]:
    """The keys of a metric's extension that say what the windows of a measure mean.

    `plain` says what the measure is made of: a running total is made of one aggregate or one measure, a level of one
    aggregate. What has no meaning here is said in `unsupported`, and refused by it.
    """
    windows = listed(measure, "window")
    if any(one.get("offset") is not None for one in windows):
        return {"unsupported": "shifts its window by an offset"}
    if plain not in ("aggregate", "measure"):
        return {"unsupported": "has a window over several aggregates"}
    if plain == "measure" and windows and not orders.is_default(text_of(windows[0], "order")):
        return {"unsupported": "orders another measure by a time that is not its own"}
    ranges = [text_of(one, "range").strip().casefold() for one in windows]
    names = [text_of(one, "order") for one in windows]
    last = text_of(windows[0], "semiadditive").casefold() != "first" if windows else True
    if ranges != ["current"] and not orders.keeps_calendar(names[0]):
        return {"unsupported": f"has a window over {names[0]!r}, which is no plain time of the view"}
    match ranges:
        case ["current"] if plain == "aggregate":
            return {"non_additive": {"time": orders.field(names[0]), "choice": "max" if last else "min"}}
        case ["cumulative"]:
            return _running(orders.field(names[0]), last)
        case ["cumulative", "current"]:
            grain = orders.cut_of(names[1], names[0])
            if grain is not None:
                return _running(orders.field(names[0]), last, grain_to_date=grain.value)
        case [one] if (trailing := _TRAILING.fullmatch(one)) and trailing[2] in tuple(Grain):
            window = {"count": int(trailing[1]), "grain": trailing[2]}
            # Databricks leaves the current unit out unless it is asked in; MetricFlow's windows hold it.
            left_out = {} if trailing[3] == "inclusive" else {"leaves_out_current": True}
            return _running(orders.field(names[0]), last, window=window, **left_out)
        case _:
            pass
    return {"unsupported": f"has the window {' and '.join(ranges)!r}"}


def _running(time: str, last: bool, **cumulative: Any) -> dict[str, Any]:
    shown = {"period_aggregation": "last"} if last else {}
    return {"type": "cumulative", "default_time": time, "cumulative": {**cumulative, **shown, "needs_time": True}}


def _bare(text: str) -> str:
    """An expression without what does not matter: space, case, quotes, the source's name."""
    return re.sub(r"[\s`]+", "", text).casefold().removeprefix("source.")
