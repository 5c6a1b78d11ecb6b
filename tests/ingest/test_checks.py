"""What a contract promises is held against the built tables; every broken promise is listed with its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from indexes.duck.table_builder import TableBuilder
from ingest.check import CheckResult
from ingest.checks import require, run_checks, warnings_of
from ingest.notes import Notes
from ingest.row_loader import RowLoader
from ingest.sources.opened import RowGroup
from semantic_layer.errors import GateFailed, SourceFailed
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset, QualityRule, Reference

Row = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def checked(
    folder: Path,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    quality: Sequence[QualityRule] = (),
    references: Sequence[Reference] = (),
    others: Sequence[tuple[Dataset, Sequence[Row]]] = (),
) -> list[CheckResult]:
    dataset = Dataset("orders", "table", tuple(columns), quality=tuple(quality), references=tuple(references))
    every = [(dataset, rows), *others]
    product = DataProduct("shop", "1", "c", "active", "1", datasets=tuple(one for one, _ in every))
    with closing(TableBuilder(folder / "tables.duckdb", product)) as builder:
        loader = RowLoader(builder, Notes(), lambda count: None)
        for one, given in every:
            halves = (given[:2], given[2:])
            groups = [RowGroup(f"{n}.csv", lambda half=half: iter(half)) for n, half in enumerate(halves, 1)]
            loader.load(one, groups)
        return run_checks(builder, product, loader.name_row)


def failed(results: Sequence[CheckResult]) -> list[str]:
    return [str(result) for result in results if not result.passed]


def text(name: str, **rest: Any) -> Column:
    return Column(name, ColumnType.STRING, **rest)


ID = text("id", key_position=1, line=4)


@pytest.mark.parametrize(
    ("column", "good", "bad", "said"),
    [
        (text("x", required=True), "a", None, "is never empty"),
        (text("x", unique=True), "b", "a", "is unique"),
        (text("x", enum=("a", "b")), "b", "c", "is one of 'a', 'b'"),
        (text("x", pattern="^a"), "ab", "ba", "matches '^a'"),
        (text("x", format="email"), "a@b.org", "a at b", "has the format email"),
        (text("x", min_length=2), "ab", "é", "at least 2 characters"),
        (text("x", max_length=2), "éé", "abc", "at most 2 characters"),
        (Column("x", ColumnType.INTEGER, minimum=3), 3, 2, "at least 3"),
        (Column("x", ColumnType.INTEGER, minimum=3, minimum_excluded=True), 4, 3, "more than 3"),
        (Column("x", ColumnType.NUMBER, maximum=0.5), 0.5, 0.6, "at most 0.5"),
        (Column("x", ColumnType.DECIMAL, maximum=9, maximum_excluded=True), "8.99", "9", "less than 9"),
        (Column("x", ColumnType.DATE, minimum="2025-01-01"), "2025-01-01", "2024-12-31", "at least 2025-01-01"),
        (Column("x", ColumnType.DECIMAL, multiple_of=0.05), "0.15", "0.16", "multiple of 0.05"),
        (Column("x", ColumnType.BOOLEAN, enum=(True,)), "true", "false", "is one of True"),
        (
            Column("x", ColumnType.ARRAY, items=ColumnType.STRING, enum=("a", "b")),
            ["b", None],
            ["a", "c"],
            "one of",
        ),
    ],
)
def test_a_value_that_breaks_its_columns_promise_is_named_by_file_and_row(
    folder: Path, column: Column, good: Any, bad: Any, said: str
) -> None:
    first = "a" if column.unique else good
    rows = [{"id": "1", "x": first}, {"id": "2", "x": good}, {"id": "3", "x": good if not column.unique else "c"}]
    (folder / "good").mkdir()
    assert failed(checked(folder / "good", [ID, column], rows)) == []
    [problem] = failed(checked(folder, [ID, column], [*rows, {"id": "4", "x": bad}]))
    assert "orders.x" in problem
    assert said in problem
    assert "(2.csv row 2)" in problem


def test_null_breaks_no_promise_but_required(folder: Path) -> None:
    columns = [ID, text("x", enum=("a",), pattern="a", unique=True), Column("n", ColumnType.INTEGER, minimum=1)]
    assert failed(checked(folder, columns, [{"id": "1"}, {"id": "2"}])) == []


def test_a_doubled_primary_key_is_named_with_the_row_that_doubles_it(folder: Path) -> None:
    columns = [text("id", key_position=1), text("line", key_position=2)]
    rows = [{"id": "1", "line": "1"}, {"id": "1", "line": "2"}, {"id": "1", "line": "1"}]
    [problem] = failed(checked(folder, columns, rows))
    assert problem.startswith(
        "orders.id, line: the primary key is never doubled, but 1 row does not (2.csv row 1)"
    )


def test_rows_that_point_at_nothing_are_a_warning_and_do_not_stop(folder: Path) -> None:
    customers = Dataset("customers", "table", (text("id", key_position=1),))
    orphan = Reference(("customer",), "customers", ("id",), line=9)
    rows = [{"id": "1", "customer": "a"}, {"id": "2", "customer": "b"}, {"id": "3", "customer": None}]
    results = checked(
        folder, [ID, text("customer")], rows, references=[orphan], others=[(customers, [{"id": "a"}])]
    )
    [warning] = warnings_of(results)
    assert warning.startswith("orders.customer: is found in customers.id, but 1 row does not (1.csv row 2)")
    require(DataProduct("shop", "1", "c", "active", "1"), results)


ROWS = [
    {"id": "1", "x": "a", "n": 1},
    {"id": "2", "x": "a", "n": 2},
    {"id": "3", "x": "", "n": 3},
    {"id": "4", "x": None, "n": None},
]
QUALITY = [
    ("rowCount", "mustBe", 4, {}, "rows", True),
    ("rowCount", "mustBeBetween", [5, 9], {}, "rows", False),
    ("nullValues", "mustBe", 1, {}, "rows", True),
    ("nullValues", "mustBeLessThan", 25, {}, "percent", False),
    ("nullValues", "mustBeLessOrEqualTo", 25, {}, "percent", True),
    ("missingValues", "mustBe", 2, {}, "rows", True),
    ("missingValues", "mustBe", 3, {"missingValues": [None, "a"]}, "rows", True),
    ("invalidValues", "mustBe", 1, {"validValues": ["a"]}, "rows", True),
    ("invalidValues", "mustNotBe", 0, {"pattern": "^a$"}, "rows", True),
    ("duplicateValues", "mustBe", 1, {}, "rows", True),
    ("duplicateValues", "mustBe", 0, {"properties": ["id", "x"]}, "rows", True),
    ("duplicateValues", "mustNotBeBetween", [0, 3], {}, "rows", False),
]


@pytest.mark.parametrize(("metric", "operator", "bound", "arguments", "unit", "holds"), QUALITY)
def test_library_quality_rules_count_as_the_standard_says(
    folder: Path, metric: str, operator: str, bound: Any, arguments: Row, unit: str, holds: bool
) -> None:
    column = "" if metric == "rowCount" else "x"
    rule = QualityRule("rule", metric, operator, bound, column=column, arguments=arguments, unit=unit, line=7)
    results = checked(folder, [ID, text("x"), Column("n", ColumnType.INTEGER)], ROWS, quality=[rule])
    assert (failed(results) == []) is holds


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ("SELECT count(*) FROM orders WHERE n > 1", True),
        ("SELECT count(*) FROM ${object} WHERE ${property} = 'a'", True),
        ("SELECT max(n) > 2 FROM {table}", False),
    ],
)
def test_an_sql_rule_gives_the_number_that_is_compared(folder: Path, query: str, holds: bool) -> None:
    rule = QualityRule("sql", "sql", "mustBe", 2, column="x", query=query)
    results = checked(folder, [ID, text("x"), Column("n", ColumnType.INTEGER)], ROWS, quality=[rule])
    assert (failed(results) == []) is holds


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DROP TABLE orders", "must be one SELECT"),
        ("SELECT 1; DELETE FROM orders", "must be one SELECT"),
        ("SELECT count(*) FROM read_csv('/etc/passwd')", "does not run"),
        ("SELECT n FROM orders", "4 rows instead of one number"),
        ("SELECT 'x'", "'x' instead of a number"),
        ("SELECT max(n) FROM orders WHERE false", "gives NULL"),
        ("SELECT count(*) FROM nowhere", "does not run"),
        ("SELEC", "does not run"),
        ("COPY orders TO 'x.csv'", "must be one SELECT"),
    ],
)
def test_an_sql_rule_only_reads_its_own_tables(folder: Path, query: str, said: str) -> None:
    rule = QualityRule("sql", "sql", "mustBe", 2, query=query, line=12)
    [problem] = failed(checked(folder, [ID, text("x"), Column("n", ColumnType.INTEGER)], ROWS, quality=[rule]))
    assert said in problem
    assert "contract.yaml:12" in problem


def test_every_broken_promise_is_listed_at_once(folder: Path) -> None:
    rule = QualityRule("enough", "rowCount", "mustBeGreaterThan", 99, line=20)
    soft = QualityRule("soft", "nullValues", "mustBe", 0, column="x", severity="warning", line=21)
    columns = [ID, text("x"), Column("n", ColumnType.INTEGER, maximum=2, line=6)]
    results = checked(folder, columns, ROWS, quality=[rule, soft])
    with pytest.raises(GateFailed) as failure:
        require(DataProduct("shop", "1", "c", "active", "1"), results)
    assert "shop breaks its contract in 2 places" in failure.value.message
    assert "orders.n: is at most 2, but 1 row does not (2.csv row 1); contract.yaml:6" in failure.value.message
    assert "rowCount must be more than 99, but it is 4; contract.yaml:20" in failure.value.message
    assert len(warnings_of(results)) == 1


def test_a_value_of_another_type_is_named_by_file_row_and_column(folder: Path) -> None:
    rows = [{"id": "1", "n": "1"}, {"id": "2", "n": "2"}, {"id": "3", "n": "three"}]
    with pytest.raises(SourceFailed, match=r"orders, 2\.csv, row 1, column 'n': 'three' is not"):
        checked(folder, [ID, Column("n", ColumnType.INTEGER)], rows)


def test_bad_rows_and_files_are_set_aside_where_the_contract_says_so(folder: Path) -> None:
    def broken() -> Iterator[Row]:
        yield {"id": "8", "n": "8"}
        raise SourceFailed("3.csv, line 3: 2 fields expected, 3 found.")

    dataset = Dataset("orders", "table", (ID, Column("n", ColumnType.INTEGER)), on_error="set_aside")
    product = DataProduct("shop", "1", "c", "active", "1", datasets=(dataset,))
    builder, notes = TableBuilder(folder / "tables.duckdb", product), Notes()
    loader = RowLoader(builder, notes, lambda count: None)
    first = [{"id": "1", "n": "x"}, {"id": "2", "n": "2"}]
    second = [{"id": "3", "n": "3"}, {"id": "4", "n": "y"}, {"id": "5", "n": "5"}]
    groups = [
        RowGroup("1.csv", lambda: iter(first)),
        RowGroup("3.csv", broken),
        RowGroup("2.csv", lambda: iter(second)),
    ]
    loader.load(dataset, groups)
    assert builder.query("SELECT id FROM orders ORDER BY rowid") == [("2",), ("3",), ("5",)]
    assert [one["name"] for one in notes.left_out] == ["1.csv row 1", "3.csv", "2.csv row 2"]
    assert "'y' is not" in notes.left_out[2]["reason"]
    assert [loader.name_row("orders", row) for row in (1, 2, 3)] == [("1.csv", 1), ("2.csv", 1), ("2.csv", 2)]
    builder.close()
