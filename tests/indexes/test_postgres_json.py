"""Columns inside JSONB arrive as a record's paths give them, and what does not fit is named."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from indexes.postgres.connection import connect
from indexes.postgres.cursors import snapshot
from indexes.postgres.json_columns import alias
from indexes.postgres.relation import relation_of
from semantic_layer.errors import SourceFailed
from semantic_layer.json_path import flatten
from semantic_layer.product import Column, ColumnType, Dataset

pytestmark = pytest.mark.postgres

DOCUMENTS: tuple[dict[str, Any], ...] = (
    {
        "a": {"text": "ü ' \" %", "whole": 7, "exact": 1.50, "yes": True, "day": "2025-03-01"},
        "list": [{"x": 1, "deep": [{"y": "p"}, {"y": "q"}]}, {"x": 2}, {"z": 0}, {"x": None}],
        "tags": ["m", "n", None],
        "odd name": {'quo"te': "found", "dot.ted": 5},
    },
    {"a": {"text": None, "whole": None}, "list": [], "tags": []},
    {"a": {}, "list": None, "odd name": {}},
    {},
)
COLUMNS = (
    Column("text", ColumnType.STRING, path="$.body.a.text"),
    Column("whole", ColumnType.INTEGER, path="$.body.a.whole"),
    Column("exact", ColumnType.DECIMAL, path="$.body.a.exact"),
    Column("yes", ColumnType.BOOLEAN, path="$.body.a.yes"),
    Column("xs", ColumnType.ARRAY, items=ColumnType.INTEGER, path="$.body.list[*].x"),
    Column("ys", ColumnType.ARRAY, items=ColumnType.STRING, path="$.body.list[*].deep[*].y"),
    Column("tags", ColumnType.ARRAY, items=ColumnType.STRING, path="$.body.tags"),
    Column("list", ColumnType.ARRAY, items=ColumnType.OBJECT, path="$.body.list"),
    Column("whole_a", ColumnType.OBJECT, path="$.body.a"),
    Column("quoted", ColumnType.STRING, path="$.body['odd name']['quo\"te']"),
    Column("dotted", ColumnType.INTEGER, path="$.body['odd name']['dot.ted']"),
)
GOODS = Dataset(
    "goods", "record", (Column("n", ColumnType.INTEGER, key_position=1), *COLUMNS), physical_name="goods"
)


def fill(dsn: str, documents: tuple[dict[str, Any], ...]) -> None:
    with connect(dsn) as connection:
        connection.execute("DROP TABLE IF EXISTS goods")
        connection.execute("CREATE TABLE goods (n int, body jsonb)")
        for number, document in enumerate(documents):
            connection.execute("INSERT INTO goods VALUES (%s, %s)", (number, json.dumps(document)))


def read(dsn: str, dataset: Dataset) -> list[dict[str, Any]]:
    with snapshot(dsn) as view:
        relation = relation_of("public", dataset)
        view.check(relation, dataset.columns)
        names = [column.name for column in dataset.columns]
        found = [
            dict(zip(names, row, strict=True)) for batch in view.rows(relation, dataset.columns) for row in batch
        ]
    return sorted(found, key=lambda row: row["n"])


def test_every_path_gives_what_it_gives_in_a_record(postgres_dsn: str) -> None:
    fill(postgres_dsn, DOCUMENTS)
    paths = {column.name: column.path for column in COLUMNS}
    for number, (row, document) in enumerate(zip(read(postgres_dsn, GOODS), DOCUMENTS, strict=True)):
        true = flatten({"body": document}, paths)
        if true["exact"] is not None:
            true["exact"] = Decimal(str(true["exact"]))
        assert row == {"n": number, **true}


def test_a_value_that_does_not_fit_its_column_stops_the_read_and_is_named(postgres_dsn: str) -> None:
    fill(postgres_dsn, ({"a": {"whole": "many"}},))
    with pytest.raises(SourceFailed, match="many"):
        read(postgres_dsn, GOODS)


def test_a_path_into_a_column_that_is_not_there_is_named(postgres_dsn: str) -> None:
    fill(postgres_dsn, DOCUMENTS)
    wrong = Dataset(
        "goods", "record", (Column("x", ColumnType.STRING, path="$.bodi.a.text"),), physical_name="goods"
    )
    with pytest.raises(SourceFailed, match="bodi"):
        read(postgres_dsn, wrong)


def test_long_paths_have_names_that_postgres_keeps_whole() -> None:
    first, second = (Column("c", ColumnType.STRING, path=f"$.{'long' * 20}.{end}") for end in "ab")
    assert alias(first) != alias(second)
    assert all(len(alias(column)) <= 63 for column in (first, second))
