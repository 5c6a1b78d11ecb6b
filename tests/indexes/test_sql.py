"""SQL that callers write sees what its grants show and nothing else, whatever it tries, and ends in time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes.duck.untrusted import NotAnnounced, look
from indexes.duck.workers import Workers
from indexes.sql import LIMITS, untrusted, values_of
from semantic_layer.errors import DeadlineExceeded, InvalidArgument, Refused, UnknownName, WellheadError
from semantic_layer.mask import Mask
from semantic_layer.policy import Action, ColumnChoice, Grant, Policy, Rule, decide
from semantic_layer.predicate import TRUE, Compare, In, IsNull, Not, Predicate, any_of, evaluate
from semantic_layer.product import Column, ColumnType, DataProduct
from semantic_layer.sql.governed import GovernedStatement, govern
from tests.small_shop import CALLER, NOON, PRODUCTS, ROWS, Tables, fill

KEY = b"k" * 32
SECONDS = 3.0
Run = Callable[..., list[tuple[Any, ...]]]


def rule(name: str, *datasets: str, rows: Predicate = TRUE, hidden: tuple[str, ...] = (), **options: Any) -> Rule:
    """A rule for everybody and the action sql; `hidden` columns are left out."""
    choice = ColumnChoice(excluded=frozenset(hidden))
    speaks = frozenset(datasets or ("*",))
    return Rule(
        name, frozenset({"*"}), frozenset({Action.SQL}), datasets=speaks, columns=choice, rows=rows, **options
    )


SHOP = Policy(
    "shop",
    (
        rule("orders", "orders", rows=Compare("store_id", "eq", 1), hidden=("note",)),
        rule("rest", "items", "stores", "levels"),
    ),
)
CRM = Policy("crm", (rule("customers", masks={"email": Mask("hash", key=KEY)}),))


def granted(*policies: Policy) -> dict[str, Grant]:
    given = {"shop": SHOP, "crm": CRM, **{policy.product: policy for policy in policies}}
    return {name: decide(CALLER, product, Action.SQL, given[name]) for name, product in PRODUCTS.items()}


def governed(sql: str, grants: Mapping[str, Grant] | None = None, keep: Predicate = TRUE) -> GovernedStatement:
    return govern(sql, PRODUCTS, grants or granted(), keep=lambda product, dataset: keep, now=NOON)


def sealed(folder: Path, rows: Tables) -> dict[str, Path]:
    """Each product's rows as a database file."""
    memory = duckdb.connect()
    fill(memory, rows)
    for name, product in PRODUCTS.items():
        memory.execute(f"ATTACH '{folder / name}.duckdb' AS sealed")
        for dataset in product.datasets:
            memory.execute(f"CREATE TABLE sealed.{dataset.name} AS FROM {name}.main.{dataset.name}")
        memory.execute("DETACH sealed")
    memory.close()
    return {name: folder / f"{name}.duckdb" for name in PRODUCTS}


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return sealed(tmp_path_factory.mktemp("shop"), ROWS)


