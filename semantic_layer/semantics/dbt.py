"""Reads dbt's semantic layer as it is: target/semantic_manifest.json, or the legacy `semantic_models:` YAML.

https://docs.getdbt.com/docs/build/semantic-models. An entity that two semantic models share is a relationship to the
one where it is primary, unique or, for rows that hold for a time, natural. Time spines stand in the project's
configuration; a spine's table must be a dataset of the product, or of another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from semantic_layer.errors import InvalidArgument
from semantic_layer.findings import Findings
from semantic_layer.metric import (
    CustomGrain,
    Dimension,
    Grain,
    Measure,
    Metric,
    MetricInput,
    Relationship,
    SemanticDataset,
    SemanticModel,
    TimeSpine,
)
from semantic_layer.product import ColumnType, DataProduct
from semantic_layer.section import unknown_name
from semantic_layer.semantics.dbt_measures import read_expression, read_measure, text_of
from semantic_layer.semantics.dbt_metrics import MetricReader
from semantic_layer.semantics.fields import DatasetNames, Names, source_of
from semantic_layer.yaml_file import Node

_REF = re.compile(r"""ref\(\s*(?:['"][^'"]*['"]\s*,\s*)?['"]([^'"]+)['"]""")
_ONE = ("primary", "unique", "natural")
_KEYS = ("primary", "unique")


def is_dbt(node: Node) -> bool:
    """Whether this document holds dbt semantic models or metrics over them."""
    return node.get("semantic_models") is not None or node.get("project_configuration") is not None


def read_dbt(nodes: Sequence[Node], *, product: DataProduct, findings: Findings) -> SemanticModel:
    """The model in dbt's files taken together; every mistake is added to `findings`."""
    return _Reader(product, findings, list(nodes)).model()


@dataclass
class _Reader:
    product: DataProduct
    findings: Findings
    nodes: list[Node]
    names: Names = field(default_factory=Names)
    datasets: dict[str, SemanticDataset] = field(default_factory=dict[str, SemanticDataset])
    measures: dict[str, Measure] = field(default_factory=dict[str, Measure])
    metrics: dict[str, Metric] = field(default_factory=dict[str, Metric])
    partitions: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    created: list[tuple[Node, Measure]] = field(default_factory=list[tuple[Node, Measure]])

    def model(self) -> SemanticModel:
        for node in self.listed("semantic_models"):
            dataset = self.dataset(node)
            if dataset.name in self.datasets:
                self.wrong(node, f"the semantic model {dataset.name!r} stands twice.", "Rename one.")
            self.datasets[dataset.name] = dataset
        spines = self.time_spines()
        custom = {grain.name: spine.grain for spine in spines for grain in spine.custom_grains}
        reader = MetricReader(self.names, self.datasets, self.measures, custom)
        for node in self.listed("metrics"):
            metric = self.guarded(node, lambda node=node: reader.metric(node))
            if metric is not None and metric.name in self.metrics:
                self.wrong(node, f"the metric {metric.name!r} stands twice.", "Rename one.")
            elif metric is not None:
                self.metrics[metric.name] = metric
        self.created_metrics()
        saved = [
            self.guarded(node, lambda node=node: reader.saved_query(node)) for node in self.listed("saved_queries")
        ]
        return SemanticModel(
            product=self.product.name,
            datasets=tuple(self.datasets.values()),
            relationships=tuple(self.relationships()),
            metrics=tuple(self.metrics.values()),
            saved_queries=tuple(one for one in saved if one is not None),
            time_spines=spines,
            file=self.nodes[0].file,
        )

    def listed(self, key: str) -> Iterator[Node]:
        for node in self.nodes:
            found = node.get(key)
            yield from (found.items if found else None) or ()

    def guarded(self, node: Node, read: Callable[[], Any]) -> Any:
        """What is read, or None and a problem at the node."""
        try:
            return read()
        except InvalidArgument as error:
            self.wrong(node, f"{text_of(node, 'name')!r}: {error.message}", error.hint)
            return None

    def wrong(self, node: Node, message: str, suggestion: str = "") -> None:
        self.findings.problems.append(node.problem(message, suggestion))

    def time_spines(self) -> tuple[TimeSpine, ...]:
        """The spines of the project's configuration, in the new form, or else in the one before dbt 1.9."""
        found: dict[Grain, TimeSpine] = {}
        for node in self.nodes:
            project = node.at("project_configuration")
            for one in project.at("time_spines").items or ():
                spine = self.guarded(one, lambda one=one: self.time_spine(one))
                if spine is not None:
                    found[spine.grain] = spine
            for one in project.at("time_spine_table_configurations").items or ():
                product, table = source_of(text_of(one, "location").rpartition(".")[2], self.product)
                grain = text_of(one, "grain").casefold()
                if grain in tuple(Grain):
                    found.setdefault(
                        Grain(grain), TimeSpine(product, table, text_of(one, "column_name"), Grain(grain))
                    )
        return tuple(found.values())

    def time_spine(self, node: Node) -> TimeSpine:
        product, table = source_of(text_of(node.at("node_relation"), "alias"), self.product)
        column = node.at("primary_column")
        grain = text_of(column, "time_granularity").casefold()
        if grain not in tuple(Grain):
            raise InvalidArgument(f"no grain {grain!r}.", hint="Use one of " + ", ".join(Grain) + ".")
        return TimeSpine(
            product,
            table,
            text_of(column, "name"),
            Grain(grain),
            tuple(
                CustomGrain(text_of(one, "name").casefold(), text_of(one, "column_name") or text_of(one, "name"))
                for one in node.at("custom_granularities").items or ()
            ),
        )

    # -- semantic models -----------------------------------------------------------------------------------

    def dataset(self, node: Node) -> SemanticDataset:
        name = text_of(node, "name")
        product, table = self.source(node, name)
        contract = self.product.dataset(table) if product == self.product.name else None
        names = self.names.datasets[name] = DatasetNames(name, product, table, contract)
        dimensions: dict[str, Dimension] = {}
        entities = [one for one in (node.at("entities").items or ()) if one.mapping is not None]
        for one in entities:
            found = self.guarded(one, lambda one=one: self.entity(one, names))
            if found is not None:
                dimensions[found.name] = found
        for one in node.at("dimensions").items or ():
            found = self.guarded(one, lambda one=one: self.dimension(one, names))
            if found is not None:
                dimensions[found.name] = found
        default_time = text_of(node.at("defaults"), "agg_time_dimension")
        self.partitions[name] = frozenset(
            text_of(one, "name")
            for one in node.at("dimensions").items or ()
            if one.at("is_partition").value is True
        )
        measures = [
            found
            for one in node.at("measures").items or ()
            if (found := self.guarded(one, lambda one=one: self.measure(one, names, default_time))) is not None
        ]
        primary = next((text_of(one, "name") for one in entities if text_of(one, "type") == "primary"), "")
        keys = [self.key(one, names) for one in entities if text_of(one, "type") in _KEYS]
        return SemanticDataset(
            name=name,
            product=product,
            table=table,
            dimensions=tuple(dimensions.values()),
            measures=tuple(measures),
            key=next((key for key in keys if key), contract.key if contract else ()),
            unique_keys=tuple(key for key in keys if key),
            default_time=default_time,
            primary_entity=primary or text_of(node, "primary_entity"),
            validity=self.validity(node),
            partitions=tuple(sorted(self.partitions[name])),
            description=text_of(node, "description"),
            line=node.line,
        )

    def source(self, node: Node, name: str) -> tuple[str, str]:
        stated = node.at("node_relation", "alias").value
        if not isinstance(stated, str):
            reference = _REF.search(text_of(node, "model"))
            stated = reference[1] if reference else text_of(node, "model") or name
        product, table = source_of(stated, self.product)
        known = [one.name for one in self.product.datasets]
        if known and product == self.product.name and table not in known:
            self.findings.problems.append(unknown_name(node, "dataset of the contract", table, known))
        return product, table

    def entity(self, node: Node, names: DatasetNames) -> Dimension:
        """An entity can be grouped by like a dimension: it is the key's value."""
        scalar = read_expression(node, names, self.names)
        return Dimension(
            name=text_of(node, "name"),
            expression=scalar.sql,
            columns=frozenset(column for _, column in scalar.columns),
            type=scalar.type,
            entity=text_of(node, "name"),
            unique=text_of(node, "type") in _KEYS and not self.key(node, names),
            description=text_of(node, "description"),
            line=node.line,
        )

    def key(self, node: Node, names: DatasetNames) -> tuple[str, ...]:
        """The one column that a key is; none where it is computed. Without a contract a plain word is a column."""
        text = text_of(node, "expr") or text_of(node, "name")
        column = names.column(text)
        if names.contract is None and text.isidentifier():
            return (text,)
        return (column.name,) if column is not None else ()

    def dimension(self, node: Node, names: DatasetNames) -> Dimension:
        scalar = read_expression(node, names, self.names)
        names.fields[text_of(node, "name")] = scalar
        is_time = text_of(node, "type").casefold() == "time"
        grain = text_of(node.at("type_params"), "time_granularity").casefold()
        return Dimension(
            name=text_of(node, "name"),
            expression=scalar.sql,
            columns=frozenset(column for _, column in scalar.columns),
            type=scalar.type or (ColumnType.TIMESTAMP if is_time else None),
            is_time=is_time,
            grain=Grain(grain) if grain in tuple(Grain) else None,
            label=text_of(node, "label"),
            description=text_of(node, "description"),
            line=node.line,
        )

    def validity(self, node: Node) -> tuple[str, str] | None:
        ends: dict[str, str] = {}
        for one in node.at("dimensions").items or ():
            given = one.at("type_params", "validity_params")
            for end in ("is_start", "is_end"):
                if given.get(end) is not None and given.at(end).value is True:
                    ends[end] = text_of(one, "name")
        return (ends["is_start"], ends["is_end"]) if len(ends) == 2 else None

    def measure(self, node: Node, names: DatasetNames, default_time: str) -> Measure:
        found = read_measure(node, names, self.names, default_time)
        self.measures[found.name] = found
        if node.at("create_metric").value is True:
            self.created.append((node, found))
        return found

    def relationships(self) -> Iterator[Relationship]:
        """Every shared entity, from each model that holds it to each other where it is a key."""
        held = [
            (dataset, one, text_of(one, "type"))
            for node in self.listed("semantic_models")
            if (dataset := self.datasets.get(text_of(node, "name"))) is not None
            for one in node.at("entities").items or ()
        ]
        for start, near, _ in held:
            for end, far, kind in held:
                name = text_of(near, "name")
                if start.name == end.name or name != text_of(far, "name") or kind not in _ONE:
                    continue
                parts = self.partitions[end.name]
                # Its key is unique only within a partition, which these rows name or those before them on the way.
                missing = tuple(sorted(parts - self.partitions[start.name]))
                shared = [name, *sorted(parts & self.partitions[start.name])]
                pairs = [[dataset.dimension(one) for one in shared] for dataset in (start, end)]
                keys = [tuple(one.expression for one in side if one is not None) for side in pairs]
                if len(keys[0]) == len(keys[1]) == len(shared):
                    yield Relationship(name, start.name, end.name, keys[0], keys[1], missing, line=near.line)

    def created_metrics(self) -> None:
        """`create_metric: true` makes a metric of a measure's name, unless one was written."""
        for node, measure in self.created:
            if measure.name not in self.metrics:
                given = (MetricInput("measure", measure=measure),)
                label, described = text_of(node, "label"), measure.description
                self.metrics[measure.name] = Metric(
                    measure.name, "simple", given, '"measure"', label=label, description=described, line=node.line
                )
