"""Numbers as people see them at a glance: a line of small bars for a series, a bar for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from mcp_server.answer import plain

_STEPS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉"
MOST_LINES = 8
FEWEST_POINTS = 3
LABEL_CHARACTERS = 40


def sparkline(values: Sequence[Any]) -> str:
    """One character a value, from the least to the greatest; a gap where there is none."""
    numbers = [_number(value) for value in values]
    known = [one for one in numbers if one is not None]
    if not known:
        return " " * len(numbers)
    least, span = min(known), max(known) - min(known)
    top = len(_STEPS) - 1
    return "".join(
        " " if one is None else _STEPS[round((one - least) / span * top) if span else top // 2] for one in numbers
    )


def sparklines(columns: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each metric, and each group of the other dimensions, over the one time in the answer.

    None where there is no time, fewer than three periods, or more than eight lines.
    """
    times = [str(one["name"]) for one in columns if one.get("grain")]
    metrics = [str(one["name"]) for one in columns if one["kind"] == "metric"]
    others = [str(one["name"]) for one in columns if one["kind"] == "dimension" and not one.get("grain")]
    if len(times) != 1:
        return []
    ordered = sorted(rows, key=lambda row: str(plain(row[times[0]])))
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in ordered:
        groups.setdefault(tuple(_label(row[name]) for name in others), []).append(row)
    lines = [
        (" · ".join((metric, *group)), sparkline([row[metric] for row in members]))
        for group, members in groups.items()
        for metric in metrics
    ]
    periods = {str(plain(row[times[0]])) for row in rows}
    if len(periods) < FEWEST_POINTS or len(lines) > MOST_LINES:
        return []
    width = max(len(name) for name, _ in lines)
    return [f"{name.ljust(width)}  {line}" for name, line in lines]


def bars(columns: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """A chart for each metric: a bar for each row, named by its dimensions, from zero; NULL has none."""
    dimensions = [str(one["name"]) for one in columns if one["kind"] == "dimension"]
    names = [" · ".join(_label(row[name]) for name in dimensions) or "all" for row in rows]
    label = max((len(name) for name in names), default=0)
    lines: list[str] = []
    for metric in (str(one["name"]) for one in columns if one["kind"] == "metric"):
        values = [_number(row[metric]) for row in rows]
        shown = ["" if value is None else str(plain(row[metric])) for value, row in zip(values, rows, strict=True)]
        most = max((abs(one) for one in values if one is not None), default=0.0)
        room = max(10, width - label - max((len(one) for one in shown), default=0) - 4)
        lines.append(metric)
        for name, value, text in zip(names, values, shown, strict=True):
            sign = "-" if value is not None and value < 0 else " "
            drawn = _bar(abs(value) / most * room) if value is not None and most else ""
            lines.append(f"{name.ljust(label)} {sign}{drawn} {text}".rstrip())
    return lines


def _bar(length: float) -> str:
    whole, eighths = divmod(round(length * 8), 8)
    return "█" * whole + (_EIGHTHS[eighths] if eighths else "")


def _label(value: Any) -> str:
    shown = plain(value)
    text = "–" if shown is None else str(shown)
    return text if len(text) <= LABEL_CHARACTERS else text[: LABEL_CHARACTERS - 1] + "…"


def _number(value: Any) -> float | None:
    """The value as a number, None where it is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    number = float(value)
    return number if number == number and abs(number) != float("inf") else None
