"""Asks MetricFlow's recorded queries and compares each answer with the rows that were recorded.

A case names its manifest, and metrics, group-by items, filters and time range as MetricFlow takes them; it is
translated to our own query, and nothing in it is looked up by its id.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, cast

from evals.metricflow_compare import difference
from evals.metricflow_data import PRODUCT, Recorded, load
from indexes.duck.workers import Workers, shared_workers
from indexes.measure import as_run
from semantic_layer.errors import WellheadError
from semantic_layer.metric import Grain
from semantic_layer.plan.planner import time_grain
from semantic_layer.plan.query import MetricQuery, TimeWindow
from semantic_layer.plan.world import World
from semantic_layer.predicate import all_of
from semantic_layer.semantics.templates import cut_field, field_of
from semantic_layer.sql.compile import TOTAL_ROWS, compile_query
from semantic_layer.sql.filters import read_filter

Case = Mapping[str, Any]
CLOCK = datetime(2025, 1, 1, tzinfo=UTC)
DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class Result:
    """One case; `difference` is empty where the answer equals what was recorded."""

    case: str
    difference: str


def run_cases(
    cases: Path, truth: Path, *, workers: Workers | None = None, said: Callable[[str], None] = lambda line: None
) -> list[Result]:
    """Every case of a JSON Lines file over the tables and manifests in `truth`; `said` takes a line a difference."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="wellhead-metricflow-") as folder:
        recorded = load(truth, Path(folder) / "tables.duckdb")
        for case in read_cases(cases):
            found = Result(str(case["id"]), ask(case, recorded, workers or shared_workers()))
            if found.difference:
                said(f"{found.case}: {found.difference}")
            results.append(found)
    return results


def read_cases(file: Path) -> Iterator[Case]:
    """The cases in order."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield cast("Case", json.loads(line))


def ask(case: Case, recorded: Recorded, workers: Workers) -> str:
    """How our answer differs from the recorded one; empty where it does not."""
    try:
        model = recorded.model(case["manifest"], case.get("metrics") or ())
        models, products = {PRODUCT: model}, {PRODUCT: recorded.product}
        query = translated(case, World(models, products, recorded.grants()))
        compiled = compile_query(query, models, products, recorded.grants(), as_of=CLOCK)
        sql, parameters = as_run(compiled.uncounted()), compiled.statement.parameters
        fetched = workers.run({PRODUCT: recorded.database}, sql, parameters, deadline_seconds=DEADLINE_SECONDS)
    except WellheadError as error:
        return f"{error.code}: {error.message}"
    names = [name for name in fetched.table.column_names if name != TOTAL_ROWS]
    columns = [fetched.table.column(name).to_pylist() for name in names]
    return difference(case, _aliased(case, names), list(zip(*columns, strict=True)))


def translated(case: Case, world: World) -> MetricQuery:
    """The case as a query of ours. Raises InvalidArgument for a filter that is not read."""
    where = (case.get("where") or ()) if not isinstance(case.get("where"), str) else (case["where"],)
    query = MetricQuery(
        metrics=tuple(case.get("metrics") or ()),
        dimensions=tuple(_dimensions(case)),
        filters=all_of(*(read_filter(text, dialect="duckdb", template=field_of, cut=cut_field) for text in where)),
        order=tuple(case.get("order_by") or ()),
        limit=case.get("limit"),
        saved_query=case.get("saved_query") or "",
        distinct=case.get("apply_group_by", True),
        min_max=case.get("min_max_only", False),
    )
    if not case.get("start") and not case.get("end"):
        return query
    grain = time_grain(query, world)
    start, end = (datetime.fromisoformat(case[key]) if case.get(key) else None for key in ("start", "end"))
    window = TimeWindow(start=beginning(start, grain) if start else None, end=after(end, grain) if end else None)
    return replace(query, time=window)


def _aliased(case: Case, names: Sequence[str]) -> list[str]:
    """The columns of an answer under the names that the case gives its group-by items; these come first, in order."""
    found = list(names)
    start = len(case.get("group_by_names") or ())
    for place, item in enumerate(case.get("group_by") or (), start):
        if item.get("alias"):
            found[place] = item["alias"]
    return found


def _dimensions(case: Case) -> Iterator[str]:
    yield from case.get("group_by_names") or ()
    for item in case.get("group_by") or ():
        cut = item.get("grain") or (f"extract_{item['date_part']}" if item.get("date_part") else "")
        yield f"{item['name']}__{cut.casefold()}" if cut else item["name"]


def beginning(moment: datetime, grain: Grain) -> datetime:
    """Where the period begins that a moment lies in: MetricFlow's time ranges are of whole periods."""
    day = datetime.combine(moment.date(), time())
    match grain:
        case Grain.YEAR:
            return day.replace(month=1, day=1)
        case Grain.QUARTER:
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case Grain.MONTH:
            return day.replace(day=1)
        case Grain.WEEK:
            return day - timedelta(days=day.weekday())
        case Grain.DAY:
            return day
        case _:
            step = _STEPS.get(grain, timedelta(microseconds=1))
            return day + (moment - day) // step * step


def after(moment: datetime, grain: Grain) -> datetime:
    """The first moment after the period, which MetricFlow's inclusive end still covers."""
    start = beginning(moment, grain)
    months = {Grain.YEAR: 12, Grain.QUARTER: 3, Grain.MONTH: 1}
    if grain in months:
        month = start.month - 1 + months[grain]
        return start.replace(year=start.year + month // 12, month=month % 12 + 1)
    return start + _STEPS.get(grain, timedelta(microseconds=1))


_STEPS: Mapping[Grain, timedelta] = {
    Grain.WEEK: timedelta(days=7),
    Grain.DAY: timedelta(days=1),
    Grain.HOUR: timedelta(hours=1),
    Grain.MINUTE: timedelta(minutes=1),
    Grain.SECOND: timedelta(seconds=1),
    Grain.MILLISECOND: timedelta(milliseconds=1),
}


def summary(results: Sequence[Result]) -> str:
    """The last line of a run."""
    failed = sum(bool(result.difference) for result in results)
    return f"{len(results) - failed} passed, {failed} failed"
