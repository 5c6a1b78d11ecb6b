"""Reads Apache Ossie semantic models (0.1.0, 0.1.1, 0.2.0.dev0; YAML or JSON, listed or flat) unchanged.

https://github.com/apache/ossie: keys that the specification does not know and other vendors' extensions are left
alone, since the format is a moving draft; a misspelt name or an expression that cannot be read is a problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from semantic_layer.errors import InvalidArgument, UnknownName
from semantic_layer.findings import Findings
from semantic_layer.metric import (
    Dimension,
    Grain,
    Metric,
    MetricInput,
    Relationship,
    SemanticDataset,
    SemanticModel,
)
from semantic_layer.product import ColumnType, DataProduct
from semantic_layer.section import unknown_name
from semantic_layer.semantics.extension import (
    DATASET,
    FIELD,
    MODEL,
    RELATIONSHIP,
    read_extension,
    read_metric_extension,
    read_time_zone,
)
from semantic_layer.semantics.fields import DatasetNames, Names, base_of, elsewhere, source_of
from semantic_layer.semantics.kept import DOCUMENT, kept_of
from semantic_layer.semantics.measures import read_inputs
from semantic_layer.semantics.stated import Stated
from semantic_layer.sql.expressions import Scalar, read_scalar
from semantic_layer.yaml_file import Node

VERSIONS = ("0.1.0", "0.1.1", "0.2.0.dev0")

_DIALECTS: Mapping[str, str] = {
    "ANSI_SQL": "",
    "SNOWFLAKE": "snowflake",
    "DATABRICKS": "databricks",
    "BIGQUERY": "bigquery",
    "DUCKDB": "duckdb",
}
_TYPES: Mapping[str, ColumnType] = {
    "String": ColumnType.STRING,
    "Integer": ColumnType.INTEGER,
    "Decimal": ColumnType.DECIMAL,
    "Float": ColumnType.NUMBER,
    "Boolean": ColumnType.BOOLEAN,
    "Date": ColumnType.DATE,
    "Time": ColumnType.TIME,
    "DateTime": ColumnType.TIMESTAMP,
    "DateTimeTz": ColumnType.TIMESTAMP,
}
_TIMES = (ColumnType.DATE, ColumnType.TIMESTAMP)
_APART = (
    "label",
    "unit",
    "owner",
    "default_time",
    "filter",
    "non_additive",
    "certification",
    "dataset",
    "joined_first",
)
"""Keys of a metric's extension that are read one by one."""


def is_ossie(node: Node) -> bool:
    """Whether this document has an Ossie model's form."""
    return node.get("semantic_model") is not None or (
        node.get("datasets") is not None and node.get("semantic_models") is None
    )


def read_ossie(
    node: Node, *, product: DataProduct, findings: Findings, names: Names | None = None
) -> SemanticModel:
    """The model that an Ossie document describes; every mistake is added to `findings`.

    `names` brings other names of its datasets and metrics. A product without datasets knows no columns: then none
    is checked.
    """
    _check_version(node, findings)
    listed = node.get("semantic_model")
    models = [node] if listed is None else list(listed.items or (listed,))
    reader = _Reader(product, findings, names or Names())
    return reader.model(models, node)


def _check_version(node: Node, findings: Findings) -> None:
    version = node.at("version")
    if version is node:
        findings.problems.append(
            node.problem("an Ossie file needs `version`.", f'Write version: "{VERSIONS[-1]}".')
        )
    elif str(version.value) not in VERSIONS:
        known = ", ".join(VERSIONS)
        findings.problems.append(version.problem(f"Ossie {version.value!r} is not supported.", f"Use {known}."))


