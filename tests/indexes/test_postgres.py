"""PostgreSQL as a user meets it: one snapshot, one clear error, and live rows only under the grant."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from indexes.postgres.connection import Pool, connect, server_dsn, shown
from indexes.postgres.cursors import BATCH_ROWS, snapshot
from indexes.postgres.load import load_tables
from indexes.postgres.records import PostgresRecords
from indexes.postgres.relation import Relation
from semantic_layer.errors import DeadlineExceeded, EngineUnavailable, InvalidArgument, SourceFailed
from semantic_layer.mask import Mask
from semantic_layer.policy import Masking
from semantic_layer.predicate import FALSE, TRUE, Compare, Contains, In, Predicate
from semantic_layer.product import Column, ColumnType, Dataset, Server

pytestmark = pytest.mark.postgres

SCHEMA = """
CREATE TABLE orders (
    id text PRIMARY KEY, region text, total numeric(10, 2), lines int4, placed_at timestamptz,
    email text, tags text[], extra jsonb, "odd ""name%" text
);
CREATE TABLE prices (id int4, price money, span interval);
"""
ORDERS = Dataset(
    "orders",
    "table",
    (
        Column("id", ColumnType.STRING, key_position=1, physical_type="text"),
        Column("region", ColumnType.STRING, physical_type="text"),
        Column("total", ColumnType.DECIMAL, precision=10, scale=2, physical_type="numeric"),
        Column("lines", ColumnType.INTEGER, physical_type="int4"),
        Column("placed_at", ColumnType.TIMESTAMP, physical_type="timestamptz"),
        Column("email", ColumnType.STRING, physical_type="text", classification="personal"),
        Column("tags", ColumnType.ARRAY, items=ColumnType.STRING),
        Column("extra", ColumnType.OBJECT),
        Column('odd "name%', ColumnType.STRING),
    ),
)
TABLE = Relation("public", "orders")
COLUMNS = tuple(column.name for column in ORDERS.columns)
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def order(number: int, region: str = "EU", email: str = "ann@example.com") -> tuple[Any, ...]:
    return (f"o{number}", region, Decimal("19.90"), number, NOON, email, ["a", "b"], '{"gift": true}', "x")


@pytest.fixture
def orders(postgres_dsn: str) -> str:
    load_tables(
        postgres_dsn,
        SCHEMA,
        [("orders", COLUMNS, [order(1), order(2, "US", "bob@example.com")]), ("prices", ("id",), [])],
    )
    return postgres_dsn


@pytest.fixture
def pool(orders: str) -> Iterator[Pool]:
    pool = Pool(orders)
    yield pool
    pool.close()


def fetch(pool: Pool, *names: str, where: Predicate = TRUE, **rest: Any) -> list[dict[str, Any]]:
    columns = [column for column in ORDERS.columns if column.name in names]
    given = {"order": (), "limit": 10, "deadline_seconds": 5.0, **rest}
    return PostgresRecords(pool, "public", ORDERS).fetch(columns, where, **given)


def test_rows_arrive_with_the_types_the_contract_promises(orders: str) -> None:
    with snapshot(orders) as view:
        view.check(TABLE, ORDERS.columns)
        [rows] = list(view.rows(TABLE, ORDERS.columns))
    assert sorted(rows)[0] == (
        "o1",
        "EU",
        Decimal("19.90"),
        1,
        NOON,
        "ann@example.com",
        ["a", "b"],
        {"gift": True},
        "x",
    )


def test_a_snapshot_does_not_see_what_is_written_meanwhile(orders: str) -> None:
    with snapshot(orders) as view:
        before = view.digest(TABLE, ORDERS.columns)
        with connect(orders) as other:
            other.execute("UPDATE orders SET region = 'APAC' WHERE id = 'o1'")
        assert view.digest(TABLE, ORDERS.columns) == before
    with snapshot(orders) as view:
        assert view.digest(TABLE, ORDERS.columns) != before


def test_the_digest_of_rows_does_not_depend_on_their_order(orders: str) -> None:
    with snapshot(orders) as view:
        digest = view.digest(TABLE, ORDERS.columns)
    load_tables(
        orders,
        SCHEMA,
        [("orders", COLUMNS, [order(2, "US", "bob@example.com"), order(1)]), ("prices", ("id",), [])],
    )
    with snapshot(orders) as view:
        assert view.digest(TABLE, ORDERS.columns) == digest


def test_many_rows_come_in_bounded_batches(orders: str) -> None:
    rows = [order(number) for number in range(BATCH_ROWS + 7)]
    load_tables(orders, SCHEMA, [("orders", COLUMNS, rows), ("prices", ("id",), [])])
    with snapshot(orders) as view:
        sizes = [len(batch) for batch in view.rows(TABLE, ORDERS.columns[:2])]
    assert sizes == [BATCH_ROWS, 7]


def test_every_column_that_does_not_fit_is_named_at_once(orders: str) -> None:
    wrong = (
        Column("id", ColumnType.INTEGER),
        Column("regoin", ColumnType.STRING),
        Column("total", ColumnType.DECIMAL),
    )
    with snapshot(orders) as view, pytest.raises(SourceFailed) as failure:
        view.check(TABLE, wrong)
    assert "'id' is text and the contract says integer" in failure.value.message
    assert "'regoin' is missing (there is 'region')" in failure.value.message
    assert "'total'" not in failure.value.message


@pytest.mark.parametrize("name", ["price", "span"])
def test_a_type_that_no_contract_type_fits_is_refused_by_name(orders: str, name: str) -> None:
    with snapshot(orders) as view:
        for kind in ColumnType:
            with pytest.raises(SourceFailed, match=f"column '{name}' is (money|interval)"):
                view.check(Relation("public", "prices"), (Column(name, kind),))


def test_a_missing_table_is_named_with_the_nearest_one(orders: str) -> None:
    with snapshot(orders) as view, pytest.raises(SourceFailed) as failure:
        view.columns(Relation("public", "ordrs"))
    assert "no table public.ordrs" in failure.value.message
    assert "'orders'" in failure.value.hint


def test_a_server_that_is_down_is_named_without_its_password(tmp_path: Path) -> None:
    dsn = f"postgresql://me:secret@/shop?host={tmp_path}"
    with pytest.raises(EngineUnavailable) as failure, snapshot(dsn):
        pass
    assert f"shop at {tmp_path}" in failure.value.message
    assert "secret" not in str(failure.value)
    assert failure.value.message.endswith("No such file or directory.")
    assert shown("postgresql://me:secret@db.example.com/shop") == "shop at db.example.com:5432"


def test_a_malformed_dsn_is_an_invalid_argument() -> None:
    with pytest.raises(InvalidArgument, match="DSN"):
        connect("not a dsn")


def test_a_lookup_returns_only_rows_of_the_grant(pool: Pool) -> None:
    assert [row["id"] for row in fetch(pool, "id", where=Compare("region", "eq", "EU"))] == ["o1"]
    assert fetch(pool, "id", where=FALSE) == []


def test_values_of_a_filter_are_never_read_as_sql(pool: Pool) -> None:
    assert fetch(pool, "id", where=Compare("region", "eq", "EU' OR '1'='1")) == []
    assert [r["id"] for r in fetch(pool, "id", where=Compare('odd "name%', "eq", "x"))] == ["o1", "o2"]


@pytest.mark.parametrize(
    "attack",
    [
        "o1'; SET ROLE postgres; --",
        "o1' OR set_config('app.tenant', 'other', false) IS NOT NULL --",
        "o1'); SELECT pg_sleep(30); --",
        "x' UNION SELECT dblink('host=evil', 'SELECT 1') --",
        "'; COPY orders TO PROGRAM 'touch /tmp/pwned'; --",
        "' || lo_import('/etc/passwd') || '",
        "%(id)s $1 ${x} {} \\'; DROP TABLE orders; --",
    ],
)
def test_case_48_nothing_a_caller_writes_becomes_sql(pool: Pool, attack: str) -> None:
    started = time.monotonic()
    for where in (Compare("id", "eq", attack), In("id", (attack, "o1")), Contains("id", attack)):
        assert [row["id"] for row in fetch(pool, "id", where=where)] in ([], ["o1"])
    with pytest.raises(KeyError):
        fetch(pool, "id", order=(attack,))
    assert time.monotonic() - started < 10
    assert len(fetch(pool, "id")) == 2


def test_a_masked_column_shows_its_value_only_where_a_rule_allows_it(pool: Pool) -> None:
    masks = {"email": Masking(Mask("hash", key=b"k"), In("region", ("US",)))}
    rows = fetch(pool, "id", "email", where=In("region", ("EU", "US")), masks=masks)
    assert rows[0] == {"id": "o1", "email": Mask("hash", key=b"k").apply("ann@example.com")}
    assert rows[1] == {"id": "o2", "email": "bob@example.com"}


def test_timestamps_arrive_in_utc_as_the_sealed_tables_hold_them(pool: Pool) -> None:
    assert fetch(pool, "placed_at")[0] == {"placed_at": NOON}


def test_a_column_of_another_name_in_its_table_is_read_under_the_contracts_name(pool: Pool) -> None:
    number = Column("number", ColumnType.STRING, physical_name="id", key_position=1)
    records = PostgresRecords(pool, "public", Dataset("orders", "table", (number,)))
    assert records.fetch([number], Compare("number", "eq", "o2"), ("-number",), 5, 5.0) == [{"number": "o2"}]


def test_a_dsn_comes_from_the_environment_variable_that_the_contract_names() -> None:
    server = Server("shop", "postgres", options={"dsn": "${SHOP_DSN}"})
    assert server_dsn(server, {"SHOP_DSN": "postgresql:///shop"}) == "postgresql:///shop"
    with pytest.raises(InvalidArgument, match="'shop' needs the environment variable SHOP_DSN"):
        server_dsn(server, {})


def test_rows_come_in_the_order_asked(pool: Pool) -> None:
    assert [row["id"] for row in fetch(pool, "id", order=("-region",))] == ["o2", "o1"]


def test_a_lookup_past_its_deadline_is_stopped_by_the_server(pool: Pool, orders: str) -> None:
    with connect(orders) as writer:
        writer.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DeadlineExceeded):
            fetch(pool, "id", deadline_seconds=0.05)


def test_a_column_dropped_since_the_ingest_is_named(pool: Pool, orders: str) -> None:
    with connect(orders) as owner:
        owner.execute("ALTER TABLE orders DROP COLUMN lines")
    with pytest.raises(SourceFailed, match="lines"):
        fetch(pool, "lines")


def test_a_lookup_cannot_write(pool: Pool) -> None:
    with pool.connection(5) as connection, connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("DELETE FROM orders")


def test_a_live_table_whose_server_is_down_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=str(tmp_path)):
        fetch(Pool(f"postgresql:///shop?host={tmp_path}"), "id")
