"""Reads a Databricks metric view (YAML 1.1) by writing it as Ossie does.

https://docs.databricks.com/aws/en/metric-views/yaml-ref: a view joins everything to its source first, so every measure
counts the source's rows, and its filter holds for each of them. What is meant differently here stays different: a
trailing window leaves out the current day unless it says `inclusive`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from semantic_layer.errors import InvalidArgument
from semantic_layer.filter_form import filter_form
from semantic_layer.findings import Findings
from semantic_layer.metric import Grain, SemanticModel, quoted
from semantic_layer.predicate import TRUE, rename_fields
from semantic_layer.product import ColumnType, DataProduct
from semantic_layer.semantics.databricks_windows import Orders, window_of
from semantic_layer.semantics.fields import Names, source_of
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
from semantic_layer.sql.expressions import Scalar, read_formula, read_scalar
from semantic_layer.sql.filters import read_filter
from semantic_layer.yaml_file import Node

VENDOR = "DATABRICKS"
AS_DATE = "__as_date"
SOURCE = "source"
SUPPORTED = ("0.1", "1.1")

_VIEW = ("version", "source", "filter", "comment", "joins", "dimensions", "fields", "measures")
_FIELD = ("name", "expr", "comment", "display_name", "synonyms")
_MEASURE = (*_FIELD, "window")
_JOIN = ("name", "source", "on", "using", "joins", "cardinality")
_NAME = r"(?:`[^`]+`|\w+)"
_PAIR = re.compile(rf"\s*({_NAME}(?:\.{_NAME})+)\s*=\s*({_NAME}(?:\.{_NAME})+)\s*")
_AND = re.compile(r"\bAND\b", re.IGNORECASE)
_MEASURE_OF = re.compile(rf"\bMEASURE\s*\(\s*({_NAME})\s*\)", re.IGNORECASE)
_CUT = re.compile(r"\s*DATE_TRUNC\s*\(\s*'(\w+)'\s*,(.+)\)\s*", re.IGNORECASE | re.DOTALL)


def _as_date(name: str, cut: str) -> str:
    """The field of a filter that is cast to a date; raises InvalidArgument for other cuts."""
    if cut != "day":
        raise InvalidArgument(
            f"{name!r} cut to {cut} is not read in a filter.", hint="Compare the column, or its CAST to a date."
        )
    return name + AS_DATE


def is_metric_view(node: Node) -> bool:
    """Whether this document has the form of a Databricks metric view."""
    return given(node, "source") and any(given(node, key) for key in ("measures", "dimensions", "fields"))


def read_metric_view(node: Node, *, product: DataProduct, findings: Findings) -> SemanticModel:
    """The model in a metric view; every mistake is added to `findings`."""
    view = _View(node, findings, product)
    document = view.document()
    return read_ossie(document, product=product, findings=findings, names=view.names)


@dataclass
class _Table:
    """The source or a join of it, as the dataset it becomes."""

    name: str
    source: str
    place: Node
    keys: list[list[str]] = field(default_factory=list[list[str]])
    fields: list[Node] = field(default_factory=list[Node])
    known: set[str] = field(default_factory=set[str])


@dataclass
class _View:
    node: Node
    findings: Findings
    product: DataProduct
    names: Names = field(default_factory=Names)
    tables: dict[str, _Table] = field(default_factory=dict[str, _Table])
    relationships: list[Node] = field(default_factory=list[Node])
    owners: dict[str, str] = field(default_factory=dict[str, str])
    orders: Orders = field(default_factory=Orders)

    def document(self) -> Node:
        version = text_of(self.node, "version")
        if version not in SUPPORTED:
            self.wrong(self.node.at("version"), f"a metric view of version {version!r} is not read.", "Use 1.1.")
        self.base = self.table(self.node, self.node.at("source"), "")
        self.joins(self.node, SOURCE, self.base)
        for one in (*listed(self.node, "dimensions"), *listed(self.node, "fields")):
            self.dimension(one)
        condition = self.filter()
        metrics = [self.measure(one, condition) for one in listed(self.node, "measures")]
        own = {"time_spines": self.calendar()}
        model = {
            "name": self.base,
            "description": self.node.get("comment"),
            "datasets": [self.dataset(one) for one in self.tables.values()],
            "relationships": self.relationships,
            "metrics": [one for one in metrics if one is not None],
            "custom_extensions": extensions(self.node, own, VENDOR, _VIEW),
        }
        return made(self.node, {"version": VERSIONS[-1], "semantic_model": [made(self.node, model)]})

    def wrong(self, place: Node, message: str, suggestion: str = "") -> None:
        self.findings.problems.append(place.problem(message, suggestion))

    # -- tables and joins ----------------------------------------------------------------------------------

    def table(self, place: Node, source: Node, name: str) -> str:
        """Note a table under its name, or its last part; the name that the dataset goes by."""
        text = str(source.value) if isinstance(source.value, str) else ""
        if re.search(r"\s", text.strip()):
            self.wrong(source, "a source that is a query is not read.", "Name a table of the contract.")
            text = "query"
        last = text.strip().replace("`", "").split(".")[-1]
        wanted = name or last
        while wanted in self.tables:
            wanted += "_"
        self.tables[wanted] = _Table(wanted, f"{self.product.name}.{last}", place)
        self.names.aliases[name or SOURCE] = wanted
        return wanted

    def joins(self, node: Node, path: str, parent: str) -> None:
        """The joins below a table; a nested one is also called by its whole path."""
        for join in listed(node, "joins"):
            name = text_of(join, "name")
            if not name or name == SOURCE:
                self.wrong(join, f"a join cannot be named {name!r}.", "Give it a name of its own.")
                continue
            table = self.table(join, join.at("source"), name)
            whole = name if path == SOURCE else f"{path}.{name}"
            self.names.aliases[whole] = table
            self.relationship(join, parent, table, whole)
            self.joins(join, whole, table)

    def relationship(self, join: Node, parent: str, table: str, whole: str) -> None:
        pairs = list(self.pairs(join, parent, table))
        if not pairs:
            return
        here, there = [[pair[side] for pair in pairs] for side in (0, 1)]
        many = text_of(join, "cardinality").casefold() == "one_to_many"
        if many:
            self.tables[parent].keys.append(here)
        else:
            self.tables[table].keys.append(there)
            if join.at("rely", "at_most_one_match").value is not True:
                said = f"the join {whole!r} is taken to match at most one row, which nothing promises."
                self.findings.warnings.append(join.problem(said, "Write rely: {at_most_one_match: true}."))
        ends = (table, parent, there, here) if many else (parent, table, here, there)
        form = {
            "name": f"{ends[0]}_to_{ends[1]}",
            "from": ends[0],
            "to": ends[1],
            "from_columns": ends[2],
            "to_columns": ends[3],
            "custom_extensions": extensions(join, {}, VENDOR, _JOIN),
        }
        self.relationships.append(made(join, form))

    def pairs(self, join: Node, parent: str, table: str) -> Iterator[tuple[str, str]]:
        """The columns that a join equates, the parent's first."""
        for column in names_of(join, "using"):
            yield column, column
        if not given(join, "on"):
            return
        for part in _AND.split(text_of(join, "on")):
            found = _PAIR.fullmatch(part)
            sides = [one.replace("`", "").rpartition(".") for one in found.groups()] if found else []
            by_table = {self.names.aliases.get(owner, owner): column for owner, _, column in sides}
            if set(by_table) != {parent, table}:
                said = f"the join condition {part.strip()!r} is not read."
                self.wrong(join.at("on"), said, f"Equate a column of each side: {SOURCE}.id = {table}.id.")
                return
            yield by_table[parent], by_table[table]

    def dataset(self, table: _Table) -> Node:
        name = self.orders.default_time(table.name)
        form = {
            "name": table.name,
            "source": table.source,
            "unique_keys": table.keys,
            "fields": table.fields,
            "custom_extensions": extensions(made(table.place, {}), {"default_time": name}, VENDOR, ()),
        }
        return made(table.place, form)

    # -- dimensions ----------------------------------------------------------------------------------------

    def dimension(self, node: Node) -> None:
        """A dimension at the one table that it reads. One over several tables has no place, and is left out."""
        name, text = text_of(node, "name"), text_of(node, "expr") or text_of(node, "name")
        owner, columns = self.owner_of(node, text)
        if owner is None:
            return
        cut = _CUT.fullmatch(text)
        grain = cut[1].casefold() if cut and cut[1].casefold() in tuple(Grain) else ""
        own = {"label": text_of(node, "display_name"), "grain": grain}
        form = {
            "name": node.get("name"),
            "expression": made(node.get("expr") or node, expression(text, VENDOR)),
            "dimension": {},
            **described(node, comment="comment"),
            "custom_extensions": extensions(node, own, VENDOR, _FIELD),
        }
        self.tables[owner].fields.append(made(node, form))
        self.tables[owner].known.add(name)
        self.owners[name] = owner
        column = columns[0] if len(columns) == 1 else ""
        self.orders.add(name, owner, text, (grain, cut[2] if cut else ""), column)

    def calendar(self) -> list[dict[str, str]]:
        """The days that windows run over: a metric view knows no other calendar than the days in its data."""
        if self.orders.calendar is None:
            return []
        dataset, name = self.orders.calendar
        product, table = source_of(self.tables[dataset].source, self.product)
        declared = self.product.dataset(table)
        folded = {one.name.casefold(): one for one in declared.columns} if declared else {}
        column = folded.get(name.casefold())
        moments = column is not None and column.type is ColumnType.TIMESTAMP
        grain = Grain.MICROSECOND if moments else Grain.DAY
        kept = column.name if column else name
        return [{"product": product, "table": table, "column": kept, "grain": grain.value}]

    def owner_of(self, node: Node, text: str) -> tuple[str | None, list[str]]:
        """The one table whose row a dimension is a value of, None where there is none, and the columns it reads."""
        read: set[str] = set()
        columns: dict[str, None] = {}

        def noted(parts: Any) -> Scalar:
            owner = self.owner(parts)
            read.add(owner)
            columns[parts[-1]] = None
            return Scalar(quoted(owner, parts[-1]), frozenset())

        try:
            read_scalar(text, noted, dialect="databricks")
        except InvalidArgument as error:
            self.wrong(node.get("expr") or node, error.message, error.hint)
            return None, []
        unknown = sorted(read - self.tables.keys())
        if unknown:
            self.wrong(node.get("expr") or node, f"there is no join {unknown[0]!r}.", "Name it under `joins`.")
            return None, []
        if len(read) > 1:
            said = f"the dimension {text_of(node, 'name')!r} is left out: it reads {' and '.join(sorted(read))}."
            self.findings.warnings.append(node.problem(said, "A dimension here is a value of one table's row."))
            return None, []
        return next(iter(read), self.base), list(columns)

    def owner(self, parts: Any) -> str:
        """The table that a name in an expression belongs to. A bare one is a dimension before, or of the source."""
        if len(parts) > 1:
            path = ".".join(parts[:-1])
            return self.names.aliases.get(path, path)
        return self.owners.get(parts[0], self.base)

    # -- measures ------------------------------------------------------------------------------------------

    def filter(self) -> Any:
        """The view's filter, which holds for every measure, as a filter of ours."""
        place = self.node.get("filter")
        if place is None or place.value is None:
            return None
        try:
            found = read_filter(str(place.value), dialect="databricks", cut=_as_date)
        except InvalidArgument as error:
            self.wrong(place, error.message, error.hint)
            return None
        return (
            filter_form(rename_fields(found, lambda name: self.filtered(name, place))) if found != TRUE else None
        )

    def filtered(self, name: str, place: Node) -> str:
        """A field of a filter as `dataset.field`; a column that is no dimension becomes a field of its own."""
        parts = name.removesuffix(AS_DATE).split(".")
        table = self.tables.get(self.owner(parts))
        if table is None:
            self.wrong(place, f"the filter names no join {'.'.join(parts[:-1])!r}.")
            return name
        column, field_name = f"`{parts[-1]}`", parts[-1] + name[len(".".join(parts)) :]
        if field_name not in table.known:
            table.known.add(field_name)
            written = column if field_name == parts[-1] else f"CAST({column} AS DATE)"
            table.fields.append(made(place, {"name": field_name, "expression": expression(written, VENDOR)}))
        return f"{table.name}.{field_name}"

    def measure(self, node: Node, condition: Any) -> Node | None:
        written = text_of(node, "expr")
        text = _MEASURE_OF.sub(lambda found: "`" + found[1].strip("`") + "`", written)
        own: dict[str, Any] = {
            "label": text_of(node, "display_name"),
            "dataset": self.base,
            "joined_first": True,
            "filter": condition if not self.is_derived(text) else None,
        }
        if given(node, "window"):
            own |= window_of(node, self.orders, plain=self.inputs_of(text))
        form = {
            "name": node.get("name"),
            "expression": made(node.get("expr") or node, expression(text, VENDOR)) if text else None,
            **described(node, comment="comment"),
            "custom_extensions": extensions(node, own, VENDOR, _MEASURE),
        }
        return made(node, form)

    def is_derived(self, text: str) -> bool:
        """Whether it is computed from other measures alone, which the view's filter has already been put on."""
        return self.inputs_of(text) in ("measure", "derived")

    def inputs_of(self, text: str) -> str:
        """What a measure is made of: one `aggregate`, one other `measure`, `derived` from measures, or `several`."""
        try:
            found = read_formula(text, lambda parts: Scalar(quoted(*parts), frozenset()), dialect="databricks")
        except InvalidArgument:
            return "several"  # read again, and said to be a mistake, as the metric it becomes
        if not found.aggregates:
            return (
                "measure" if len(found.metrics) == 1 and found.expression == quoted(*found.metrics) else "derived"
            )
        return "aggregate" if found.expression == '"#0"' else "several"
