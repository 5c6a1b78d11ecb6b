"""Writes a model as dbt's `semantic_models:` YAML, which every dbt since 1.6 reads, and says what it cannot carry.

A relationship becomes an entity that both datasets share; an aggregate inside a formula becomes a measure and a metric
of its own. What was written is read again, so that nothing is left out in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from semantic_layer.findings import Findings
from semantic_layer.metric import Dimension, Relationship, SemanticDataset, SemanticModel, TimeSpine, quoted
from semantic_layer.product import DataProduct
from semantic_layer.semantics.dbt import read_dbt
from semantic_layer.semantics.dbt_losses import losses
from semantic_layer.semantics.dbt_metric_writer import DbtMetrics, filled
from semantic_layer.semantics.dbt_models import without_models
from semantic_layer.semantics.ossie_writer import Written
from semantic_layer.sql.portable import row_text
from semantic_layer.yaml_file import parse_yaml

Form = dict[str, Any]


def write_dbt(model: SemanticModel, product: DataProduct) -> Written:
    """The model as one dbt document, and each in a sentence what it does not carry."""
    writer = _Writer(model)
    document = writer.document()
    findings = Findings()
    node = without_models(parse_yaml(json.dumps(document)), findings)
    back = read_dbt([node], product=product, findings=findings)
    said = [one.message for one in findings.problems]
    lost = [*writer.lost, *said, *losses(model, back, writer.metrics.reshaped)]
    return Written(document, tuple(dict.fromkeys(lost)))


class _Writer:
    def __init__(self, model: SemanticModel) -> None:
        self.model = model
        self.own = [one for one in model.datasets if one.product == model.product]
        others = [one for one in model.datasets if one not in self.own]
        self.lost = [f"dataset {one.name}: it reads the product {one.product!r}." for one in others]
        self.entities = {one.name: dict(self.entities_of(one)) for one in self.own}
        self.metrics = DbtMetrics(model, self.own, self.lost)

    def document(self) -> Form:
        for relationship in self.model.relationships:
            self.relate(relationship)
        metrics, queries = self.metrics.written()
        return filled(
            {
                "semantic_models": [self.dataset(one) for one in self.own],
                "metrics": metrics,
                "saved_queries": queries,
                "models": [_spine(one) for one in self.model.time_spines if one.product == self.model.product],
            }
        )

    def dataset(self, dataset: SemanticDataset) -> Form:
        entities = self.entities[dataset.name]
        primary = entities.get(dataset.primary_entity, {}).get("type") == "primary"
        return filled(
            {
                "name": dataset.name,
                "description": dataset.description,
                "model": f"ref('{dataset.table}')",
                "defaults": filled({"agg_time_dimension": dataset.default_time}),
                "primary_entity": "" if primary else dataset.primary_entity,
                "entities": list(entities.values()),
                "dimensions": [
                    _dimension(dataset, one, one.name in dataset.partitions)
                    for one in dataset.dimensions
                    if not one.entity and not one.fact
                ],
                "measures": self.metrics.measures_of(dataset.name),
            }
        )

    def entities_of(self, dataset: SemanticDataset) -> Iterator[tuple[str, Form]]:
        """The entities that the model has as such, and the primary one by its key."""
        for one in dataset.dimensions:
            if one.entity:
                text = row_text(one.expression, dataset.name, dialect="duckdb")
                yield one.name, _entity(one.name, self.kind_of(dataset, one), text, one.description)
        if dataset.primary_entity and dataset.dimension(dataset.primary_entity) is None and len(dataset.key) == 1:
            yield dataset.primary_entity, _entity(dataset.primary_entity, "primary", dataset.key[0])

    def kind_of(self, dataset: SemanticDataset, entity: Dimension) -> str:
        """How an entity identifies the rows of its dataset."""
        keys = [quoted(dataset.name, key[0]) for key in (dataset.key, *dataset.unique_keys) if len(key) == 1]
        joined = any(
            step.name == entity.name
            and step.to_dataset == dataset.name
            and step.to_keys[:1] == (entity.expression,)
            for step in self.model.relationships
        )
        own = entity.name == dataset.primary_entity
        if entity.unique or entity.expression in keys:
            return "primary" if own else "unique"
        if dataset.validity:
            return "natural" if own or joined else "foreign"  # rows hold for a time: its values are no key
        return "primary" if own else "unique" if joined else "foreign"

    def relate(self, relationship: Relationship) -> None:
        """An entity of the relationship's name on both sides, where none of the model's own is it."""
        known = {one.name: one for one in self.own}
        start, end = known.get(relationship.from_dataset), known.get(relationship.to_dataset)
        if start is None or end is None:
            self.lost.append(f"relationship {relationship.name}: it leads to another product.")
            return
        held = [one.dimension(relationship.name) for one in (start, end)]
        if all(one is not None and one.entity for one in held):
            return
        if len(relationship.from_keys) != 1:
            self.lost.append(
                f"relationship {relationship.name}: dbt joins by one key, and this has several columns."
            )
            return
        for side, key, kind in (
            (start, relationship.from_keys[0], "foreign"),
            (end, relationship.to_keys[0], "unique"),
        ):
            text = row_text(key, side.name, dialect="duckdb")
            self.entities[side.name].setdefault(relationship.name, _entity(relationship.name, kind, text))


def _entity(name: str, kind: str, text: str, description: str = "") -> Form:
    return filled({"name": name, "type": kind, "expr": text if text != name else "", "description": description})


def _dimension(dataset: SemanticDataset, dimension: Dimension, partition: bool) -> Form:
    text = row_text(dimension.expression, dataset.name, dialect="duckdb")
    ends = dict(zip(dataset.validity or (), ("is_start", "is_end"), strict=False))
    grain = dimension.grain.value if dimension.grain else "day"
    params = {
        "time_granularity": grain if dimension.is_time else "",
        "validity_params": {ends[dimension.name]: True} if dimension.name in ends else {},
    }
    return filled(
        {
            "name": dimension.name,
            "type": "time" if dimension.is_time else "categorical",
            "label": dimension.label,
            "description": dimension.description,
            "expr": text if text != dimension.name else "",
            "is_partition": partition or None,
            "type_params": filled(params),
        }
    )


def _spine(spine: TimeSpine) -> Form:
    grains = [{"name": one.name, "column_name": one.column} for one in spine.custom_grains]
    return {
        "name": spine.table,
        "time_spine": filled({"standard_granularity_column": spine.column, "custom_granularities": grains}),
        "columns": [{"name": spine.column, "granularity": spine.grain.value}],
    }