@dataclass
class _Reader:
    product: DataProduct
    findings: Findings
    names: Names = field(default_factory=Names)
    datasets: dict[str, SemanticDataset] = field(default_factory=dict[str, SemanticDataset])

    def model(self, models: Sequence[Node], top: Node) -> SemanticModel:
        """One model out of all the models of the file: their datasets and metrics share one space of names."""
        for node in models:
            for dataset in self.named(node, "datasets", "dataset", self.datasets):
                self.datasets[str(dataset.at("name").value)] = self.dataset(dataset)
        relationships = tuple(
            found
            for node in models
            for one in self.named(node, "relationships", "relationship", set())
            if (found := self.relationship(one)) is not None
        )
        metrics: dict[str, Metric] = {}
        for node in models:
            for metric in self.named(node, "metrics", "metric", metrics):
                found = self.metric(metric, relationships)
                if found is not None:
                    metrics[found.name] = found
        first = models[0] if models else top
        extensions = [read_extension(one, MODEL, "the model", self.findings.problems) for one in models]
        model = SemanticModel(
            product=self.product.name,
            name=_text(first, "name"),
            datasets=tuple(self.datasets.values()),
            relationships=relationships,
            metrics=tuple(metrics.values()),
            time_zone=next((zone for one in extensions if (zone := read_time_zone(one))), ""),
            fiscal_year_start_month=next(
                (month for one in extensions if (month := one.integer("fiscal_year_start_month", low=1, high=12))),
                0,
            ),
            description=_text(first, "description"),
            instructions=_instructions(first),
            file=top.file,
            kept=_kept_of_model(models, top),
        )
        for extension in extensions:
            model = self.stated.over(model, extension, ("time_zone", "fiscal_year_start_month"))
        return model

    @property
    def stated(self) -> Stated:
        """Reads what extensions state, by the names of this file."""
        return Stated(self.names)

    def named(self, node: Node, key: str, what: str, taken: object) -> Iterator[Node]:
        """The items of a list that have a name of their own; the others are problems."""
        listed = node.get(key)
        if listed is None or listed.value is None:
            return
        if listed.items is None:
            self.wrong(listed, f"`{key}` must be a list.", "Start each item with `- `.")
            return
        seen: dict[str, int] = {}
        for item in listed.items:
            name = item.at("name").value if item.mapping is not None else None
            if not isinstance(name, str) or not name:
                self.wrong(item, f"a {what} needs a `name`.", "Add name: …")
            elif name in seen or (isinstance(taken, Mapping) and name in taken):
                self.wrong(item, f"the {what} {name!r} stands twice.", "Rename one.")
            else:
                seen[name] = item.line
                yield item

    # -- datasets ------------------------------------------------------------------------------------------

    def dataset(self, node: Node) -> SemanticDataset:
        name = _text(node, "name")
        source = _text(node, "source")
        if not source:
            self.wrong(node, f"the dataset {name!r} needs a `source`.", f"Write source: {name}.")
        product, table = source_of(source or name, self.product)
        contract = self.product.dataset(table) if product == self.product.name else None
        if contract is None and product == self.product.name and source and self.product.datasets:
            known = [one.name for one in self.product.datasets]
            self.findings.problems.append(unknown_name(node.at("source"), "dataset of the contract", table, known))
        names = self.names.datasets[name] = DatasetNames(name, product, table, contract)
        dimensions = tuple(
            found for one in self.named(node, "fields", "field", set()) if (found := self.dimension(one, names))
        )
        extension = read_extension(node, DATASET, f"dataset {name!r}", self.findings.problems)
        default_time = extension.text("default_time")
        times = [one.name for one in dimensions if one.is_time]
        if default_time and default_time not in times:
            place = extension.node.at("default_time")
            self.findings.problems.append(unknown_name(place, "time field", default_time, times))
        found = SemanticDataset(
            name=name,
            product=product,
            table=table,
            dimensions=dimensions,
            key=self.key(node.get("primary_key"), names) or (contract.key if contract else ()),
            unique_keys=self.unique_keys(node, names),
            default_time=default_time,
            primary_entity=extension.text("primary_entity"),
            description=_text(node, "description"),
            synonyms=_synonyms(node),
            line=node.line,
            kept=kept_of("dataset", node),
        )
        return self.stated.over(found, extension, ("default_time", "primary_entity"))

    def unique_keys(self, node: Node, names: DatasetNames) -> tuple[tuple[str, ...], ...]:
        listed = node.get("unique_keys")
        declared = [self.key(one, names) for one in (listed.items if listed else None) or ()]
        contract = names.contract
        promised = [(column.name,) for column in contract.columns if column.unique] if contract else []
        every = [*declared, *promised, contract.key if contract else ()]
        return tuple(dict.fromkeys(key for key in every if key))

    def key(self, node: Node | None, names: DatasetNames) -> tuple[str, ...]:
        found: list[str] = []
        for item in (node.items if node else None) or ():
            try:
                ((_, column),) = names.physical(str(item.value)).columns
                found.append(column)
            except InvalidArgument as error:
                self.wrong(item, error.message, error.hint)
        return tuple(found)

    def dimension(self, node: Node, names: DatasetNames) -> Dimension | None:
        name = _text(node, "name")
        scalar = self.field_value(node, names)
        if scalar is None:
            return None
        names.fields[name] = scalar
        stated = _TYPES.get(_text(node, "datatype"))
        kind = scalar.type or stated
        time = node.at("dimension", "is_time").value
        section = read_extension(node, FIELD, f"field {name!r}", self.findings.problems)
        found = Dimension(
            name=name,
            expression=scalar.sql,
            columns=frozenset(column for _, column in scalar.columns),
            type=kind,
            is_time=time if isinstance(time, bool) else kind in _TIMES,
            fact=node.get("dimension") is None,
            grain=section.choice("grain", [*Grain], Grain.DAY) if section.node_of("grain") else None,
            label=section.text("label") or _text(node, "label"),
            description=_text(node, "description"),
            synonyms=_synonyms(node),
            unit=section.text("unit"),
            line=node.line,
            kept=kept_of("field", node, dialect=self.dialect_of(node)) | _opaque(node),
        )
        found = self.stated.over(found, section, ("label", "unit", "grain"))
        names.fields[name] = Scalar(
            found.expression, frozenset((names.name, one) for one in found.columns), found.type
        )
        return found

    def field_value(self, node: Node, names: DatasetNames) -> Scalar | None:
        found = self.expression(node)
        if found is None:
            return None
        text, dialect, place = found
        try:
            return read_scalar(text, lambda parts: self.names.in_row(names.name, parts), dialect=dialect)
        except UnknownName as error:
            # A model written for a whole warehouse may describe more columns than the contract offers, as the
            # official TPC-DS model does. Nothing is computed from such a field; a metric over it is a mistake.
            said = f"the field {_text(node, 'name')!r} is left out: {error.message}"
            self.findings.warnings.append(place.problem(said, error.hint))
            return None
        except InvalidArgument as error:
            self.wrong(place, error.message, error.hint)
            return None

    def dialect_of(self, node: Node) -> str:
        """The dialect that is read: the one nearest to standard SQL."""
        offered = _offered(node)
        return next((dialect for dialect in _DIALECTS if dialect in offered), "")

    def expression(self, node: Node) -> tuple[str, str, Node] | None:
        """The expression in the dialect nearest to standard SQL, that dialect, and where it stands."""
        stated = node.get("expression")
        if stated is not None and isinstance(stated.value, str):
            return stated.value, "", stated
        dialect, offered = self.dialect_of(node), _offered(node)
        if dialect:
            return str(offered[dialect].value), _DIALECTS[dialect], offered[dialect]
        name = _text(node, "name")
        self.wrong(stated or node, f"{name!r} has no SQL expression.", "Add one in the dialect ANSI_SQL.")
        return None

    # -- relationships and metrics -------------------------------------------------------------------------

    def relationship(self, node: Node) -> Relationship | None:
        name, source, target = (_text(node, key) for key in ("name", "from", "to"))
        columns = [
            [str(item.value) for item in node.at(key).items or ()] for key in ("from_columns", "to_columns")
        ]
        if source not in self.datasets:
            self.findings.problems.append(unknown_name(node.at("from"), "dataset", source, self.datasets))
            return None
        if target not in self.datasets and "." not in target:
            self.findings.problems.append(unknown_name(node.at("to"), "dataset", target, self.datasets))
            return None
        if not columns[0] or len(columns[0]) != len(columns[1]):
            self.wrong(node, f"the relationship {name!r} needs as many from_columns as to_columns.")
            return None
        try:
            from_keys = tuple(self.names.datasets[source].value(one).sql for one in columns[0])
            to_names = self.names.datasets.get(target) or elsewhere(target)
            to_values = [to_names.value(one) for one in columns[1]]
        except InvalidArgument as error:
            self.wrong(node, error.message, error.hint)
            return None
        section = read_extension(node, RELATIONSHIP, f"relationship {name!r}", self.findings.problems)
        if section.node_of("to_keys") is None:
            self.check_unique(node, source, target, {column for value in to_values for _, column in value.columns})
        to_keys = tuple(one.sql for one in to_values)
        kept = kept_of("relationship", node)
        found = Relationship(name, source, target, from_keys, to_keys, line=node.line, kept=kept)
        return self.stated.over(found, section)

    def check_unique(self, node: Node, source: str, target: str, columns: set[str]) -> None:
        """Note a relationship whose one side may have several rows; a warning where no contract is at hand."""
        if target not in self.datasets or self.is_unique(self.datasets[target], columns):
            return
        listed = ", ".join(str(one.value) for one in node.at("to_columns").items or ())
        problem = node.problem(
            f"{target!r} has no key within {listed}: rows of {source!r} could count twice.",
            f"Declare primary_key or unique_keys on {target!r}.",
        )
        (self.findings.problems if self.product.datasets else self.findings.warnings).append(problem)

    def is_unique(self, dataset: SemanticDataset, columns: set[str]) -> bool:
        keys = [dataset.key, *dataset.unique_keys]
        return any(key and set(key) <= columns for key in keys)

    def metric(self, node: Node, relationships: Sequence[Relationship]) -> Metric | None:
        name = _text(node, "name")
        extension = read_metric_extension(node, f"metric {name!r}", self.findings.problems)
        written = self.expression(node)
        if written is None:
            return None
        text, dialect, place = written
        try:
            formula, kind, inputs = read_inputs(
                text,
                self.names,
                relationships,
                dialect=dialect,
                default_time=extension.default_time,
                non_additive=extension.non_additive,
                home=extension.dataset or self.root(relationships),
                at_home=extension.joined_first,
            )
        except InvalidArgument as error:
            self.wrong(place, error.message, error.hint)
            return None
        found = Metric(
            name=name,
            kind=kind,
            inputs=tuple(_named(one, name) for one in inputs),
            expression=formula.expression,
            filter=extension.filter,
            label=extension.label,
            description=_text(node, "description"),
            synonyms=_synonyms(node),
            unit=extension.unit,
            owner=extension.owner,
            certification=extension.certification,
            formula=text,
            line=node.line,
            kept=kept_of("metric", node, dialect=self.dialect_of(node)),
        )
        return self.stated.over(found, extension.section, _APART)

    def root(self, relationships: Sequence[Relationship]) -> str:
        """Whose columns bare names in metrics mean where no contract says: the dataset that reaches all others."""
        return "" if self.product.datasets else base_of(list(self.datasets), relationships) or ""

    def wrong(self, node: Node, message: str, suggestion: str = "") -> None:
        self.findings.problems.append(node.problem(message, suggestion))


