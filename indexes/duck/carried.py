"""What chunks carry, read back while a generation is built, for engines that filter by it on a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from indexes.duck.connection import quoted
from indexes.duck.table_builder import TableBuilder
from indexes.duck.tables import NUMBER, attributes_table
from indexes.ports import CarriedRow, CarriedRows
from indexes.visibility import carried_columns
from semantic_layer.product import DataProduct, Dataset


def carried_rows(tables: TableBuilder, product: DataProduct) -> CarriedRows:
    """Reads the chunks' rows from tables that are not sealed yet."""

    def read(first: int, count: int) -> Sequence[CarriedRow]:
        span = (first, first + count)
        cells: dict[int, dict[str, Any]] = {}
        for dataset in product.datasets:
            cells.update(_cells(tables, product, dataset, span))
        found = tables.query("SELECT n, chunk_id, dataset FROM wh.chunks WHERE n >= ? AND n < ? ORDER BY n", span)
        return [CarriedRow(number, chunk_id, dataset, cells[number]) for number, chunk_id, dataset in found]

    return read


def _cells(
    tables: TableBuilder, product: DataProduct, dataset: Dataset, span: tuple[int, int]
) -> dict[int, dict[str, Any]]:
    names = list(carried_columns(dataset))
    columns = ", ".join([NUMBER, *map(quoted, names)])
    table = attributes_table(product, dataset.name)
    rows = tables.query(f"SELECT {columns} FROM {table} WHERE {NUMBER} >= ? AND {NUMBER} < ?", span)
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}
