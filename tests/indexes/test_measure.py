"""Numbers through the reading process: right, typed, stopped in time, and with no way out of the sealed tables."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from small_shop import MODELS, NOON, PRODUCTS, ROWS, grants, policy, rule

from indexes.cancellation import Cancellation
from indexes.duck.table_builder import TableBuilder
from indexes.duck.workers import Limits, Workers
from indexes.generation import TABLES
from indexes.ledger import Tombstone, Tombstones
from indexes.library import Snapshot
from indexes.measure import Measured, compile_snapshot, databases_of, measure
from indexes.values import DimensionValues, dimension_values
from semantic_layer.errors import (
    Cancelled,
    CorruptGeneration,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidArgument,
    Refused,
    UnknownName,
    WellheadError,
)
from semantic_layer.plan.query import MetricQuery
from semantic_layer.predicate import Compare
from semantic_layer.product import ColumnType
from semantic_layer.sql.compile import TOTAL_ROWS

LIMITS = Limits(processes=2, idle=2, memory_bytes=200_000_000, rows=1_000)
SLOW = "SELECT sum(a.range * b.range) AS n FROM range(4000000) a, range(4000000) b"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """One edition: both products of the small shop, sealed."""
    home = tmp_path_factory.mktemp("home")
    for product in PRODUCTS.values():
        (home / product.name).mkdir()
        builder = TableBuilder(home / product.name / TABLES, product)
        for dataset in product.datasets:
            names = [column.name for column in dataset.columns]
            rows = ROWS.get(f"{product.name}.{dataset.name}", [])
            builder.add_rows(dataset, [dict(zip(names, row, strict=True)) for row in rows])
        builder.seal()
    generations = {
        name: SimpleNamespace(folder=home / name, product=product, semantics=MODELS.get(name))
        for name, product in PRODUCTS.items()
    }
    return cast("Snapshot", SimpleNamespace(generations=generations, tombstones=Tombstones()))


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    pool = Workers(LIMITS)
    yield pool
    pool.close()


@pytest.fixture
def databases(snapshot: Snapshot) -> Mapping[str, Path]:
    return databases_of(snapshot)


def ask(snapshot: Snapshot, workers: Workers, query: Mapping[str, Any], **options: Any) -> Measured:
    given = options.pop("given", None) or grants()
    asked = MetricQuery.from_json(query)
    return measure(snapshot, asked, given, deadline_seconds=30, as_of=NOON, workers=workers, **options)


def values(snapshot: Snapshot, workers: Workers, dimension: str, **options: Any) -> DimensionValues:
    given = options.pop("given", None) or grants()
    return dimension_values(snapshot, dimension, given, workers=workers, **options)


def test_rows_come_back_typed_with_what_they_cost(snapshot: Snapshot, workers: Workers) -> None:
    found = ask(snapshot, workers, {"metrics": ["revenue", "order_count"], "time": {"grain": "month"}})
    assert found.rows[0] == {"metric_time__month": date(2025, 1, 1), "revenue": Decimal("10.00"), "order_count": 1}
    kinds = [column.type for column in found.columns]
    assert kinds == [ColumnType.DATE, ColumnType.DECIMAL, ColumnType.INTEGER]
    assert found.total_rows == 3
    assert found.totals is None
    assert found.rows_scanned == 5
    assert found.products == ("shop",)
    assert found.metrics == (("shop", "revenue"), ("shop", "order_count"))
    assert found.as_of == NOON
    assert not found.limited


def test_sums_of_integers_are_integers_and_moments_carry_the_zone(snapshot: Snapshot, workers: Workers) -> None:
    found = ask(snapshot, workers, {"metrics": ["units"], "time": {"grain": "hour"}, "limit": 1})
    (row,) = found.rows
    assert type(row["units"]) is int
    assert row["metric_time__hour"].isoformat() == "2025-01-31T23:00:00+01:00"


def test_a_page_knows_the_whole(snapshot: Snapshot, workers: Workers) -> None:
    query = {"metrics": ["revenue"], "dimensions": ["customer__region"], "limit": 1}
    first = ask(snapshot, workers, query)
    assert (first.total_rows, first.totals) == (3, {"revenue": Decimal("310.00")})
    pages = [ask(snapshot, workers, query, offset=offset).rows for offset in range(3)]
    assert [row["customer__region"] for page in pages for row in page] == ["EU", "US", None]
    past = ask(snapshot, workers, query, offset=7)
    assert (past.rows, past.total_rows) == ((), 3)


def test_an_answer_that_nothing_cuts_is_counted_by_its_reader(snapshot: Snapshot) -> None:
    query = {"metrics": ["revenue"], "dimensions": ["customer__region"]}
    for cut, counted in (({}, False), ({"limit": 9}, True)):
        compiled = compile_snapshot(snapshot, MetricQuery.from_json({**query, **cut}), grants(), as_of=NOON)
        assert (TOTAL_ROWS in compiled.uncounted()) is counted
        assert TOTAL_ROWS in compiled.statement.sql


def test_values_that_occur_together_have_pages_and_no_totals(snapshot: Snapshot, workers: Workers) -> None:
    found = ask(snapshot, workers, {"dimensions": ["order__status", "store__city"], "limit": 2})
    assert found.rows[0] == {"order__status": "open", "store__city": "Paris"}
    assert (found.total_rows, found.totals, found.metrics) == (5, None, ())


def test_a_forbidden_row_is_not_counted(snapshot: Snapshot, workers: Workers) -> None:
    eu = grants(crm=policy("crm", rule("eu", rows=Compare("region", "eq", "EU"))))
    found = ask(snapshot, workers, {"metrics": ["revenue"]}, given=eu)
    assert found.rows == ({"revenue": Decimal("270.00")},)
    assert found.limited


def test_an_erased_subject_is_not_counted(snapshot: Snapshot, workers: Workers) -> None:
    erased = Tombstones(1, (Tombstone("shop", "orders", "customer_id", ("10",)),))
    after = cast("Snapshot", SimpleNamespace(generations=snapshot.generations, tombstones=erased))
    assert ask(after, workers, {"metrics": ["order_count"]}).rows == ({"order_count": 3},)


def test_an_answer_of_too_many_rows_is_refused(snapshot: Snapshot, databases: Mapping[str, Path]) -> None:
    pool = Workers(Limits(rows=2))
    try:
        with pytest.raises(Refused, match="more than 2 rows") as caught:
            ask(snapshot, pool, {"metrics": ["revenue"], "dimensions": ["customer__region"]})
        assert caught.value.rule == "row_limit"
    finally:
        pool.close()


# -- values ------------------------------------------------------------------------------------------------


def test_values_of_a_dimension_come_with_their_rows(snapshot: Snapshot, workers: Workers) -> None:
    found = values(snapshot, workers, "customer__region")
    assert (found.values, found.rows, found.total) == (("EU", "US"), (2, 1), 2)
    assert values(snapshot, workers, "city", contains="O").values == ("Bonn", "Rome")
    assert values(snapshot, workers, "store__city", limit=1).total == 3
    assert values(snapshot, workers, "ordered_at__month").values == (
        date(2025, 1, 1),
        date(2025, 2, 1),
        date(2025, 3, 1),
    )


def test_values_follow_rights_and_small_groups(snapshot: Snapshot, workers: Workers) -> None:
    eu = grants(
        crm=policy("crm", rule("eu", columns=["customer_id", "region"], rows=Compare("region", "eq", "EU")))
    )
    assert values(snapshot, workers, "customer__region", given=eu).values == ("EU",)
    with pytest.raises(UnknownName):
        values(snapshot, workers, "customer__email", given=eu)
    two = grants(crm=policy("crm", rule("all"), minimum_group_size=2))
    assert values(snapshot, workers, "customer__region", given=two).values == ("EU",)
    with pytest.raises(InvalidArgument, match="another dimension for each metric"):
        values(snapshot, workers, "metric_time__month")


# -- the reading process -----------------------------------------------------------------------------------


def run(workers: Workers, databases: Mapping[str, Path], sql: str, seconds: float = 30, **options: Any) -> Any:
    return workers.run(databases, sql, {}, deadline_seconds=seconds, **options).table.to_pylist()


def test_a_query_past_its_deadline_is_stopped_and_the_next_one_answers(
    workers: Workers, databases: Mapping[str, Path]
) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="its deadline"):
        run(workers, databases, SLOW, 0.5)
    assert time.monotonic() - started < 5
    assert run(workers, databases, "SELECT 1 AS one") == [{"one": 1}]


def test_a_cancelled_call_ends_at_once(workers: Workers, databases: Mapping[str, Path]) -> None:
    cancellation = Cancellation()
    ended: list[BaseException] = []

    def call() -> None:
        try:
            run(workers, databases, SLOW, cancellation=cancellation)
        except WellheadError as error:
            ended.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while not cancellation.at_work:
        thread.join(0.01)
    cancellation.cancel()
    thread.join(10)
    assert [type(error) for error in ended] == [Cancelled]
    with pytest.raises(Cancelled, match="before it ran"):
        run(workers, databases, "SELECT 1", cancellation=cancellation)


def test_a_query_that_needs_too_much_memory_is_refused(workers: Workers, databases: Mapping[str, Path]) -> None:
    greedy = "SELECT max(len(l)) AS n FROM (SELECT list(range) AS l FROM range(60000000) GROUP BY range % 3)"
    with pytest.raises(Refused, match="200 MB") as caught:
        run(workers, databases, greedy)
    assert caught.value.rule == "memory_limit"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "COPY (SELECT 1) TO '/tmp/wellhead-escape.csv'",
        "ATTACH '/tmp/wellhead-escape.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '64GB'",
        "SET enable_external_access = true",
        "CREATE TABLE shop.main.more AS SELECT 1",
        "DELETE FROM shop.main.orders",
    ],
)
def test_there_is_no_way_out_of_the_sealed_tables(
    workers: Workers, databases: Mapping[str, Path], sql: str
) -> None:
    with pytest.raises(WellheadError):
        run(workers, databases, sql)
    assert not Path("/tmp/wellhead-escape.csv").exists()
    assert not Path("/tmp/wellhead-escape.duckdb").exists()
    assert run(workers, databases, "SELECT count(*) AS n FROM shop.main.orders") == [{"n": 5}]


def test_secrets_of_the_parent_are_not_in_the_reading_process(
    monkeypatch: pytest.MonkeyPatch, databases: Mapping[str, Path]
) -> None:
    monkeypatch.setenv("WELLHEAD_POSTGRES_DSN", "postgresql://secret")
    pool = Workers()
    try:
        cancellation = Cancellation()
        pool.warm(databases)
        (pid,) = pool.process_ids
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"secret" not in environment
        assert not cancellation.cancelled
    finally:
        pool.close()


def test_a_process_that_died_is_replaced(databases: Mapping[str, Path]) -> None:
    pool = Workers()
    try:
        assert run(pool, databases, "SELECT 1 AS one") == [{"one": 1}]
        (pid,) = pool.process_ids
        os.kill(pid, 9)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert run(pool, databases, "SELECT 2 AS two") == [{"two": 2}]
        assert pool.process_ids != (pid,)
    finally:
        pool.close()


def test_a_warm_process_serves_one_cut_and_another_edition_gets_its_own(
    workers: Workers, databases: Mapping[str, Path]
) -> None:
    run(workers, databases, "SELECT 1")
    before = workers.process_ids
    run(workers, databases, "SELECT 1")
    assert workers.process_ids == before
    only_crm = {"crm": databases["crm"]}
    assert run(workers, only_crm, "SELECT count(*) AS n FROM crm.main.customers") == [{"n": 3}]
    with pytest.raises(WellheadError):
        run(workers, only_crm, "SELECT count(*) FROM shop.main.orders")


def test_damaged_tables_are_named(workers: Workers, tmp_path: Path) -> None:
    broken = tmp_path / TABLES
    broken.write_bytes(b"not a database" * 1000)
    with pytest.raises(CorruptGeneration, match="does not open"):
        run(workers, {"broken": broken}, "SELECT 1")


def test_a_statement_that_fails_is_an_error_with_its_reason(
    workers: Workers, databases: Mapping[str, Path]
) -> None:
    with pytest.raises(WellheadError, match="could not be computed") as caught:
        run(workers, databases, "SELECT CAST('x' AS INTEGER)")
    assert not isinstance(caught.value, EngineUnavailable)


def test_a_process_whose_engine_broke_is_replaced_and_the_query_answered(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    real = workers._asked

    def broken_once(process: Any, *rest: Any) -> Any:
        asked.append(process)
        return (
            ({"failed": "engine", "message": "INTERNAL Error"}, b"") if len(asked) == 1 else real(process, *rest)
        )

    monkeypatch.setattr(workers, "_asked", broken_once)
    assert workers.run({}, "SELECT 1 AS one", {}, deadline_seconds=20).table.to_pylist() == [{"one": 1}]
    assert asked[0] is not asked[1]
