"""ODCS quality rules as checks: the library's metrics compiled to DuckDB SQL, and SQL rules as they stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from indexes.duck.connection import quoted
from ingest.check import Check
from ingest.column_checks import repeated
from semantic_layer.product import Dataset, QualityRule

_WORDS: Mapping[str, tuple[str, Callable[[float, Any], bool]]] = {
    "mustBe": ("be", lambda value, bound: value == bound),
    "mustNotBe": ("not be", lambda value, bound: value != bound),
    "mustBeGreaterThan": ("be more than", lambda value, bound: value > bound),
    "mustBeGreaterOrEqualTo": ("be at least", lambda value, bound: value >= bound),
    "mustBeLessThan": ("be less than", lambda value, bound: value < bound),
    "mustBeLessOrEqualTo": ("be at most", lambda value, bound: value <= bound),
    "mustBeBetween": ("lie between", lambda value, bound: bound[0] <= value <= bound[1]),
    "mustNotBeBetween": ("not lie between", lambda value, bound: not bound[0] <= value <= bound[1]),
}
"""Each operator in words and as a test; both ends of a range belong to it."""

_PLACEHOLDER = re.compile(r"\$?\{(object|table|model|property|column|field)\}")


def rule_check(dataset: Dataset, rule: QualityRule) -> Check:
    """The check of one rule.

    `missingValues` counts NULL and the values listed ('' where none are), `duplicateValues` the rows after the
    first of each value, `invalidValues` the values that are not listed or do not match.
    """
    failing, parameters = _failing(dataset, rule)
    table = f"main.{quoted(dataset.name)}"
    words, test = _WORDS[rule.operator]
    unit = " %" if rule.unit == "percent" else ""
    if rule.metric == "sql":
        measured = _PLACEHOLDER.sub(lambda found: _named(found[1], dataset, rule), rule.query)
    elif rule.metric == "rowCount":
        measured = f"SELECT count(*) FROM {table}"
    elif unit:
        measured = f"SELECT 100.0 * count(*) FILTER (WHERE {failing}) / greatest(count(*), 1) FROM {table}"
    else:
        measured = f"SELECT count(*) FROM {table} WHERE {failing}"
    return Check(
        name=f"{dataset.name}: {rule.name}",
        dataset=dataset.name,
        column=rule.column,
        promise=f"{_subject(rule)} must {words} {rule.bound}{unit}",
        measured=measured,
        holds=lambda value: test(value, rule.bound),
        severity=rule.severity,
        failing=failing,
        parameters=parameters,
        own_sql=rule.metric == "sql",
        line=rule.line,
    )


def _subject(rule: QualityRule) -> str:
    """What a message calls the rule's number: its metric, or the name its author gave the query."""
    if rule.metric != "sql":
        return rule.metric
    return f"the query {rule.name!r}" if rule.name else "the query"


def _failing(dataset: Dataset, rule: QualityRule) -> tuple[str, dict[str, Any]]:
    """The condition of the rows that the metric counts, and its values."""
    column = quoted(rule.column)
    match rule.metric:
        case "nullValues":
            return f"{column} IS NULL", {}
        case "missingValues":
            listed = rule.arguments.get("missingValues", [None, ""])
            texts = {f"v{i}": str(one) for i, one in enumerate(listed) if one is not None}
            known = f"CAST({column} AS VARCHAR) IN ({_places(texts)})" if texts else "FALSE"
            return f"({column} IS NULL OR {known})", texts
        case "invalidValues":
            return _invalid(column, rule)
        case "duplicateValues":
            columns = tuple(rule.arguments.get("properties") or (rule.column,))
            return repeated(dataset, columns), {}
        case _:
            return "", {}


def _invalid(column: str, rule: QualityRule) -> tuple[str, dict[str, Any]]:
    parameters: dict[str, Any] = {}
    parts: list[str] = []
    if "validValues" in rule.arguments:
        parameters |= {f"v{i}": str(one) for i, one in enumerate(rule.arguments["validValues"])}
        parts.append(f"CAST({column} AS VARCHAR) NOT IN ({_places(parameters)})" if parameters else "TRUE")
    if "pattern" in rule.arguments:
        parts.append(f"NOT regexp_matches(CAST({column} AS VARCHAR), $pattern)")
        parameters["pattern"] = str(rule.arguments["pattern"])
    return f"{column} IS NOT NULL AND ({' OR '.join(parts) or 'FALSE'})", parameters


def _places(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"${name}" for name in parameters)


def _named(word: str, dataset: Dataset, rule: QualityRule) -> str:
    return quoted(rule.column) if word in ("property", "column", "field") and rule.column else quoted(dataset.name)
