"""Cases in `policy.yaml`: who must and must not see what, decided without any data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from semantic_layer.errors import InvalidFilter, UnknownName
from semantic_layer.findings import Findings
from semantic_layer.policy import Action, DatasetGrant, Grant, Policy, decide
from semantic_layer.predicate import coerce, evaluate, fields_of
from semantic_layer.principal import Principal
from semantic_layer.product import Column, DataProduct, Dataset
from semantic_layer.section import Section, unknown_name
from semantic_layer.settings import read_principal
from semantic_layer.yaml_file import Node

_CASE = ("name", "as", "action", "dataset", "allowed", "sees", "masks", "hides", "rows", "metrics")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class PolicyCase:
    """What one principal must be granted. Columns are of `dataset`; rows are examples of it, by column."""

    name: str
    principal: Principal
    action: Action
    dataset: str = ""
    allowed: bool | None = None
    sees: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()
    rows_shown: tuple[Row, ...] = ()
    rows_hidden: tuple[Row, ...] = ()
    metrics_allowed: tuple[str, ...] = ()
    metrics_refused: tuple[str, ...] = ()
    line: int = 0


def failures(case: PolicyCase, product: DataProduct, policy: Policy | None) -> tuple[str, ...]:
    """What of the case does not hold, a sentence each; none where it passes."""
    grant = decide(case.principal, product, case.action, policy)
    return tuple(_failures(case, product, grant))


def _failures(case: PolicyCase, product: DataProduct, grant: Grant) -> Iterator[str]:
    held = grant.dataset(case.dataset)
    allowed = bool(held.allowances) if case.dataset else grant.allowed
    if case.allowed is not None and allowed != case.allowed:
        yield f"{case.action.value} is {'granted' if allowed else 'not granted'} ({grant.reason})."
    yield from _columns(case, held)
    for wanted, rows in ((True, case.rows_shown), (False, case.rows_hidden)):
        for row in rows:
            yield from _row(row, wanted, case, product, held)
    for name in case.metrics_allowed:
        if not grant.allows_metric(name):
            yield f"the metric {name!r} is refused."
    for name in case.metrics_refused:
        if grant.allows_metric(name):
            yield f"the metric {name!r} is allowed."


def _columns(case: PolicyCase, held: DatasetGrant) -> Iterator[str]:
    for wanted, names in (("plain", case.sees), ("masked", case.masks), ("hidden", case.hides)):
        for name in names:
            found = "plain" if name in held.columns else "masked" if name in held.masked else "hidden"
            if found != wanted:
                yield f"column {name!r} is {found}, not {wanted}."


def _row(row: Row, wanted: bool, case: PolicyCase, product: DataProduct, held: DatasetGrant) -> Iterator[str]:
    """Whether this example row is shown, with the columns that the case says are."""
    dataset = product.dataset(case.dataset)
    columns = {column.name: column for column in dataset.columns} if dataset else {}
    access = held.access((*case.sees, *case.masks))
    lacking = sorted(fields_of(access.rows) - row.keys())
    if lacking:
        yield f"the row {dict(row)} needs a value for {', '.join(lacking)}: the policy filters by it."
        return
    shown = evaluate(access.rows, {name: _value(value, columns[name]) for name, value in row.items()}) is True
    if shown != wanted:
        yield f"the row {dict(row)} is {'shown' if shown else 'hidden'}."


def _value(raw: Any, column: Column) -> Any:
    element = column.items if column.items is not None else column.type
    if isinstance(raw, list):
        return tuple(coerce(one, element, column.name) for one in raw)
    return None if raw is None else coerce(raw, element, column.name)


def read_policy_cases(
    node: Node, *, product: DataProduct, metrics: Iterable[str] | None, findings: Findings
) -> tuple[PolicyCase, ...]:
    """The cases of a policy.yaml. Every mistake is added to `findings`; `metrics` None are not checked."""
    top = Section(node, node.mapping or (), "policy.yaml", findings.problems)
    reader = _Reader(product, None if metrics is None else tuple(metrics))
    return tuple(reader.case(section) for section in top.sections("cases", _CASE, "a policy case"))


@dataclass
class _Reader:
    product: DataProduct
    metrics: tuple[str, ...] | None

    def case(self, section: Section) -> PolicyCase:
        section.required("name", "as", "action")
        dataset = self.dataset(section)
        rows = section.section("rows", ("shown", "hidden"))
        metrics = section.section("metrics", ("allowed", "refused"))
        expected = ("allowed", "sees", "masks", "hides", "rows", "metrics")
        if not any(section.node_of(key) for key in expected):
            section.wrong("this case expects nothing.", "Add allowed, sees, masks, hides, rows or metrics.")
        if dataset is None and any(section.node_of(key) for key in ("sees", "masks", "hides", "rows")):
            section.wrong("columns and rows need a `dataset`.", "Add dataset: with its name.")
        return PolicyCase(
            name=section.text("name"),
            principal=read_principal(section.node_of("as"), problems=section.problems, subject="case"),
            action=section.choice("action", tuple(Action), Action.DISCOVER),
            dataset=dataset.name if dataset else "",
            allowed=section.flag("allowed") if section.node_of("allowed") else None,
            sees=self.columns(section, "sees", dataset),
            masks=self.columns(section, "masks", dataset),
            hides=self.columns(section, "hides", dataset),
            rows_shown=self.rows(rows, "shown", dataset),
            rows_hidden=self.rows(rows, "hidden", dataset),
            metrics_allowed=self.names(metrics, "allowed", "metric", self.metrics),
            metrics_refused=self.names(metrics, "refused", "metric", self.metrics),
            line=section.node.line,
        )

    def dataset(self, section: Section) -> Dataset | None:
        name = section.text("dataset")
        found = self.product.dataset(name)
        if name and found is None:
            known = [one.name for one in self.product.datasets]
            section.problems.append(unknown_name(section.node.at("dataset"), "dataset", name, known))
        return found

    def columns(self, section: Section, key: str, dataset: Dataset | None) -> tuple[str, ...]:
        known = [column.name for column in dataset.columns] if dataset else None
        return self.names(section, key, "column", known)

    def names(self, section: Section, key: str, kind: str, known: Iterable[str] | None) -> tuple[str, ...]:
        names = section.text_nodes(key)
        allowed = tuple(known) if known is not None else tuple(str(item.value) for item in names)
        for item in names:
            if item.value not in allowed:
                section.problems.append(unknown_name(item, kind, str(item.value), allowed))
        return tuple(str(item.value) for item in names)

    def rows(self, section: Section, key: str, dataset: Dataset | None) -> tuple[Row, ...]:
        found: list[Row] = []
        columns = {column.name: column for column in dataset.columns} if dataset else {}
        for item in section.nodes(key):
            row = item.plain()
            if not isinstance(row, dict):
                section.problems.append(item.problem("a row is a mapping from column to value."))
                continue
            try:
                for name, value in row.items():
                    if name not in columns:
                        raise UnknownName("column", name, columns)
                    _value(value, columns[name])
                found.append(row)
            except (UnknownName, InvalidFilter) as error:
                section.problems.append(item.problem(error.message, error.hint))
        return tuple(found)
