"""Writes the contract of an inferred product: an ODCS file with every guess where a person will look for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest.infer.columns import InferredColumn
from ingest.infer.dataset import InferredDataset, counted
from ingest.infer.product import InferredProduct
from ingest.infer.yaml_text import comment, one_line
from semantic_layer.contract_hints import PROPERTY
from semantic_layer.product import ColumnType

VERSION = "v3.1.0"


def contract_text(product: InferredProduct, *, workspace: Path, folder: Path, name: str) -> str:
    """The text of contract.yaml in `folder`; `name` is the workspace's and begins the contract's id."""
    lines = [
        comment(f"Inferred by `wellhead init` from {product.path.name}. Check types, keys and classifications."),
        f"apiVersion: {VERSION}",
        "kind: DataContract",
        f"id: {one_line(f'{name}-{product.name}')}",
        "version: 0.1.0",
        "status: draft",
        f"name: {product.name}",
        f"description: {one_line({'purpose': _purpose(product)})}",
        comment("team: {name: Who answers for this data}"),
        "servers:",
    ]
    for server in product.servers:
        place = server.path_from(folder, workspace)
        lines.append(f"  - {one_line({'server': server.name, 'type': 'local', 'path': place, **server.options})}")
    lines.append("schema:")
    for dataset in product.datasets:
        lines.extend(_dataset(dataset, product.server_of(dataset).name))
    return "\n".join(lines) + "\n"


def _purpose(product: InferredProduct) -> str:
    kinds = [f"{dataset.name} ({counted(dataset)})" for dataset in product.datasets]
    return f"Holds {', '.join(kinds[:8])}{' …' if len(kinds) > 8 else ''}."


def _dataset(dataset: InferredDataset, server: str) -> Iterator[str]:
    hints: dict[str, Any] = {"server": server, "path": dataset.group.pattern}
    if dataset.kind == "document":
        hints["on_error"] = "set_aside"
    yield f"  - name: {dataset.name}"
    yield f"    physicalType: {dataset.kind}"
    if dataset.kind == "document":
        yield comment(
            "A file that cannot be read is reported and left out; `on_error: stop` ends the ingest there.", 4
        )
    yield f"    customProperties: {one_line([{'property': PROPERTY, 'value': hints}])}"
    for note in dataset.notes:
        yield comment(f"Note: {note}.", 4)
    if not dataset.columns:
        yield comment(
            "Every document has path, media_type, title and modified_at; front matter would stand here.", 4
        )
        return
    yield "    properties:"
    for column in dataset.columns:
        yield f"      - {one_line(_property(column))}"


def _property(column: InferredColumn) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": column.name}
    if column.source:
        declared["physicalName"] = column.source
    declared["logicalType"] = column.type.value
    if column.type is ColumnType.NUMBER:
        declared["physicalType"] = f"decimal(18, {column.scale})" if column.scale is not None else "double"
    if column.items is not None:
        declared["items"] = {"logicalType": column.items.value}
    for flag, stated in (("primaryKey", column.key), ("required", column.required), ("unique", column.unique)):
        if stated:
            declared[flag] = True
    declared["classification"] = "personal" if column.personal else "internal"
    hints: dict[str, Any] = {"path": column.path} if column.path else {}
    hints |= {flag: True for flag, stated in (("text", column.text), ("title", column.title)) if stated}
    if hints:
        declared["customProperties"] = [{"property": PROPERTY, "value": hints}]
    return declared
