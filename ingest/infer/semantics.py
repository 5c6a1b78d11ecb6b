"""Writes first metrics of a product: how many rows, and sums of what is clearly an amount; all only proposed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ingest.infer.columns import InferredColumn
from ingest.infer.dataset import InferredDataset
from ingest.infer.names import Names, words_of
from ingest.infer.product import InferredProduct
from ingest.infer.yaml_text import comment, one_line
from semantic_layer.product import ColumnType

_VERSION = "0.2.0.dev0"
_AMOUNTS = frozenset(
    """
    amount total revenue sales turnover cost costs quantity qty units gross net tax vat discount fee fees
    spend budget profit refund refunds paid hours minutes duration weight volume clicks impressions visits
    views downloads betrag summe umsatz menge kosten montant quantite
    """.split()  # noqa: SIM905
)
_NOT_AMOUNTS = frozenset({"rate", "ratio", "percent", "percentage", "pct", "share", "per", "average", "avg", "id"})
_TIME_WORDS = ("created", "ordered", "opened", "date", "at", "on", "time", "timestamp", "day", "datum")
_RESERVED = frozenset(
    """
    all alter analyze and any as begin between cache call case comment commit copy create cross
    current_catalog current_date current_time current_timestamp current_user delete desc describe distinct
    drop else end except execute explain false fetch for from glob grant group having ilike in inner insert
    intersect into is join kill lateral like limit load localtime localtimestamp merge not notnull null
    offset on optimize or order outer partitioned_by pivot pragma prepare qualify regexp rename returning
    revoke rlike rollback select session_user set show straight_join table tablesample then true truncate
    uncache union unpivot update use using vacuum values when where with xor
    """.split()  # noqa: SIM905
)
_OWN = "custom_extensions"
_DATATYPES = {
    ColumnType.STRING: "String",
    ColumnType.INTEGER: "Integer",
    ColumnType.NUMBER: "Float",
    ColumnType.BOOLEAN: "Boolean",
    ColumnType.DATE: "Date",
    ColumnType.TIME: "Time",
    ColumnType.TIMESTAMP: "DateTime",
}


def semantics_text(product: InferredProduct) -> str:
    """The text of semantics.yaml; empty where the product has no rows to count."""
    counted = [dataset for dataset in product.datasets if dataset.kind != "document"]
    if not counted:
        return ""
    names = Names()
    metrics = [metric for dataset in counted for metric in _metrics(dataset, names)]
    lines = [
        comment(
            "Inferred by `wellhead init` (Apache Ossie). Each metric is proposed, not certified: check it, then"
        ),
        comment('certify it once it is live: wellhead certify METRIC --by "your name".'),
        f"version: {_VERSION}",
        "semantic_model:",
        f"- name: {product.name}",
        "  datasets:",
    ]
    for dataset in counted:
        lines.extend(_dataset(dataset))
    lines.append("  metrics:")
    for metric in metrics:
        lines.append(f"  - {one_line(metric)}")
    return "\n".join(lines) + "\n"


def _dataset(dataset: InferredDataset) -> Iterator[str]:
    fields = [one for one in dataset.columns if one.type in _DATATYPES and not (one.text or one.personal)]
    moment = _default_time(fields)
    yield f"  - name: {dataset.name}"
    yield f"    source: {dataset.name}"
    if dataset.key is not None:
        yield f"    primary_key: [{dataset.key.name}]"
    if moment is not None:
        yield f"    {_OWN}: {one_line([_extension({'default_time': moment.name})])}"
    if fields:
        yield "    fields:"
    for column in fields:
        field: dict[str, Any] = {"name": column.name, "expression": _sql(sql_name(column.name))}
        field["datatype"] = "Decimal" if column.scale is not None else _DATATYPES[column.type]
        if not _is_amount(column):
            field["dimension"] = {"is_time": column.is_moment}
        yield f"    - {one_line(field)}"


def _metrics(dataset: InferredDataset, names: Names) -> Iterator[dict[str, Any]]:
    counted = f"COUNT({sql_name(dataset.name)}.*)"
    yield _metric(names.unique(f"{dataset.name}_count"), counted, f"How many rows {dataset.name} has.")
    for column in dataset.columns:
        if _is_amount(column):
            name = names.unique(f"total_{column.name}" if not column.name.startswith("total") else column.name)
            text = f"Sum of {column.name} over {dataset.name}."
            yield _metric(name, f"SUM({sql_name(dataset.name)}.{sql_name(column.name)})", text)


def _metric(name: str, expression: str, description: str) -> dict[str, Any]:
    own = _extension({"certification": {"state": "proposed"}})
    return {"name": name, "expression": _sql(expression), "description": description, _OWN: [own]}


def _extension(data: dict[str, Any]) -> dict[str, str]:
    return {"vendor_name": "WELLHEAD", "data": json.dumps(data)}


def _sql(expression: str) -> dict[str, Any]:
    return {"dialects": [{"dialect": "ANSI_SQL", "expression": expression}]}


def sql_name(name: str) -> str:
    """A plain name as it stands in an expression: in quotes where SQL has its own use for the word."""
    return f'"{name}"' if name in _RESERVED else name


def _is_amount(column: InferredColumn) -> bool:
    words = words_of(column.name)
    numeric = column.type in (ColumnType.INTEGER, ColumnType.NUMBER)
    plain = not (column.personal or column.key or words & _NOT_AMOUNTS)
    return numeric and plain and bool(words & _AMOUNTS)


def _default_time(fields: list[InferredColumn]) -> InferredColumn | None:
    """The moment that a row's numbers belong to: the only one, or the likeliest by name."""
    moments = [column for column in fields if column.is_moment]
    for word in _TIME_WORDS:
        found = next((column for column in moments if word in words_of(column.name)), None)
        if found is not None:
            return found
    return moments[0] if moments else None
