"""Engines that run a compiled metric query beside DuckDB: their tables, their values, their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

import duckdb
import psycopg
import pyarrow as pa

from semantic_layer.product import Column, ColumnType, DataProduct
from semantic_layer.sql.build import Dialect
from semantic_layer.sql.compile import Statement

Row = tuple[Any, ...]
Tables = Mapping[str, Sequence[Row]]
"""The rows of each table, by `product.dataset`."""

_ARROW = {
    ColumnType.STRING: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.DATE: pa.date32(),
    ColumnType.TIMESTAMP: pa.timestamp("us"),
}
_POSTGRES = {
    ColumnType.STRING: "text",
    ColumnType.INTEGER: "bigint",
    ColumnType.NUMBER: "double precision",
    ColumnType.DECIMAL: "numeric",
}


class Engine(Protocol):
    """Runs what is compiled for its dialect."""

    dialect: Dialect

    def fill(self, product: DataProduct, rows: Tables) -> None:
        """Make the product's tables, with these rows."""
        ...

    def run(self, statement: Statement) -> list[Row]:
        """The rows of a statement, in order."""
        ...


class DuckDb:
    """What the others are compared with."""

    dialect: Dialect = "duckdb"

    def __init__(self) -> None:
        self.connection = duckdb.connect()

    def fill(self, product: DataProduct, rows: Tables) -> None:
        self.connection.execute(f"ATTACH ':memory:' AS {product.name}")
        for name, table in _arrow_tables(product, rows):
            self.connection.register("given", table)
            self.connection.execute(f'CREATE TABLE {product.name}.main."{name}" AS SELECT * FROM given')

    def run(self, statement: Statement) -> list[Row]:
        return self.connection.execute(statement.sql, dict(statement.parameters)).fetchall()


class ClickHouse:
    """ClickHouse inside the process, as chDB; one a process."""

    dialect: Dialect = "clickhouse"

    def __init__(self) -> None:
        from chdb.session import Session

        self.session: Any = Session()

    def fill(self, product: DataProduct, rows: Tables) -> None:
        self.session.query(f"CREATE DATABASE {product.name}")
        for dataset in product.datasets:
            place = f"{product.name}.`{dataset.name}`"
            declared = ", ".join(f"`{one.name}` Nullable({_clickhouse_type(one)})" for one in dataset.columns)
            self.session.query(f"CREATE TABLE {place} ({declared}) ENGINE = Memory")
            given = [
                f"({', '.join(map(_clickhouse_literal, row))})"
                for row in rows.get(f"{product.name}.{dataset.name}", ())
            ]
            if given:
                self.session.query(f"INSERT INTO {place} VALUES {', '.join(given)}")

    def run(self, statement: Statement) -> list[Row]:
        values = {name: _escaped(value) for name, value in statement.parameters.items()}
        table = self.session.query(statement.sql, "ArrowTable", params=values or None)
        return _rows(table)

    def close(self) -> None:
        self.session.close()


class DataFusion:
    """Apache DataFusion inside the process."""

    dialect: Dialect = "datafusion"

    def __init__(self) -> None:
        from datafusion import SessionContext

        self.context: Any = SessionContext()

    def fill(self, product: DataProduct, rows: Tables) -> None:
        self.context.sql(f"CREATE SCHEMA {product.name}")
        for name, table in _arrow_tables(product, rows):
            given = f"given_{product.name}_{name}"
            self.context.from_arrow(table, name=given)
            self.context.sql(f'CREATE TABLE {product.name}."{name}" AS SELECT * FROM "{given}"').collect()

    def close(self) -> None:
        del self.context

    def run(self, statement: Statement) -> list[Row]:
        values = dict(statement.parameters)
        return _rows(self.context.sql(statement.sql, param_values=values or None).to_arrow_table())


class Postgres:
    """A real PostgreSQL, in an empty database."""

    dialect: Dialect = "postgres"

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)

    def fill(self, product: DataProduct, rows: Tables) -> None:
        self.connection.execute(f"CREATE SCHEMA {product.name}".encode())
        for dataset in product.datasets:
            place = f'{product.name}."{dataset.name}"'
            declared = ", ".join(f'"{one.name}" {_POSTGRES.get(one.type, one.type)}' for one in dataset.columns)
            self.connection.execute(f"CREATE TABLE {place} ({declared})".encode())
            with self.connection.cursor().copy(f"COPY {place} FROM STDIN".encode()) as copy:
                for row in rows.get(f"{product.name}.{dataset.name}", ()):
                    copy.write_row(row)

    def run(self, statement: Statement) -> list[Row]:
        return self.connection.execute(statement.sql.encode(), dict(statement.parameters)).fetchall()

    def close(self) -> None:
        self.connection.close()


def comparable(rows: Iterable[Row]) -> list[Row]:
    """The rows with every number a double to nine significant digits, and every moment naive in UTC."""
    return [tuple(_comparable(cell) for cell in row) for row in rows]


def _comparable(cell: Any) -> Any:
    if isinstance(cell, datetime):
        return cell.replace(tzinfo=None)
    if isinstance(cell, (int, float, Decimal)) and not isinstance(cell, bool):
        return float(f"{float(cell):.9g}")
    return cell


def _arrow_tables(product: DataProduct, rows: Tables) -> Iterator[tuple[str, pa.Table]]:
    for dataset in product.datasets:
        given = rows.get(f"{product.name}.{dataset.name}", ())
        yield dataset.name, pa.table({
            column.name: pa.array([row[place] for row in given], _arrow_type(column))
            for place, column in enumerate(dataset.columns)
        })  # fmt: skip


def _arrow_type(column: Column) -> pa.DataType:
    if column.type is ColumnType.DECIMAL:
        return pa.decimal128(column.precision, column.scale)
    return _ARROW[column.type]


def _rows(table: pa.Table) -> list[Row]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True)) if table.num_columns else []


def _clickhouse_type(column: Column) -> str:
    if column.type is ColumnType.DECIMAL:
        return f"Decimal({column.precision}, {column.scale})"
    return {
        ColumnType.STRING: "String",
        ColumnType.INTEGER: "Int64",
        ColumnType.NUMBER: "Float64",
        ColumnType.BOOLEAN: "Bool",
        ColumnType.DATE: "Date32",
        ColumnType.TIMESTAMP: "DateTime64(6, 'UTC')",
    }[column.type]


def _clickhouse_literal(cell: Any) -> str:
    if cell is None:
        return "NULL"
    if isinstance(cell, (str, date)):
        return "'" + str(cell).replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(cell).lower()


def _escaped(value: Any) -> str:
    """A value as ClickHouse's `Escaped` format writes it, which its named values are read by."""
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
