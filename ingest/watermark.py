"""The newest moment a product's sources speak of, as its service levels name the column that tells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from indexes.duck.connection import quoted
from indexes.duck.quality import rows_of
from indexes.duck.table_builder import TableBuilder
from semantic_layer.product import ColumnType, DataProduct, ServiceLevel

TIMELY = ("latency", "freshness", "timeofavailability", "frequency")
"""ODCS service levels that speak of how old data may be."""


def watermark_of(tables: TableBuilder, product: DataProduct) -> str:
    """The least of the newest moments of the columns that timely service levels name (ISO 8601, UTC).

    The stalest column decides, since a product is as fresh as its oldest part. Empty where no service level
    names a column, or none of them holds a moment.
    """
    newest = [_newest(tables, *place) for place in _columns(product, product.service_levels)]
    known = [moment for moment in newest if moment is not None]
    return min(known).isoformat(timespec="seconds") if known and len(known) == len(newest) else ""


def _columns(product: DataProduct, levels: Sequence[ServiceLevel]) -> list[tuple[str, str]]:
    named = [level.element for level in levels if level.property.casefold() in TIMELY]
    places: dict[tuple[str, str], None] = {}
    for element in ",".join(named).split(","):
        dataset_name, _, column_name = element.strip().rpartition(".")
        dataset = product.dataset(dataset_name)
        column = dataset.column(column_name) if dataset else None
        if dataset and column and column.type in (ColumnType.DATE, ColumnType.TIMESTAMP):
            places[dataset.name, column.name] = None
    return list(places)


def _newest(tables: TableBuilder, dataset: str, column: str) -> datetime | None:
    [(value,)] = rows_of(tables, f"SELECT max({quoted(column)}) FROM main.{quoted(dataset)}")
    return _moment(value)


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    return datetime.combine(value, time(), UTC) if isinstance(value, date) else None
