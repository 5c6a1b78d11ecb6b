"""A grant read live from PostgreSQL: the rows that row-level security in the database would give, and its masks."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from indexes.cancellation import Cancellation, working_for
from indexes.postgres.connection import READ_ONLY, Pool, connect, server_dsn
from indexes.postgres.load import load_tables
from indexes.postgres.records import PostgresRecords
from semantic_layer.errors import Cancelled
from semantic_layer.filter_form import parse_filter
from semantic_layer.mask import Mask
from semantic_layer.policy import Action, ColumnChoice, Masking, Policy, Rule, decide
from semantic_layer.predicate import FALSE, TRUE, Compare, In, IsNull, Not, Predicate
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset, Server
from semantic_layer.sql.predicate import where_text

pytestmark = pytest.mark.postgres

SCHEMA = """
CREATE TABLE accounts (
    id int8 PRIMARY KEY, region text, owner text, balance numeric(12, 2), score float8, active bool,
    opened timestamptz, born date, tags text[], ref uuid
);
"""
ACCOUNTS = Dataset(
    "accounts",
    "table",
    (
        Column("id", ColumnType.INTEGER, key_position=1),
        Column("region", ColumnType.STRING),
        Column("owner", ColumnType.STRING),
        Column("balance", ColumnType.DECIMAL, precision=12, scale=2),
        Column("score", ColumnType.NUMBER),
        Column("active", ColumnType.BOOLEAN),
        Column("opened", ColumnType.TIMESTAMP, physical_type="timestamptz"),
        Column("born", ColumnType.DATE),
        Column("tags", ColumnType.ARRAY, items=ColumnType.STRING),
        Column("ref", ColumnType.STRING, physical_type="uuid"),
    ),
)
PRODUCT = DataProduct("bank", "1", "bank", "active", "v3.1.0", datasets=(ACCOUNTS,))
EVA = Principal("eva", frozenset({"clerk"}), {"regions": ("EU", "APAC"), "login": "eva", "ceiling": 500})
START = datetime(2025, 1, 1, tzinfo=UTC)
REFS = [uuid.UUID(int=n) for n in range(3)]

IN_EU = {"field": "region", "op": "eq", "value": "EU"}
AGREEING: list[tuple[Any, str]] = [
    ({"field": "region", "op": "in", "value": {"principal": "regions"}}, "region = ANY('{EU,APAC}')"),
    ({"field": "owner", "op": "eq", "value": {"principal": "login"}}, "owner = current_setting('app.login')"),
    ({"field": "balance", "op": "lt", "value": {"principal": "ceiling"}}, "balance < 500"),
    ({"not": {"field": "region", "op": "eq", "value": "US"}}, "NOT (region = 'US')"),
    ({"field": "region", "op": "not_in", "value": ["US", "EU"]}, "region NOT IN ('US', 'EU')"),
    ({"field": "region", "op": "is_null", "value": True}, "region IS NULL"),
    ({"field": "balance", "op": "between", "value": ["-10.50", "99.99"]}, "balance BETWEEN -10.50 AND 99.99"),
    ({"field": "opened", "op": "ge", "value": "2025-01-15T00:00:00+02:00"}, "opened >= '2025-01-15 00:00+02'"),
    ({"field": "born", "op": "lt", "value": "2000-01-01"}, "born < '2000-01-01'"),
    ({"field": "owner", "op": "contains", "value": "v"}, "strpos(owner, 'v') > 0"),
    ({"field": "owner", "op": "gt", "value": "Eva"}, "owner COLLATE \"C\" > 'Eva'"),
    ({"field": "active", "op": "eq", "value": True}, "active"),
    ({"field": "tags", "op": "eq", "value": "vip"}, "'vip' = ANY(tags)"),
    ({"field": "score", "op": "gt", "value": 0.5}, "score > 0.5 AND score <> 'NaN'"),
    ({"field": "ref", "op": "eq", "value": str(REFS[1])}, f"ref = '{REFS[1]}'"),
    ({"any": [IN_EU, {"not": {"field": "active", "op": "eq", "value": True}}]}, "region = 'EU' OR NOT active"),
    (
        {"not": {"any": [IN_EU, {"field": "balance", "op": "gt", "value": 0}]}},
        "NOT (region = 'EU' OR balance > 0)",
    ),
]
"""A policy's row filter, and the row-level policy that its database would state for it."""


