"""Tables of a generation: typed exactly by the contract, read back as sealed, reaching nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from indexes.document import Chunk, Document, sha256_of
from indexes.duck.columns import BadCell
from indexes.duck.connection import attach_sealed, open_sealed
from indexes.duck.table_builder import TableBuilder
from indexes.duck.tables import DuckTables
from indexes.visibility import TEXT_COLUMN
from semantic_layer.errors import CorruptGeneration, SourceFailed, UnknownName
from semantic_layer.predicate import FALSE, TRUE, Compare, Contains, In, IsNull, Not, Range
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset

ORDERS = Dataset(
    name="orders",
    kind="table",
    columns=(
        Column("id", ColumnType.INTEGER, key_position=1),
        Column("code", ColumnType.STRING),
        Column("amount", ColumnType.DECIMAL, precision=10, scale=2),
        Column("weight", ColumnType.NUMBER),
        Column("paid", ColumnType.BOOLEAN),
        Column("day", ColumnType.DATE),
        Column("at", ColumnType.TIMESTAMP, time_zone="Europe/Berlin"),
        Column("hour", ColumnType.TIME),
        Column("extra", ColumnType.OBJECT),
        Column("tags", ColumnType.ARRAY, items=ColumnType.STRING),
    ),
)
NOTES = Dataset(
    name="notes",
    kind="table",
    columns=(
        Column("id", ColumnType.INTEGER, key_position=1),
        Column("region", ColumnType.STRING),
        Column("body", ColumnType.STRING, is_text=True),
    ),
)
HANDBOOK = Dataset(
    name="handbook",
    kind="document",
    columns=(Column("path", ColumnType.STRING), Column("tier", ColumnType.INTEGER)),
)
PRODUCT = DataProduct("shop", "1", "shop", "active", "v3.1.0", datasets=(ORDERS, NOTES, HANDBOOK))

ROW: dict[str, Any] = {
    "id": 1,
    "code": "A-1",
    "amount": Decimal("12.50"),
    "weight": 0.25,
    "paid": True,
    "day": date(2025, 1, 31),
    "at": datetime(2025, 1, 31, 12, 0, tzinfo=UTC),
    "hour": time(8, 30),
    "extra": {"a": [1, {"b": None}]},
    "tags": ["x", None, "y"],
}
COLUMNS = [column.name for column in ORDERS.columns]


def chunk(number: int, dataset: str, document: str, text: str, text_column: str = "") -> Chunk:
    sha = sha256_of(text)
    return Chunk(
        number, f"id{number}", dataset, document, "T", text, 0, len(text), sha, 2, ("A", "B"), text_column
    )


CHUNKS = [
    chunk(0, "notes", "1", "late", "body"),
    chunk(1, "notes", "2", "lost", "body"),
    chunk(2, "notes", "3", "broken", "body"),
    chunk(3, "handbook", "a.md", "returns"),
    chunk(4, "handbook", "a.md", "shipping"),
]
CARRIED: list[dict[str, Any]] = [
    {"id": 1, "region": "EU"},
    {"id": 2, "region": None},
    {"id": 3, "region": "US"},
    {"path": "a.md", "tier": 1},
    {"path": "a.md", "tier": 1},
]


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[TableBuilder]:
    builder = TableBuilder(tmp_path / "tables.duckdb", PRODUCT)
    yield builder
    builder.close()


@pytest.fixture
def tables(builder: TableBuilder, tmp_path: Path) -> Iterator[DuckTables]:
    builder.add_rows(ORDERS, [ROW, {"id": 2}, {"id": 3, "amount": "7", "tags": []}])
    builder.add_chunks(CHUNKS[:2], CARRIED[:2])
    builder.add_chunks(CHUNKS[2:], CARRIED[2:])
    builder.seal()
    reader = DuckTables(tmp_path / "tables.duckdb", PRODUCT)
    yield reader
    reader.close()


def test_every_type_comes_back_as_it_went_in(tables: DuckTables) -> None:
    first, second, third = tables.rows("orders", COLUMNS, TRUE)
    assert first == ROW
    assert second == {**dict.fromkeys(COLUMNS), "id": 2}
    assert third["amount"] == Decimal("7.00")
    assert third["tags"] == []


@pytest.mark.parametrize(
    ("column", "raw", "value"),
    [
        ("id", "42", 42),
        ("id", 42.0, 42),
        ("code", 10115, "10115"),
        ("code", 10115.0, "10115"),
        ("amount", "12.5", Decimal("12.50")),
        ("amount", 19.99, Decimal("19.99")),
        ("weight", "1e3", 1000.0),
        ("weight", "", None),
        ("paid", "False", False),
        ("paid", 1, True),
        ("day", "2025-01-31", date(2025, 1, 31)),
        ("day", "2025-01-31T00:00:00", date(2025, 1, 31)),
        ("at", "2025-01-31T12:00:00Z", datetime(2025, 1, 31, 12, tzinfo=UTC)),
        (
            "at",
            datetime(2025, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))),
            datetime(2025, 1, 31, 10, tzinfo=UTC),
        ),
        ("at", "2025-07-01 12:00:00", datetime(2025, 7, 1, 10, tzinfo=UTC)),
        ("hour", "08:30", time(8, 30)),
        ("extra", '{"a": 1}', {"a": 1}),
        ("tags", '["x"]', ["x"]),
    ],
)
def test_source_values_are_brought_into_the_contracts_type(
    builder: TableBuilder, tmp_path: Path, column: str, raw: Any, value: Any
) -> None:
    builder.add_rows(ORDERS, [{column: raw}])
    builder.seal()
    assert DuckTables(tmp_path / "tables.duckdb", PRODUCT).rows("orders", [column], TRUE) == [{column: value}]


@pytest.mark.parametrize(
    ("column", "raw"),
    [
        ("id", "4x"),
        ("id", 1.5),
        ("id", True),
        ("id", 2**63),
        ("id", "1_000"),
        ("code", {"a": 1}),
        ("code", "\ud800"),
        ("amount", "12.505"),
        ("amount", "123456789.00"),
        ("amount", "NaN"),
        ("weight", "heavy"),
        ("weight", False),
        ("paid", "perhaps"),
        ("paid", 2),
        ("day", "31.01.2025"),
        ("day", datetime(2025, 1, 31, 8)),
        ("at", "yesterday"),
        ("hour", 830),
        ("extra", "{"),
        ("tags", [{"a": 1}]),
        ("tags", "x"),
    ],
)
def test_a_value_that_does_not_fit_names_dataset_row_column_and_value(
    builder: TableBuilder, column: str, raw: Any
) -> None:
    with pytest.raises(SourceFailed) as failure:
        builder.add_rows(ORDERS, [ROW, {column: raw}])
    assert f"orders, row 2, column {column!r}" in failure.value.message
    bad: list[BadCell] = []
    assert builder.add_rows(ORDERS, [ROW, {column: raw}, {"id": 7}], bad=bad.append) == 2
    assert [(cell.row, cell.column) for cell in bad] == [(2, column)]
    assert builder.query("SELECT count(*), max(id) FROM orders") == [(2, 7)]


def test_arrow_batches_are_taken_as_they_are(builder: TableBuilder, tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pylist(
        [{"id": 1, "code": "x", "unknown": 5}, {"id": 2, "code": None, "unknown": 6}]
    )
    assert builder.add_rows(ORDERS, [batch, batch]) == 4
    builder.seal()
    read = DuckTables(tmp_path / "tables.duckdb", PRODUCT).rows("orders", ["id", "code"], TRUE)
    assert [row["id"] for row in read] == [1, 2, 1, 2]


def test_rows_are_filtered_ordered_and_cut(tables: DuckTables) -> None:
    def ids(**how: Any) -> list[int]:
        return [row["id"] for row in tables.rows("orders", ["id"], **how)]

    assert ids(where=Compare("amount", "ge", Decimal("7"))) == [1, 3]
    assert ids(where=IsNull("code")) == [2, 3]
    assert ids(where=Compare("tags", "eq", "y")) == [1]
    assert ids(where=Compare("at", "eq", datetime(2025, 1, 31, 12, tzinfo=UTC))) == [1]
    assert ids(where=TRUE, order=["-id"], limit=2) == [3, 2]
    assert ids(where=TRUE, order=["amount"]) == [3, 1, 2]
    assert ids(where=FALSE) == []
    with pytest.raises(UnknownName, match="amont"):
        tables.rows("orders", ["amont"], TRUE)


def test_texts_come_in_the_order_asked(tables: DuckTables) -> None:
    assert tables.texts([3, 0, 3]) == [CHUNKS[3], CHUNKS[0], CHUNKS[3]]
    assert tables.texts([]) == []
    assert tables.count == 5


def test_chunks_carry_the_columns_of_their_row(tables: DuckTables) -> None:
    first, second = tables.passages([2, 0])
    assert first == (CHUNKS[2], {"region": "US", "id": 3, TEXT_COLUMN: "body"})
    assert second == (CHUNKS[0], {"region": "EU", "id": 1, TEXT_COLUMN: "body"})


def test_carried_values_keep_their_types(tmp_path: Path) -> None:
    product = replace(PRODUCT, datasets=(ORDERS,))
    builder = TableBuilder(tmp_path / "tables.duckdb", product)
    builder.add_chunks([chunk(0, "orders", "1", "x"), chunk(1, "orders", "2", "y")], [ROW, {"id": "2"}])
    builder.seal()
    (_, full), (_, sparse) = DuckTables(tmp_path / "tables.duckdb", product).passages([0, 1])
    assert full == {**{name: value for name, value in ROW.items() if name != "extra"}, TEXT_COLUMN: ""}
    assert {name: value for name, value in sparse.items() if value is not None} == {"id": 2, TEXT_COLUMN: ""}


def test_only_chunks_whose_row_makes_the_filter_true_are_allowed(tables: DuckTables) -> None:
    def allowed(**where: Any) -> list[int]:
        return tables.allowed(where).numbers.tolist()

    assert allowed(notes=Compare("region", "eq", "EU")) == [0]
    assert allowed(notes=Not(Compare("region", "eq", "EU"))) == [2]
    assert allowed(notes=IsNull("region"), handbook=TRUE) == [1, 3, 4]
    assert allowed(notes=FALSE, handbook=Range("tier", 2, None)) == []
    assert allowed(notes=In("region", ()), handbook=Contains("path", ".md")) == [3, 4]
    assert allowed() == []
    assert tables.allowed({"notes": TRUE}).selectivity == 0.6


def test_the_chunks_of_a_document_come_in_reading_order(tables: DuckTables) -> None:
    assert tables.numbers_of("handbook", "a.md") == [3, 4]
    assert tables.numbers_of("handbook", "b.md") == []


def test_documents_are_the_rows_of_their_dataset(builder: TableBuilder, tmp_path: Path) -> None:
    document = Document("handbook", "a.md", "text", sha256_of("text"), columns={"path": "a.md", "tier": "3"})
    builder.add_documents(HANDBOOK, [document])
    assert builder.seal() == {"chunks": 0, "documents": 1, "rows:orders": 0, "rows:notes": 0, "rows:handbook": 1}
    reader = DuckTables(tmp_path / "tables.duckdb", PRODUCT)
    assert reader.rows("handbook", ["path", "tier"], TRUE) == [{"path": "a.md", "tier": 3}]


def test_sealing_leaves_the_tables_and_the_passages(builder: TableBuilder, tmp_path: Path) -> None:
    builder.add_rows(ORDERS, [ROW] * 100)
    builder.seal()
    names = ["passages.jsonl", "passages.offsets", "tables.duckdb"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_many_threads_may_read(tables: DuckTables) -> None:
    failures: list[Exception] = []

    def read() -> None:
        try:
            for _ in range(20):
                assert tables.texts([1, 4]) == [CHUNKS[1], CHUNKS[4]]
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "ATTACH '/tmp/other.duckdb'",
        "COPY (SELECT 1) TO '/tmp/leak.csv'",
        "SET threads = 8",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "CREATE TABLE {name}.main.mine (a INTEGER)",
        "DROP TABLE {name}.main.orders",
    ],
)
def test_a_sealed_connection_reaches_and_changes_nothing(
    tables: DuckTables, tmp_path: Path, statement: str
) -> None:
    path = tmp_path / "tables.duckdb"
    attached = attach_sealed({"shop": path}, threads=2, memory_bytes=2**28)
    for connection, name in ((open_sealed(path), "tables"), (attached, "shop")):
        with pytest.raises(Exception, match=r"Error|disabled|locked|read-only|not exist"):
            connection.execute(statement.format(name=name))
        connection.close()


def test_attached_products_answer_together(tables: DuckTables, tmp_path: Path) -> None:
    path = tmp_path / "tables.duckdb"
    connection = attach_sealed({"shop": path}, threads=2, memory_bytes=2**28)
    assert connection.execute("SELECT count(*) FROM shop.orders").fetchall() == [(3,)]
    connection.close()


def test_quality_sql_of_a_contract_reaches_no_file(builder: TableBuilder) -> None:
    with pytest.raises(Exception, match="disabled"):
        builder.query("SELECT * FROM read_text('/etc/passwd')")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tables.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(CorruptGeneration, match=r"tables\.duckdb"):
        DuckTables(tmp_path / "tables.duckdb", PRODUCT)