@pytest.fixture(scope="module")
def without_hidden_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same databases with the rows that SHOP hides taken out."""
    orders = [row for row in ROWS["shop.orders"] if row[2] == 1]
    return sealed(tmp_path_factory.mktemp("filtered"), {**ROWS, "shop.orders": orders})


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    pool = Workers(replace(LIMITS, idle=1))
    yield pool
    pool.close()


@pytest.fixture
def run(databases: dict[str, Path], workers: Workers) -> Run:
    def rows(sql: str, grants: Mapping[str, Grant] | None = None, keep: Predicate = TRUE) -> list[tuple[Any, ...]]:
        statement = governed(sql, grants, keep)
        announced = untrusted(statement, 1_000)
        found = workers.run(databases, statement.sql, {}, deadline_seconds=SECONDS, untrusted=announced)
        return values_of(found.table)

    return rows


# -- what is seen ------------------------------------------------------------------------------------------


def test_a_caller_sees_its_rows_and_its_columns(run: Run) -> None:
    rows = run("select * from shop.orders order by order_id")
    assert [row[0] for row in rows] == [1, 2]
    assert len(rows[0]) == 6


def test_a_dataset_is_found_by_its_own_name_where_only_one_product_has_it(run: Run) -> None:
    assert run("from orders") == run("select * from shop.orders")


def test_a_masked_column_shows_what_every_other_door_shows(run: Run) -> None:
    shown = Mask("hash", key=KEY).apply("a@x.org")
    assert run("select email from crm.customers where customer_id in (10, 11) order by 1") == [(shown,), (None,)]


def test_a_guess_at_a_masked_value_finds_nothing(run: Run) -> None:
    assert run("select count(*) from crm.customers where email = 'a@x.org'") == [(0,)]


def test_erased_rows_are_gone(run: Run) -> None:
    assert run("select count(*) from shop.orders", keep=Not(Compare("order_id", "eq", 1))) == [(1,)]


def test_a_common_table_may_have_a_datasets_name(run: Run) -> None:
    assert run("with orders as (select 7 as n) select n from orders") == [(7,)]
    assert run("with orders as (select order_id from orders) select count(*) from orders") == [(2,)]


def test_columns_of_two_rules_are_combined_only_in_rows_where_one_shows_both(run: Run) -> None:
    two = Policy(
        "shop",
        (
            rule("one", "orders", rows=Compare("order_id", "le", 3), hidden=("status", "note", "ordered_at")),
            rule("two", "orders", rows=Compare("order_id", "ge", 3), hidden=("amount", "note", "ordered_at")),
        ),
    )
    grants = granted(two)
    assert sorted(run("select order_id from orders", grants)) == [(1,), (2,), (3,), (4,), (5,)]
    assert len(run("select amount from orders", grants)) == 3
    assert run("select amount, status from orders", grants) == []
    assert run("select a.amount, b.status from orders a join orders b using (order_id)", grants) == []
    assert run("select amount from orders where status = 'paid'", grants) == []
    assert len(run("select * from orders", grants)) == 3


def test_a_column_masked_in_some_rows_is_plain_in_the_others(run: Run) -> None:
    mixed = Policy(
        "crm",
        (
            rule("eu", rows=Compare("region", "eq", "EU")),
            rule("all", masks={"email": Mask("last4")}),
        ),
    )
    rows = run("select region, email from crm.customers order by customer_id", granted(mixed))
    assert rows == [("EU", "a@x.org"), ("US", None), ("EU", "c@x.org")]


@pytest.mark.parametrize("kind", ["null", "hash", "last4", "redact", "constant"])
def test_masks_of_every_type_show_what_the_mask_itself_shows(kind: Any, tmp_path: Path) -> None:
    mask = Mask(kind, "gone", KEY)
    values: dict[ColumnType, list[Any]] = {
        ColumnType.STRING: ["a@x.org", "é", ""],
        ColumnType.INTEGER: [12345678, -1],
        ColumnType.DECIMAL: [Decimal("10.00"), Decimal("-0.50")],
        ColumnType.BOOLEAN: [True, False],
        ColumnType.DATE: [NOON.date()],
        ColumnType.TIMESTAMP: [NOON, NOON.replace(microsecond=120)],
        ColumnType.TIME: [NOON.time(), NOON.time().replace(microsecond=5)],
    }
    columns = tuple(Column(one.value, one, precision=9, scale=2) for one in values)
    product = DataProduct(
        "p", "1", "p", "active", "1", datasets=(replace(PRODUCTS["crm"].datasets[0], name="t", columns=columns),)
    )
    policy = Policy("p", (rule("m", masks={one.value: mask for one in values}),))
    grant = decide(CALLER, product, Action.SQL, policy)
    statement = govern("select * from p.t", {"p": product}, {"p": grant}, keep=lambda *_: TRUE, now=NOON)
    types = ("VARCHAR", "BIGINT", "DECIMAL(9,2)", "BOOLEAN", "DATE", "TIMESTAMP", "TIME")
    with duckdb.connect() as memory:
        memory.execute("ATTACH ':memory:' AS p")
        declared = ", ".join(f'"{column.name}" {kind}' for column, kind in zip(columns, types, strict=True))
        memory.execute(f"CREATE TABLE p.t ({declared})")
        for number in range(3):
            row = [one[number] if number < len(one) else None for one in values.values()]
            naive = [v.replace(tzinfo=None) if isinstance(v, datetime) else v for v in row]
            memory.execute(f"INSERT INTO p.t VALUES ({', '.join('?' * len(row))})", naive)
            memory.execute(statement.setup[0].sql, statement.setup[0].parameters)
            shown = memory.execute(statement.sql).fetchall()[-1]
            memory.execute("DROP TABLE temp.main.wh_governed_0")
            assert shown == tuple(None if (x := mask.apply(v)) is None else str(x) for v in row)


def test_the_clock_is_the_calls_own(run: Run) -> None:
    assert run("select now(), current_date, current_timestamp") == [(NOON, NOON.date(), NOON)]


def test_a_product_with_a_minimum_group_size_is_not_read_by_sql() -> None:
    with pytest.raises(Refused) as refused:
        governed("select count(*) from crm.customers", granted(replace(CRM, minimum_group_size=5)))
    assert refused.value.rule == "minimum_group_size"


def test_a_product_that_exists_but_grants_no_sql_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="sql on 'crm'"):
        governed("select 1 from crm.customers", granted(Policy("crm")))


# -- random statements -------------------------------------------------------------------------------------

NUMBERS = ("order_id", "customer_id", "store_id", "amount")
WORDS = ("status", "note")


@st.composite
def conditions(draw: st.DrawFn, alias: str = "") -> str:
    column = alias + draw(st.sampled_from([*NUMBERS, *WORDS]))
    plain = draw(
        st.sampled_from(
            [
                f"{column} is null",
                f"{column} is not null",
                f"length(cast({column} as varchar)) > 2",
                f"{column} in (select status from shop.orders)"
                if column.endswith("status")
                else f"{column} is null",
                f"try_cast({column} as integer) between 1 and 12",
                f"coalesce(cast({column} as varchar), 'x') like '%a%'",
                f"exists (select 1 from shop.items i where i.order_id = {alias}order_id and i.quantity > 2)",
            ]
        )
    )
    more = draw(st.booleans())
    return f"({plain} {draw(st.sampled_from(['and', 'or']))} not {draw(conditions(alias))})" if more else plain


@st.composite
def statements(draw: st.DrawFn) -> str:
    where = draw(conditions())
    column, number = draw(st.sampled_from([*NUMBERS, *WORDS])), draw(st.sampled_from(NUMBERS))
    aggregate = draw(st.sampled_from(["sum", "count", "min", "max", "avg", "median", "count(distinct"]))
    aggregated = f"{aggregate} {number})" if aggregate.endswith("distinct") else f"{aggregate}({number})"
    joined = f"shop.orders o join shop.items i on i.order_id = o.order_id where {draw(conditions('o.'))}"
    return draw(
        st.sampled_from(
            [
                f"select {column}, {number} from shop.orders where {where}",
                f"select * from shop.orders where {where}",
                f"select {column}, {aggregated} as x from shop.orders where {where} group by 1",
                f"select {aggregated} from shop.orders having count(*) > 1",
                f"with t as (select * from shop.orders where {where}) select {column}, count(*) from t group by all",
                f"select o.{column}, sum(i.quantity) from {joined} group by o.{column}",
                f"select {column} from shop.orders union all select {column} from shop.orders where {where}",
                f"select order_id, {number}, rank() over (partition by {column} order by order_id) from shop.orders",
                f"select c.email, o.{column} from shop.orders o left join crm.customers c using (customer_id)",
                f"select case when {where} then 'yes' else 'no' end, count(*) from shop.orders group by 1",
                f"select t.* from (select {column} as y, order_id from shop.orders) t where order_id % 2 = 1",
                f"select distinct {column} from shop.orders qualify row_number() over (order by order_id) < 4",
                f"select (select max({number}) from shop.orders x where x.store_id = o.store_id), {column} "
                "from shop.orders o",
            ]
        )
    )


POLICIES = st.builds(
    lambda rows, hidden, mask: (
        Policy("shop", (rule("o", "orders", rows=rows, hidden=hidden, masks=mask), rule("i", "items", "stores"))),
        mask,
        hidden,
        rows,
    ),
    st.sampled_from(
        [
            TRUE,
            Compare("store_id", "eq", 1),
            In("customer_id", (10, 99)),
            Not(IsNull("customer_id")),
            any_of(Compare("status", "eq", "open"), Compare("amount", "gt", Decimal(50))),
        ]
    ),
    st.sampled_from([(), ("note",), ("note", "amount"), ("status",)]),
    st.sampled_from([{}, {"note": Mask("redact")}, {"status": Mask("hash", key=KEY)}]),
)


def plain_rows(sql: str, mask: Mapping[str, Mask], hidden: tuple[str, ...], rows: Predicate) -> list[Any] | None:
    """The same statement over tables that hold only what the policy shows; None where DuckDB refuses it."""
    with duckdb.connect() as memory:
        memory.execute("CREATE SCHEMA shop; CREATE SCHEMA crm")
        for name, product in PRODUCTS.items():
            for dataset in product.datasets:
                held = [dict(zip([c.name for c in dataset.columns], row, strict=True))
                        for row in ROWS[f"{name}.{dataset.name}"]]  # fmt: skip
                masks: Mapping[str, Mask] = {}
                columns = list(dataset.columns)
                if dataset.name == "orders":
                    held, masks = [row for row in held if evaluate(rows, row) is True], mask
                    columns = [c for c in columns if c.name not in hidden or c.name in mask]
                if dataset.name == "customers":
                    masks = {"email": Mask("hash", key=KEY)}
                kinds = dict.fromkeys((ColumnType.STRING,), "VARCHAR") | {
                    ColumnType.INTEGER: "BIGINT", ColumnType.DATE: "DATE", ColumnType.TIMESTAMP: "TIMESTAMP",
                    ColumnType.BOOLEAN: "BOOLEAN", ColumnType.DECIMAL: "DECIMAL(12,2)"}  # fmt: skip
                declared = ", ".join(f"{c.name} {kinds[c.type]}" for c in columns)
                memory.execute(f"CREATE TABLE {name}.{dataset.name} ({declared})")
                for row in held:
                    cells = [masks[c.name].apply(row[c.name]) if c.name in masks else row[c.name] for c in columns]
                    marks = ", ".join("?" * len(cells))
                    memory.execute(f"INSERT INTO {name}.{dataset.name} VALUES ({marks})", cells)
        try:
            return memory.execute(sql).fetchall()
        except duckdb.Error:
            return None


def aware(rows: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for v in row) for row in rows]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(statements(), POLICIES)
def test_random_sql_reads_the_same_as_over_tables_that_hold_only_what_is_granted(
    run: Run, sql: str, policy: tuple[Policy, Mapping[str, Mask], tuple[str, ...], Predicate]
) -> None:
    given_policy, mask, hidden, rows = policy
    expected = plain_rows(sql, mask, hidden, rows)
    try:
        found: list[Any] | None = run(sql, granted(given_policy))
    except (UnknownName, InvalidArgument):
        found = None
    assert (found is None) == (expected is None), (sql, found, expected)
    assert sorted(map(repr, found or [])) == sorted(map(repr, aware(expected or []))), sql


# -- attacks -----------------------------------------------------------------------------------------------

ATTACKS = [
    pytest.param(one["sql"], one["by"], id=f"{kind}-{number}")
    for kind, cases in yaml.safe_load((Path(__file__).parent / "sql_attacks.yaml").read_text("utf-8")).items()
    for number, one in enumerate(cases)
]


@pytest.mark.parametrize(("sql", "by"), ATTACKS)
def test_an_attack_is_turned_away_by_name(run: Run, sql: str, by: str) -> None:
    with pytest.raises(WellheadError) as turned_away:
        run(sql)
    error = turned_away.value
    assert by in (error.code, getattr(error, "rule", "")), error
    assert "wh_" not in str(error).replace(sql, "").replace(repr(sql), "") or "wh_" in sql


def test_a_hidden_name_and_an_absent_one_read_the_same() -> None:
    for hidden, absent in (("note", "nope"), ("secret_product.orders", "absent_product.orders")):
        told: list[str] = []
        for name in (hidden, absent):
            sql = f"select 1 from {name}" if "." in name else f"select {name} from shop.orders"
            with pytest.raises(UnknownName) as unknown:
                governed(sql)
            told.append(str(unknown.value).replace(name, "NAME"))
        assert told[0] == told[1]


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from shop.orders where cast(case when store_id = 2 then 'boom' else '1' end as integer) > 0",
        "select count(*) from shop.orders where cast(status as integer) > 0 and store_id = 2",
        "select count(*) from shop.orders where 9223372036854775805 + order_id > 0",
        "select 1 from shop.orders o where 'x' = (select city from shop.stores s where s.store_id >= o.store_id)",
        "select sqrt(2 - order_id) from shop.orders",
        "select ln(2 - store_id) from shop.orders",
        "select cast(amount * 100000000 as integer) from shop.orders",
        "select cast(customer_id as tinyint) + store_id from shop.orders",
    ],
)
def test_errors_tell_nothing_of_hidden_rows(
    databases: dict[str, Path], without_hidden_rows: dict[str, Path], workers: Workers, sql: str
) -> None:
    """Each statement fails, or not, in the same words whether the hidden rows are there or not."""

    def outcome(over: dict[str, Path]) -> str:
        statement = governed(sql)
        announced = untrusted(statement, 10)
        try:
            found = workers.run(over, statement.sql, {}, deadline_seconds=SECONDS, untrusted=announced)
        except WellheadError as error:
            return str(error)
        return str(found.table.to_pylist())

    assert outcome(databases) == outcome(without_hidden_rows)


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from " + ", ".join(f"shop.items a{n}" for n in range(30)),
        "select string_agg(a0.quantity::varchar, ',') from " + ", ".join(f"shop.items a{n}" for n in range(12)),
        "with t0 as (select status as s from orders), "
        + ", ".join(f"t{n} as (select {'||'.join(['s'] * 9)} as s from t{n - 1})" for n in range(1, 10))
        + " select length(s) from t9",
        "select max(x) from (select sum(a.quantity) over (order by b.quantity) x from "
        + ", ".join(f"shop.items {name}" for name in "abcdefghij") + ")",
    ],
)  # fmt: skip
def test_a_bomb_ends_in_time_and_the_next_statement_runs(run: Run, sql: str) -> None:
    started = datetime.now(UTC)
    with pytest.raises((Refused, DeadlineExceeded)):
        run(sql)
    assert (datetime.now(UTC) - started).total_seconds() < SECONDS + 2
    assert run("select 1") == [(1,)]


def test_nothing_of_one_statement_is_there_for_the_next(
    run: Run, databases: dict[str, Path], workers: Workers
) -> None:
    run("select * from shop.orders")
    announced = replace(untrusted(governed("select 1"), 10), relations=("wh_governed_0",))
    sql = "select * from temp.main.wh_governed_0"
    with pytest.raises(InvalidArgument):
        workers.run(databases, sql, {}, deadline_seconds=SECONDS, untrusted=announced)


@pytest.mark.parametrize("depth", [60, 500, 3_000])
@pytest.mark.parametrize("opening", ["(", "abs(", "not ", "(select ", "case when true then "])
def test_deep_nesting_is_one_short_error(depth: int, opening: str) -> None:
    with pytest.raises((InvalidArgument, Refused)):
        governed(("select " + opening * depth)[:10_000])


def test_a_long_statement_is_not_read() -> None:
    with pytest.raises(InvalidArgument, match="longer"):
        governed("select " + "1 + " * 5_000 + "1")


# -- the second look ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("select * from shop.main.orders", "shop.main.orders"),
        ("select * from orders", "the table orders"),
        ("select * from temp.main.wh_governed_1", "wh_governed_1"),
        ("select * from range(3)", "TABLE_FUNCTION"),
        ("select getenv('HOME')", "getenv"),
        ("select * from 'x.csv'", "x.csv"),
        ("show tables", "tables"),
        ("select 1; select 2", "2 statements"),
        ("attach 'x'", "Only SELECT"),
        ("with recursive r as (select 1 union all select 1 from r) select * from r", "RECURSIVE"),
        ("select * from (pivot temp.main.wh_governed_0 on a in (1, 2) using sum(b))", "PIVOT"),
        ("select $1", "PARAMETER"),
    ],
)
def test_what_duckdb_reads_beyond_the_announcement_is_refused(sql: str, named: str) -> None:
    announced = {"relations": ["wh_governed_0"], "common_tables": ["r"], "functions": ["sum"]}
    with duckdb.connect() as memory:
        found = memory.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    assert found is not None

    with pytest.raises(NotAnnounced, match=re.escape(named)):
        look(json.loads(found[0]), announced)