def account(number: int, chance: random.Random) -> tuple[Any, ...]:
    def maybe(value: Any) -> Any:
        return None if chance.random() < 0.2 else value

    return (
        number,
        maybe(chance.choice(["EU", "US", "APAC", "eu"])),
        maybe(chance.choice(["eva", "Eva", "ivan", "Zoë", "ann@example.com"])),
        maybe(Decimal(chance.randrange(-2_000, 100_000)) / 100),
        maybe(chance.choice([0.25, 0.5, 0.75, float("nan")])),
        maybe(chance.random() < 0.5),
        maybe(START + timedelta(hours=chance.randrange(800))),
        maybe((START - timedelta(days=chance.randrange(20_000))).date()),
        maybe(chance.choice([[], ["vip"], ["a", "vip"], ["a", None]])),
        maybe(chance.choice(REFS)),
    )


@pytest.fixture(scope="module")
def bank(postgres_dsn: str) -> str:
    chance = random.Random(5)
    rows = [account(number, chance) for number in range(200)]
    load_tables(postgres_dsn, SCHEMA, [("accounts", [column.name for column in ACCOUNTS.columns], rows)])
    with connect(postgres_dsn) as owner:
        owner.execute("DROP ROLE IF EXISTS clerk; CREATE ROLE clerk; GRANT SELECT ON accounts TO clerk")
        owner.execute("ALTER TABLE accounts ENABLE ROW LEVEL SECURITY")
    return postgres_dsn


@pytest.fixture(scope="module")
def clerks(bank: str) -> Iterator[str]:
    """The DSN whose sessions are the role `clerk`, as the contract's hint `role` makes them."""
    yield server_dsn(Server("db", "postgres", options={"dsn": bank, "role": "clerk"}), {})
    with connect(bank) as owner:
        owner.execute("DROP OWNED BY clerk; DROP ROLE clerk")


def granted(*rules: Rule) -> Predicate:
    """The rows of a grant that these rules give the clerk."""
    grant = decide(EVA, PRODUCT, Action.LOOKUP, Policy("bank", rules))
    return grant.dataset("accounts").access(("id",)).rows if grant.allowed else FALSE


def rule(rows: Any, effect: Any = "allow") -> Rule:
    actions = frozenset({Action.DISCOVER, Action.LOOKUP})
    return Rule(
        "clerks",
        frozenset({"clerk"}),
        actions,
        effect=effect,
        columns=ColumnChoice(),
        rows=parse_filter(rows, attributes=True),
    )


def read(dsn: str, where: Predicate) -> list[int]:
    with closing(Pool(dsn, options=READ_ONLY)) as pool:
        records = PostgresRecords(pool, "public", ACCOUNTS)
        return [row["id"] for row in records.fetch([ACCOUNTS.columns[0]], where, (), 1_000, 30.0)]


def let_through(dsn: str, clerks: str, *policies: str) -> list[int]:
    """The rows that the database itself lets the clerk see under these row-level policies."""
    with connect(dsn) as owner:
        owner.execute("DROP POLICY IF EXISTS one ON accounts; DROP POLICY IF EXISTS other ON accounts")
        for name, policy in zip(("one", "other"), policies, strict=False):
            statement = f"CREATE POLICY {name} ON accounts {policy}"
            owner.execute(sql.SQL(statement))  # pyright: ignore[reportArgumentType]
    with connect(clerks) as clerk:
        clerk.execute("SELECT set_config('app.login', 'eva', false)")
        return [row[0] for row in clerk.execute("SELECT id FROM accounts ORDER BY id").fetchall()]


@pytest.mark.parametrize(("rows", "policy"), AGREEING, ids=[policy for _, policy in AGREEING])
def test_the_grant_gives_the_rows_that_row_level_security_gives(
    bank: str, clerks: str, rows: Any, policy: str
) -> None:
    seen = let_through(bank, clerks, f"TO clerk USING ({policy})")
    assert 0 < len(seen) < 200
    assert read(bank, granted(rule(rows))) == seen


