"""Runs a suite against a snapshot and says, case by case, what held and what did not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from evals.ask import Asker
from evals.scores import retrieval_scores
from indexes.document import Hit
from semantic_layer.errors import Refused, UnknownName, WellheadError
from semantic_layer.suite import ForbiddenCase, MetricCase, RetrievalCase, Suite

Kind = Literal["retrieval", "metric", "forbidden"]


@dataclass(frozen=True)
class CaseResult:
    """One case: whether it held, and in one sentence why not. Retrieval cases hold with a hit in the first ten."""

    product: str
    kind: Kind
    id: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class SuiteResult:
    """A product's cases and its retrieval scores (0..1)."""

    product: str
    cases: tuple[CaseResult, ...]
    scores: Mapping[str, float]
    floors: Mapping[str, float]

    @property
    def below_floor(self) -> tuple[str, ...]:
        """The measures that miss their floor."""
        return tuple(name for name, floor in self.floors.items() if self.scores.get(name, 0.0) < floor)


def run_suite(asker: Asker, suite: Suite, *, retrieval: bool = True) -> SuiteResult:
    """Every case of the suite; `retrieval` leaves out the questions, which only a changed product needs."""
    questions = suite.retrieval if retrieval else ()
    ranked = {case.id: ranked_names(asker, case, suite.product) for case in questions}
    relevant = {case.id: case.relevant for case in questions}
    cases = (
        *(_retrieval_result(suite.product, case, ranked[case.id]) for case in questions),
        *(_metric_result(asker, suite.product, case) for case in suite.metrics),
        *(_forbidden_result(asker, suite.product, case) for case in suite.forbidden),
    )
    floors = dict(suite.floors or {}) if retrieval else {}
    return SuiteResult(suite.product, cases, retrieval_scores(ranked, relevant), floors)


def ranked_names(asker: Asker, case: RetrievalCase, product: str, dense_weight: float | None = None) -> list[str]:
    """The names that the case may mean, in rank order, each once."""
    try:
        hits = asker.search(case.principal, case.question, (product,), case.filters, dense_weight=dense_weight)
    except (Refused, UnknownName):
        # A principal that may no longer search finds nothing: the score falls, the run goes on.
        return []
    return list(dict.fromkeys(_name(hit, case.relevant) for hit in hits))


def _name(hit: Hit, relevant: frozenset[str]) -> str:
    """How the case names this hit: by page, by dataset and key, or by document."""
    names = (f"{hit.document}#p{hit.page}", f"{hit.dataset}:{hit.document}")
    return next((name for name in names if name in relevant), hit.document)


def _retrieval_result(product: str, case: RetrievalCase, ranked: Sequence[str]) -> CaseResult:
    found = next((rank for rank, name in enumerate(ranked, 1) if name in case.relevant), 0)
    detail = f"first relevant at rank {found}" if found else f"none of {sorted(case.relevant)} in the first ten"
    return CaseResult(product, "retrieval", case.id, bool(found), detail)


def _metric_result(asker: Asker, product: str, case: MetricCase) -> CaseResult:
    try:
        measured = asker.measure(case.principal, case.query)
    except WellheadError as error:
        return CaseResult(product, "metric", case.id, False, str(error))
    rows = [_row(row, measured.columns) for row in measured.rows]
    difference = rows_differ(case.expect, rows, case.tolerance)
    return CaseResult(product, "metric", case.id, not difference, difference)


def _row(row: Any, columns: Sequence[Any]) -> Mapping[str, Any]:
    return row if isinstance(row, Mapping) else dict(zip((column.name for column in columns), row, strict=True))


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, (Decimal, date)) else repr(value)


def rows_differ(
    expected: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], tolerance: float
) -> str:
    """The first difference between two sets of rows in one sentence, empty where there is none. Order is free."""
    if len(expected) != len(found):
        return f"{len(found)} rows instead of {len(expected)}"
    names = tuple(expected[0]) if expected else ()
    for wanted, got in zip(_ordered(expected, names), _ordered(found, names), strict=True):
        for name in names:
            if name not in got:
                return f"no column {name!r} in the answer"
            if not _equal(wanted[name], got[name], tolerance):
                row = ", ".join(f"{key}: {_shown(value)}" for key, value in wanted.items())
                return f"{name} is {_shown(got[name])} instead of {_shown(wanted[name])} in the row {{{row}}}"
    return ""


def _ordered(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> list[Mapping[str, Any]]:
    """By the columns that are not numbers, which group; numbers break ties."""

    def key(row: Mapping[str, Any]) -> tuple[list[str], list[float]]:
        shown = [_comparable(row.get(name)) for name in names]
        return [one for one in shown if isinstance(one, str)], [one for one in shown if isinstance(one, float)]

    return sorted(rows, key=key)


def _equal(wanted: Any, got: Any, tolerance: float) -> bool:
    first, second = _comparable(wanted), _comparable(got)
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=tolerance, abs_tol=1e-12)
    return first == second


def _comparable(value: Any) -> str | float:
    """Numbers as floats; days and midnights alike as ISO dates; NULL as the empty text."""
    if isinstance(value, bool) or value is None:
        return {None: "", True: "true", False: "false"}[value]
    if isinstance(value, (int, float, Decimal)):
        return float(value)
    if isinstance(value, (date, datetime)):
        value = value.isoformat()
    return str(value).removesuffix("+00:00").removesuffix("Z").removesuffix("T00:00:00")


def _forbidden_result(asker: Asker, product: str, case: ForbiddenCase) -> CaseResult:
    try:
        text = asker.answer_text(case.principal, case.ask, case.arguments)
    except (Refused, UnknownName):
        return CaseResult(product, "forbidden", case.id, True, "refused")
    except WellheadError as error:
        return CaseResult(product, "forbidden", case.id, False, f"could not be asked: {error}")
    if case.refused:
        return CaseResult(product, "forbidden", case.id, False, "was answered instead of refused")
    leaked = [never for never in case.never if never.casefold() in text.casefold()]
    return CaseResult(product, "forbidden", case.id, not leaked, f"{leaked!r} came back" if leaked else "held")
