"""Reads ODCS quality rules: the library's metrics, 3.0's older names for them, and SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from open_data_contract_standard.model import DataQuality

from semantic_layer.errors import close_names
from semantic_layer.findings import Findings
from semantic_layer.product import QualityRule
from semantic_layer.section import unknown_key, unknown_name
from semantic_layer.yaml_file import Node

METRICS: Mapping[str, tuple[str, ...]] = {
    "rowCount": (),
    "nullValues": (),
    "missingValues": ("missingValues",),
    "invalidValues": ("validValues", "pattern"),
    "duplicateValues": ("properties",),
}
"""The library's metrics and the arguments each takes."""

OLDER_RULES: Mapping[str, str] = {
    "countCheck": "rowCount",
    "nullCheck": "nullValues",
    "nullCount": "nullValues",
    "missingCount": "missingValues",
    "invalidCount": "invalidValues",
    "validValues": "invalidValues",
    "duplicateCount": "duplicateValues",
    "duplicateCheck": "duplicateValues",
    "uniqueCheck": "duplicateValues",
}
"""ODCS 3.0 named a `rule` where 3.1 names a `metric`."""

OPERATORS = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)
TYPES = ("library", "sql", "text", "custom")
UNITS = ("rows", "percent")
SEVERITIES: Mapping[str, Literal["error", "warning"]] = {
    "error": "error",
    "critical": "error",
    "high": "error",
    "warning": "warning",
    "medium": "warning",
    "low": "warning",
    "info": "warning",
}


def read_quality(
    rules: list[DataQuality] | None,
    node: Node | None,
    *,
    column: str,
    columns: tuple[str, ...],
    findings: Findings,
) -> list[QualityRule]:
    """The rules that a build checks. `node` is the list they stand in, `column` empty for rules of a dataset.

    `text` rules are for people and `custom` rules for other tools: neither is checked, and validation says so.
    """
    read = (
        _Reader(rule, place, column, columns, findings).rule()
        for rule, place in zip(rules or (), (node.items if node else None) or (), strict=True)
    )
    return [rule for rule in read if rule is not None]


@dataclass
class _Reader:
    quality: DataQuality
    node: Node
    column: str
    columns: tuple[str, ...]
    findings: Findings

    def rule(self) -> QualityRule | None:
        quality = self.quality
        kind = quality.type or ("sql" if quality.query and not (quality.metric or quality.rule) else "library")
        if kind not in TYPES:
            self.wrong(f"no quality type {kind!r}.", "Use one of " + ", ".join(TYPES) + ".")
            return None
        if kind in ("text", "custom"):
            if kind == "custom":
                self.note(f"a custom quality rule for {quality.engine or 'another tool'} is not checked here.")
            return None
        metric = self.metric() if kind == "library" else "sql"
        if kind == "sql" and not (quality.query or "").strip():
            self.wrong("a quality rule of type sql needs a `query`.", "Write the query that gives one number.")
            return None
        if metric is None or (comparison := self.comparison(metric)) is None:
            return None
        return self.built(metric, *comparison)

    def built(self, metric: str, operator: str, bound: Any) -> QualityRule:
        quality = self.quality
        subject = f"{self.column} {metric}".strip()
        return QualityRule(
            name=quality.name or quality.id or f"{subject} {operator} {bound}",
            metric=metric,
            operator=operator,
            bound=bound,
            column="" if metric == "rowCount" else self.column,
            query=(quality.query or "").strip() if metric == "sql" else "",
            arguments=self.arguments(metric),
            unit=self.unit(metric),
            severity=self.severity(),
            dimension=quality.dimension or "",
            description=quality.description or "",
            line=self.node.line,
        )

    def metric(self) -> str | None:
        """The library metric, under its name of today."""
        asked = self.quality.metric or self.quality.rule
        if not asked:
            self.wrong("a quality rule needs a `metric`.", "Use one of " + ", ".join(METRICS) + ".")
            return None
        metric = asked if asked in METRICS else OLDER_RULES.get(asked)
        if metric is None and not self.quality.metric:
            self.note(f"the rule {asked!r} is none of ODCS's library and is not checked here.")
            return None
        if metric is None:
            self.findings.problems.append(unknown_name(self.node.at("metric"), "quality metric", asked, METRICS))
            return None
        if metric in ("nullValues", "missingValues", "invalidValues") and not self.column:
            self.wrong(f"{metric} counts the values of one column.", "Move the rule under its property.")
            return None
        if metric == "duplicateValues" and not self.column and not self.arguments(metric).get("properties"):
            self.wrong("duplicateValues of a dataset needs its columns.", "Add arguments: {properties: [a, b]}.")
            return None
        return metric

    def comparison(self, metric: str) -> tuple[str, Any] | None:
        """The operator and its bound; 3.0's checks without one mean that no value may fail."""
        given = [operator for operator in OPERATORS if getattr(self.quality, operator) is not None]
        if not given and not self.quality.metric and metric not in ("rowCount", "sql"):
            return "mustBe", 0
        if not given and self.quality.rule and not self.quality.metric:
            self.note(f"the rule {self.quality.rule!r} has no bound and is not checked here.")
            return None
        if len(given) != 1:
            said = "names no operator" if not given else "names " + " and ".join(given)
            self.wrong(f"a quality rule needs one operator; this one {said}.", "Write mustBe: 0, say.")
            return None
        bound: Any = getattr(self.quality, given[0])
        if given[0].endswith("Between") and bound[0] > bound[1]:
            self.wrong(f"{given[0]} needs the smaller number first, not {bound}.", f"Write {bound[::-1]}.")
            return None
        if metric != "sql" and not given[0].endswith("Between") and not _number(bound):
            self.wrong(f"{given[0]} of {metric} must be a number, not {bound!r}.", "A metric counts.")
            return None
        return given[0], bound

    def arguments(self, metric: str) -> Mapping[str, Any]:
        given = dict(self.quality.arguments or {})
        older = self.node.get("validValues")
        if older is not None and metric == "invalidValues":
            given["validValues"] = older.plain()
        place = self.node.get("arguments") or self.node
        for name in given:
            if metric in METRICS and name not in METRICS[metric]:
                self.once(unknown_key(place.get(name) or place, name, METRICS[metric], f"{metric}'s arguments"))
        if metric == "duplicateValues":
            for name in given.get("properties") or ():
                if name not in self.columns:
                    self.once(unknown_name(place.get("properties") or place, "column", str(name), self.columns))
        return given

    def unit(self, metric: str) -> str:
        unit = self.quality.unit or "rows"
        if metric != "sql" and unit not in UNITS:
            self.wrong(f"no unit {unit!r} for {metric}.", "Use rows or percent.")
        return unit

    def severity(self) -> Literal["error", "warning"]:
        asked = self.quality.severity or "error"
        if asked.casefold() not in SEVERITIES:
            near = close_names(asked, SEVERITIES) or ("error", "warning")
            self.wrong(f"no severity {asked!r}.", "Use " + " or ".join(near) + ".")
        return SEVERITIES.get(asked.casefold(), "error")

    def once(self, problem: Any) -> None:
        if problem not in self.findings.problems:
            self.findings.problems.append(problem)

    def wrong(self, message: str, suggestion: str) -> None:
        self.findings.problems.append(self.node.problem(message, suggestion))

    def note(self, message: str) -> None:
        self.findings.warnings.append(self.node.problem(message))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