def _offered(node: Node) -> dict[str, Node]:
    """The expressions that a field or metric offers, by dialect."""
    return {
        str(one.at("dialect").value): one.at("expression")
        for one in node.at("expression", "dialects").items or ()
        if isinstance(one.at("expression").value, str)
    }


def _opaque(node: Node) -> dict[str, str]:
    """A datatype that the model has no word for."""
    stated = _text(node, "datatype")
    return {"datatype": stated} if stated and stated not in _TYPES else {}


def _kept_of_model(models: Sequence[Node], top: Node) -> dict[str, Any]:
    """What the models of a document say beyond the model, the document's own keys apart."""
    kept: dict[str, Any] = {}
    for one in models:
        for key, value in kept_of("model", one, said="instructions").items():
            kept[key] = [*kept.get(key, []), *value] if key == "custom_extensions" else value
    more = kept_of("document", top) if models and models[0] is not top else {}
    return {**kept, DOCUMENT: more} if more else kept


def _named(given: MetricInput, name: str) -> MetricInput:
    return given if given.measure is None else replace(given, measure=replace(given.measure, name=name))


def _text(node: Node, key: str) -> str:
    child = node.get(key)
    return str(child.value).strip() if child is not None and isinstance(child.value, str) else ""


def _instructions(node: Node) -> str:
    return _text(node, "ai_context") or _text(node.at("ai_context"), "instructions")


def _synonyms(node: Node) -> tuple[str, ...]:
    listed = node.at("ai_context").get("synonyms")
    return tuple(str(item.value) for item in (listed.items if listed else None) or () if item.value is not None)