def test_rules_that_allow_and_deny_agree_with_permissive_and_restrictive_policies(bank: str, clerks: str) -> None:
    allow, deny = {"field": "region", "op": "eq", "value": "EU"}, {"field": "balance", "op": "gt", "value": 500}
    stated = ("TO clerk USING (region = 'EU')", "AS RESTRICTIVE TO clerk USING (NOT balance > 500)")
    assert read(bank, granted(rule(allow), rule(deny, "deny"))) == let_through(bank, clerks, *stated)
    both = ("TO clerk USING (region = 'EU')", "TO clerk USING (balance > 500)")
    assert read(bank, granted(rule(allow), rule(deny))) == let_through(bank, clerks, *both)


def test_the_contracts_role_puts_both_on_guard_and_the_narrower_holds(bank: str, clerks: str) -> None:
    seen = let_through(bank, clerks, "TO clerk USING (region = 'EU')")
    assert read(clerks, TRUE) == seen
    assert read(clerks, Compare("region", "eq", "US")) == []
    with closing(Pool(clerks, options=READ_ONLY)) as pool, pool.connection(5) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("clerk",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("DELETE FROM accounts")


@pytest.mark.parametrize(
    ("mask", "shown"),
    [
        (Mask("null"), None),
        (Mask("redact"), "[redacted]"),
        (Mask("constant", "—"), "—"),
        (Mask("last4"), "•••.com"),
        (Mask("hash", key=b"k" * 32), Mask("hash", key=b"k" * 32).apply("ann@example.com")),
    ],
)
def test_a_mask_that_needs_nothing_of_the_value_leaves_it_in_the_database(
    bank: str, tmp_path: Path, mask: Mask, shown: Any
) -> None:
    masks = {"owner": Masking(mask, Compare("owner", "eq", "ivan"))}
    columns = [ACCOUNTS.columns[0], ACCOUNTS.columns[2]]
    wire = tmp_path / "wire"
    with closing(Pool(bank, size=1, options=READ_ONLY)) as pool, wire.open("wb") as traced:
        with pool.connection(5) as connection:
            connection.pgconn.trace(traced.fileno())
        records = PostgresRecords(pool, "public", ACCOUNTS)
        rows = records.fetch(columns, TRUE, (), 1_000, 30.0, masks)
        with pool.connection(5) as connection:
            plain = dict(connection.execute("SELECT id, owner FROM accounts").fetchall())
            connection.pgconn.untrace()
    for row in rows:
        expected = shown if plain[row["id"]] == "ann@example.com" else mask.apply(plain[row["id"]])
        assert row["owner"] == ("ivan" if plain[row["id"]] == "ivan" else expected)
    before, _, _ = wire.read_text(errors="replace").partition("SELECT id, owner FROM accounts")
    assert ("ann@example.com" in before) == (mask.kind == "hash")


def test_a_lookup_whose_caller_has_gone_is_stopped_in_the_database(bank: str) -> None:
    cancellation = Cancellation()
    with closing(Pool(bank, options=READ_ONLY)) as pool, connect(bank) as locking:
        locking.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        threading.Timer(0.2, cancellation.cancel).start()
        records = PostgresRecords(pool, "public", ACCOUNTS)
        with working_for(cancellation), pytest.raises(Cancelled, match="'accounts' was cancelled"):
            records.fetch([ACCOUNTS.columns[0]], TRUE, (), 5, 30.0)


def test_a_lookup_by_a_uuid_key_uses_the_index_and_means_the_text(bank: str) -> None:
    with connect(bank) as owner:
        owner.execute("CREATE INDEX IF NOT EXISTS by_ref ON accounts (ref)")
        asked = [Compare("ref", "eq", str(REFS[1])), In("ref", (str(REFS[1]), "not a uuid"))]
        for where in asked:
            text, values = where_text(where, {column.name: column for column in ACCOUNTS.columns}, "postgres")
            owner.execute("SET enable_seqscan = off")
            plan = owner.execute(f"EXPLAIN SELECT id FROM accounts WHERE {text}", values).fetchall()  # pyright: ignore
            assert "by_ref" in str(plan)
        held = [row[0] for row in owner.execute("SELECT id FROM accounts WHERE ref = %s", (REFS[1],)).fetchall()]
    assert [read(bank, where) for where in asked] == [sorted(held)] * 2
    assert read(bank, Compare("ref", "eq", str(REFS[1]).replace("-", ""))) == []
    assert read(bank, Not(Compare("ref", "eq", "not a uuid"))) == read(bank, Not(IsNull("ref")))
