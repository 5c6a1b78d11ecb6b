"""Reads a Snowflake semantic view's YAML by writing it as Ossie does.

https://docs.snowflake.com/en/user-guide/views-semantic/semantic-view-yaml-spec: a metric of a table names that table's
columns bare, and is called `table.metric` elsewhere. What Ossie and the metric model have no words for (verified
queries, sample values, access modifiers) is kept as an extension of the vendor SNOWFLAKE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.product import DataProduct
from semantic_layer.semantics.fields import Names
from semantic_layer.semantics.nodes import (
    described,
    expression,
    extensions,
    given,
    listed,
    made,
    names_of,
    text_of,
)
from semantic_layer.semantics.ossie import VERSIONS, read_ossie
from semantic_layer.yaml_file import Node

VENDOR = "SNOWFLAKE"

_TYPES = (
    (
        re.compile(r"(NUMBER|DECIMAL|NUMERIC)\s*\(\s*\d+\s*,\s*0\s*\)|INT|INTEGER|BIGINT|SMALLINT|TINYINT"),
        "Integer",
    ),
    (re.compile(r"(NUMBER|DECIMAL|NUMERIC)\b.*"), "Decimal"),
    (re.compile(r"(FLOAT|DOUBLE|REAL)\b.*"), "Float"),
    (re.compile(r"(VARCHAR|TEXT|STRING|CHAR)\b.*"), "String"),
    (re.compile(r"BOOLEAN"), "Boolean"),
    (re.compile(r"DATE"), "Date"),
    (re.compile(r"TIMESTAMP_(TZ|LTZ)\b.*"), "DateTimeTz"),
    (re.compile(r"(TIMESTAMP|DATETIME)\w*\b.*"), "DateTime"),
    (re.compile(r"TIME\b.*"), "Time"),
)
_WINDOW = re.compile(r"\bOVER\s*\(", re.IGNORECASE)
_PLAIN = re.compile(r"\w+")
_VIEW = ("name", "description", "tables", "relationships", "metrics")
_TABLE = (
    "name", "description", "synonyms", "base_table", "primary_key", "unique_keys", "dimensions", "time_dimensions",
    "facts", "measures", "metrics",
)  # fmt: skip
_FIELD = ("name", "description", "synonyms", "expr", "data_type")
_METRIC = ("name", "description", "synonyms", "expr", "non_additive_dimensions")
_RELATIONSHIP = ("name", "left_table", "right_table", "relationship_columns")


def is_semantic_view(node: Node) -> bool:
    """Whether this document has the form of a Snowflake semantic view."""
    return any(one.get("base_table") is not None for one in listed(node, "tables"))


def read_semantic_view(node: Node, *, product: DataProduct, findings: Findings) -> SemanticModel:
    """The model in a semantic view; every mistake is added to `findings`."""
    view = _View(node, findings, product.name)
    document = view.document()
    return read_ossie(document, product=product, findings=findings, names=view.names)


@dataclass
class _View:
    node: Node
    findings: Findings
    product: str
    names: Names = field(default_factory=Names)

    def document(self) -> Node:
        tables = listed(self.node, "tables")
        model = {
            "name": self.node.get("name"),
            "description": self.node.get("description"),
            "datasets": [self.dataset(one) for one in tables],
            "relationships": [self.relationship(one) for one in listed(self.node, "relationships")],
            "metrics": [*self.table_metrics(tables), *(self.metric(one) for one in listed(self.node, "metrics"))],
            "custom_extensions": extensions(self.node, {}, VENDOR, _VIEW),
        }
        return made(self.node, {"version": VERSIONS[-1], "semantic_model": [made(self.node, model)]})

    # -- tables --------------------------------------------------------------------------------------------

    def dataset(self, table: Node) -> Node:
        base = table.at("base_table")
        source = text_of(base, "table") or text_of(base, "name") or text_of(table, "name")
        if given(base, "definition"):
            said = f"the table {text_of(table, 'name')!r} is a query."
            self.findings.problems.append(base.problem(said, "Name a table of the contract under base_table."))
        times = listed(table, "time_dimensions")
        kinds = [_type(one) for one in times]
        moments = [text_of(one, "name") for one, kind in zip(times, kinds, strict=True) if kind in _MOMENTS]
        own = {"default_time": moments[0] if len(moments) == 1 else ""}
        unique = [names_of(one, "columns") for one in listed(table, "unique_keys")]
        unique += [[text_of(one, "expr")] for one in self.dimensions(table) if one.at("unique").value is True]
        form = {
            "name": table.get("name"),
            "source": f"{self.product}.{source}",
            **described(table),
            "primary_key": names_of(table.at("primary_key"), "columns"),
            "unique_keys": [key for key in unique if all(_PLAIN.fullmatch(one) for one in key)],
            "fields": [
                *(self.field(one, {"is_time": False}) for one in listed(table, "dimensions")),
                *(self.field(one, {"is_time": True}) for one in times),
                *(self.field(one, None) for one in (*listed(table, "facts"), *_legacy(table))),
            ],
            "custom_extensions": extensions(table, own, VENDOR, _TABLE),
        }
        return made(table, form)

    def dimensions(self, table: Node) -> list[Node]:
        return [*listed(table, "dimensions"), *listed(table, "time_dimensions")]

    def field(self, node: Node, dimension: dict[str, bool] | None) -> Node:
        text = text_of(node, "expr") or text_of(node, "name")
        form = {
            "name": node.get("name"),
            "expression": made(node.get("expr") or node, expression(text, VENDOR)),
            "dimension": dimension,
            "datatype": _type(node) or None,
            **described(node),
            "custom_extensions": extensions(node, {}, VENDOR, _FIELD),
        }
        return made(node, form)

    def relationship(self, node: Node) -> Node:
        pairs = listed(node, "relationship_columns")
        form = {
            "name": node.get("name"),
            "from": node.get("left_table"),
            "to": node.get("right_table"),
            "from_columns": [text_of(one, "left_column") for one in pairs],
            "to_columns": [text_of(one, "right_column") for one in pairs],
            "custom_extensions": extensions(node, {}, VENDOR, _RELATIONSHIP),
        }
        return made(node, form)

    # -- metrics -------------------------------------------------------------------------------------------

    def table_metrics(self, tables: list[Node]) -> Iterator[Node]:
        """The metrics of tables; a name that two tables use is written with its table in front."""
        counts: dict[str, int] = {}
        for one in (metric for table in tables for metric in listed(table, "metrics")):
            counts[text_of(one, "name")] = counts.get(text_of(one, "name"), 0) + 1
        for table in tables:
            for one in listed(table, "metrics"):
                owner, name = text_of(table, "name"), text_of(one, "name")
                called = name if counts[name] == 1 else f"{owner}_{name}"
                self.names.metrics[f"{owner}.{name}"] = called
                yield self.metric(one, owner, called)

    def metric(self, node: Node, table: str = "", name: str = "") -> Node:
        text = text_of(node, "expr")
        own: dict[str, Any] = {"dataset": table, **self.levels(node), **self.unsupported(node, text)}
        if text_of(node, "access_modifier") == "private_access":
            said = f"the metric {text_of(node, 'name')!r} is private to its view, and the policy decides here."
            self.findings.warnings.append(
                node.problem(said, "Deny it in policy.yaml if it is not to be asked for.")
            )
        written = expression(text, VENDOR)
        if "unsupported" in own and _WINDOW.search(text):
            first = table or next((text_of(one, "name") for one in listed(self.node, "tables")), "")
            written = {
                "dialects": [*expression(f"COUNT({first}.*)", "ANSI_SQL")["dialects"], *written["dialects"]]
            }
            own |= {"formula": text}
        form = {
            "name": name or node.get("name"),
            "expression": made(node.get("expr") or node, written) if text else None,
            **described(node),
            "custom_extensions": extensions(node, own, VENDOR, _METRIC),
        }
        return made(node, form)

    def levels(self, node: Node) -> dict[str, Any]:
        """Over which time a level must not be summed: its last moment counts, or its first where sorted downward."""
        times = listed(node, "non_additive_dimensions")
        if len(times) != 1:
            return {}
        time = ".".join(text for key in ("table", "dimension") if (text := text_of(times[0], key)))
        downward = text_of(times[0], "sort_direction").casefold() == "descending"
        return {"non_additive": {"time": time, "choice": "min" if downward else "max"}}

    def unsupported(self, node: Node, text: str) -> dict[str, str]:
        """Why a metric that is read cannot be computed: it is refused by that, never computed differently."""
        if _WINDOW.search(text):
            return {"unsupported": "is a window function over other metrics"}
        if len(listed(node, "non_additive_dimensions")) > 1:
            return {"unsupported": "is non-additive over several dimensions"}
        if given(node, "using_relationships"):
            return {"unsupported": "chooses the relationships it is joined by"}
        return {}


_MOMENTS = ("Date", "DateTime", "DateTimeTz")


def _legacy(table: Node) -> list[Node]:
    """`measures:` of older semantic models: row values with a default aggregation, called facts today."""
    return listed(table, "measures")


def _type(node: Node) -> str:
    stated = text_of(node, "data_type").strip().upper()
    return next((name for form, name in _TYPES if form.fullmatch(stated)), "")
