"""MetricFlow's recorded tables and manifests as one product that the planner reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from indexes.duck.table_builder import TableBuilder
from semantic_layer.errors import InvalidWorkspace, UnknownName
from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.policy import Action, Grant, Policy, Rule, decide
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from semantic_layer.semantics import read_semantics
from semantic_layer.yaml_file import parse_yaml

PRODUCT = "metricflow"
_CALLER = Principal("truth", frozenset({"truth"}))


@dataclass(frozen=True)
class Recorded:
    """The tables under one contract, the database that holds them, and a model for each manifest."""

    product: DataProduct
    database: Path
    models: Mapping[str, SemanticModel]
    others: Sequence[SemanticModel] = ()

    def model(self, manifest: str, metrics: Sequence[str]) -> SemanticModel:
        """The manifest that a case names, or, where that lacks one of its metrics, the first that has them all.

        The JSON manifests are named after their first model, which two of the recorded projects share.
        """
        if manifest not in self.models:
            raise UnknownName("manifest", manifest, self.models)
        named = self.models[manifest]
        holding = (one for one in (named, *self.others) if all(one.metric(name) for name in metrics))
        return next(holding, named)

    def grants(self) -> dict[str, Grant]:
        """Everything is granted: these tables are public."""
        policy = Policy(PRODUCT, (Rule("all", frozenset({"*"}), frozenset(Action)),))
        return {PRODUCT: decide(_CALLER, self.product, Action.METRIC, policy)}


def load(folder: Path, database: Path) -> Recorded:
    """Read `tables/*.parquet` and `manifests/*.json`, and build the database. Raises InvalidWorkspace."""
    files = sorted((folder / "tables").glob("*.parquet"))
    tables = {file.stem: pq.read_table(file) for file in files}
    datasets = tuple(
        Dataset(name, "table", tuple(Column(field.name, _type(field.type)) for field in table.schema))
        for name, table in tables.items()
    )
    product = DataProduct(PRODUCT, "1", PRODUCT, "active", "1", datasets=datasets)
    builder = TableBuilder(database, product)
    for dataset in datasets:
        builder.add_rows(dataset, tables[dataset.name].to_batches())
    builder.seal()
    manifests = {
        file.stem: file.read_text(encoding="utf-8") for file in sorted((folder / "manifests").glob("*.json"))
    }
    models = {name: _model(text, name, product) for name, text in manifests.items()}
    projects = [one for one in sorted((folder / "yaml").glob("*")) if one.is_dir()]
    others = [_model(_manifest(one), one.name, product) for one in projects]
    return Recorded(product, database, models, others)


def _manifest(project: Path) -> str:
    """The YAML documents of a project, each one model, metric, saved query or configuration, as one manifest."""
    listed = {"semantic_model": "semantic_models", "metric": "metrics", "saved_query": "saved_queries"}
    found: dict[str, Any] = {name: [] for name in listed.values()}
    for file in sorted(project.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            for key, value in (document or {}).items():
                if key in listed:
                    found[listed[key]].append(value)
                else:
                    found[key] = value
    return json.dumps(found, default=str)


def _model(text: str, name: str, product: DataProduct) -> SemanticModel:
    findings = Findings()
    node = parse_yaml(text, shown_as=name)
    model = read_semantics([node], product=product, findings=findings)
    if findings.problems or model is None:
        raise InvalidWorkspace(findings.problems)
    return model


def _type(kind: object) -> ColumnType:
    assert isinstance(kind, pa.DataType)
    for test, found in (
        (pa.types.is_boolean, ColumnType.BOOLEAN),
        (pa.types.is_integer, ColumnType.INTEGER),
        (pa.types.is_floating, ColumnType.NUMBER),
        (pa.types.is_date, ColumnType.DATE),
        (pa.types.is_timestamp, ColumnType.TIMESTAMP),
    ):
        if test(kind):
            return found
    return ColumnType.STRING
