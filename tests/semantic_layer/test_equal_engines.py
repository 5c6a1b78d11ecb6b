"""The same plan on ClickHouse (chDB), DataFusion and Postgres gives the rows that DuckDB gives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_layer.errors import Refused
from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Action, Policy, Rule, decide
from semantic_layer.predicate import Compare
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from semantic_layer.semantics import read_semantics
from semantic_layer.sql.build import Dialect
from semantic_layer.sql.compile import CompiledQuery, compile_query
from semantic_layer.sql.predicate import where_text
from semantic_layer.yaml_file import parse_yaml
from tests import small_shop, small_site
from tests.conftest import engine_missing
from tests.metric_engines import ClickHouse, DataFusion, DuckDb, Engine, Postgres, Tables, comparable
from tests.semantic_layer.test_planner import QUESTIONS as SHOP_QUESTIONS
from tests.semantic_layer.test_planner_by_hand import questions
from tests.semantic_layer.test_planner_time import QUESTIONS as SITE_QUESTIONS
from tests.semantic_layer.test_planner_time import ROWS as SITE_ROWS
from tests.semantic_layer.test_planner_time_by_hand import questions as time_questions

GOLDEN = Path(__file__).parent / "golden" / "engines"
LAB = """
version: 0.2.0.dev0
semantic_model:
- name: lab
  datasets:
  - name: runs
    source: lab.runs
    primary_key: [id]
    fields:
    - {name: kind, expression: {dialects: [{dialect: ANSI_SQL, expression: kind}]}, dimension: {}}
    - {name: done, expression: {dialects: [{dialect: ANSI_SQL, expression: done}]}, dimension: {}}
    - {name: x, expression: {dialects: [{dialect: ANSI_SQL, expression: x}]}, dimension: {}}
    - {name: odd, expression: {dialects: [{dialect: ANSI_SQL, expression: odd}]}, dimension: {}}
    - {name: at, expression: {dialects: [{dialect: ANSI_SQL, expression: at}]}, dimension: {}}
    - {name: day, expression: {dialects: [{dialect: ANSI_SQL, expression: day}]}, dimension: {}}
    custom_extensions: [{vendor_name: WELLHEAD, data: '{"primary_entity": "run", "default_time": "at"}'}]
  metrics:
"""
METRICS = {
    "runs": "COUNT(*)",
    "total": "SUM(runs.whole)",
    "cost": "SUM(runs.cost)",
    "average_cost": "AVG(runs.cost)",
    "average_whole": "AVG(runs.whole)",
    "cost_per_whole": "cost / total",
    "third": "cost / 3",
    "done_share": "SUM(CASE WHEN runs.done THEN 1 END) / COUNT(*)",
    "middle": "MEDIAN(runs.x)",
    "middle_cost": "MEDIAN(runs.cost)",
    "p90": "PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY runs.x)",
    "p333": "PERCENTILE_CONT(0.333) WITHIN GROUP (ORDER BY runs.whole)",
    "least": "PERCENTILE_CONT(0) WITHIN GROUP (ORDER BY runs.x)",
    "d90": "PERCENTILE_DISC(0.9) WITHIN GROUP (ORDER BY runs.x)",
    "d07": "PERCENTILE_DISC(0.07) WITHIN GROUP (ORDER BY runs.id)",
    "d50_kind": "PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY runs.kind)",
    "d50_day": "PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY runs.day)",
    "d0": "PERCENTILE_DISC(0) WITHIN GROUP (ORDER BY runs.x)",
    "d100": "PERCENTILE_DISC(1) WITHIN GROUP (ORDER BY runs.x)",
    "kinds": "COUNT(DISTINCT runs.kind)",
    "last_kind": "MAX(runs.kind)",
    "first_day": "MIN(runs.day)",
    "last_moment": "MAX(runs.at)",
}
PRODUCT = DataProduct("lab", "1", "lab", "active", "1", datasets=(
    Dataset("runs", "table", (
        Column("id", ColumnType.INTEGER), Column("kind", ColumnType.STRING), Column("at", ColumnType.TIMESTAMP),
        Column("day", ColumnType.DATE), Column("x", ColumnType.NUMBER), Column("whole", ColumnType.INTEGER),
        Column("cost", ColumnType.DECIMAL, precision=12, scale=2), Column("done", ColumnType.BOOLEAN),
        Column("odd", ColumnType.NUMBER),
    )),
))  # fmt: skip
START = datetime(2025, 3, 29, 22, 30)
BIG = 9_000_000_000_000_000_000
ODD = 'o\'dd\\ "100%"\ttab\nß日'
PLAIN = [
    *(
        (n, "many", START + timedelta(minutes=47 * n), date(2025, 3, 1) + timedelta(days=n), n * 1.25, n,
         Decimal(n * 13) / 100, n % 3 == 0)
        for n in range(1, 101)
    ),
    (101, "few", datetime(1969, 12, 31, 23, 59, 59, 123456), date(1931, 2, 28), 0.1, 7, Decimal("0.10"), True),
    (102, "few", datetime(2025, 10, 26, 0, 30), date(2096, 2, 29), 0.7, -2, Decimal("-0.05"), None),
    (103, "few", datetime(2025, 10, 26, 1, 30), date(2025, 12, 31), None, None, None, False),
    (104, "big", datetime(2024, 12, 31, 23, 30), None, -1e9, BIG, Decimal("9999999999.99"), True),
    (105, "big", datetime(2025, 1, 1, 0, 30), date(2025, 1, 1), 1e-9, BIG, Decimal("0.01"), True),
    (106, "none", None, None, None, None, None, None),
    (107, None, datetime(2025, 6, 1), date(2025, 6, 1), 5.0, 5, Decimal("5.00"), True),
    (108, ODD, datetime(2025, 6, 1), date(2025, 6, 1), 6.0, 6, Decimal("6.00"), False),
    (109, "", datetime(2025, 6, 8), date(2025, 6, 8), 8.0, 8, Decimal("8.00"), False),
]  # fmt: skip
RUNS = [(*row, (None, float("nan"), 0.5, 2.0)[row[0] % 4]) for row in PLAIN]
BY_KIND = {"dimensions": ["run__kind"]}
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York")


def of_kind(op: str, value: Any) -> dict[str, Any]:
    return {"metrics": ["runs"], "filters": {"field": "run__kind", "op": op, "value": value}}


def in_zone(cut: str, zone: str) -> dict[str, Any]:
    return {"metrics": ["runs"], "dimensions": [f"metric_time__{cut}"], "time": {"zone": zone}}


TRAPS: Mapping[str, Mapping[str, Any]] = {
    "every metric": {"metrics": sorted(METRICS)},
    "every metric by group": {"metrics": sorted(METRICS), **BY_KIND},
    "of no rows": {**of_kind("eq", "absent"), "metrics": sorted(METRICS)},
    "odd text": of_kind("eq", ODD),
    "part of a text": of_kind("contains", '\\ "'),
    "text above": {**of_kind("gt", "ma"), **BY_KIND},
    "not among": of_kind("not_in", ["few", "many"]),
    "unknown is not false": {
        "metrics": ["runs"],
        "dimensions": ["run__done"],
        "filters": {"not": {"field": "run__done", "op": "eq", "value": True}},
    },
    "number between": {"metrics": ["runs"], "filters": {"field": "run__x", "op": "between", "value": [0.1, 6]}},
    "not a number": {"metrics": ["runs"], "filters": {"not": {"field": "run__odd", "op": "gt", "value": 1}}},
    "days before 1970": {
        "metrics": ["runs"],
        "dimensions": ["run__day__year"],
        "filters": {"field": "run__day", "op": "lt", "value": "1970-01-01"},
    },
    "moments": {"metrics": ["runs"], "time": {"start": "1969-12-31T00:00:00", "end": "2025-10-26T01:30:00"}},
    "of the answer": {
        "metrics": ["total"],
        "filters": {"field": "total", "op": "ge", "value": 6.5},
        **BY_KIND,
    },
    "largest first": {"metrics": ["cost_per_whole"], "order": ["-cost_per_whole"], "limit": 3, **BY_KIND},
    "values": {"dimensions": ["run__kind", "run__done"]},
    "ends": {"dimensions": ["run__day"], "min_max": True},
    **{f"{cut} in {zone}": in_zone(cut, zone) for zone in ZONES for cut in ("hour", "day", "week", "quarter")},
    **{
        f"{part} of {zone}": in_zone(f"extract_{part}", zone)
        for zone in ZONES[:2]
        for part in ("year", "quarter", "month", "day", "dow", "doy")
    },
    "minute": in_zone("minute", "UTC"),
    "second": in_zone("second", "Asia/Kolkata"),
}


TEXTS: Mapping[str, Mapping[str, Any]] = {
    "percentiles": {"metrics": ["d07", "p90", "average_cost"], **BY_KIND},
    "hour_in_berlin": in_zone("hour", "Europe/Berlin"),
    "weekday_in_berlin": in_zone("extract_dow", "Europe/Berlin"),
    "week_in_berlin": in_zone("week", "Europe/Berlin"),
    "not_a_number": TRAPS["not a number"],
    "moments": TRAPS["moments"],
}


def lab_model() -> SemanticModel:
    metrics = "\n".join(
        f"  - {{name: {name}, expression: {{dialects: [{{dialect: ANSI_SQL, expression: '{sql}'}}]}}}}"
        for name, sql in METRICS.items()
    )
    findings = Findings()
    model = read_semantics([parse_yaml(LAB + metrics, shown_as="lab.yaml")], product=PRODUCT, findings=findings)
    assert model is not None, findings.problems
    return model


MODEL = lab_model()
OPEN = Policy("lab", (Rule("all", frozenset({"*"}), frozenset(Action)),))
GRANTS = {"lab": decide(Principal("ana", frozenset({"analyst"})), PRODUCT, Action.METRIC, OPEN)}


def compiled(query: Mapping[str, Any], dialect: Dialect) -> CompiledQuery:
    return compile_query(
        MetricQuery.from_json(query), {"lab": MODEL}, {"lab": PRODUCT}, GRANTS,
        as_of=datetime(2025, 6, 1, tzinfo=UTC), dialect=dialect,
    )  # fmt: skip


def shop_rows() -> Tables:
    """The small shop with its traps, and 60 rows a table beside them: missing keys, orphans, equal moments."""
    random = Random(20250601)

    def maybe(value: Any) -> Any:
        return None if random.random() < 0.15 else value

    def moment() -> datetime:
        return datetime(2025, 1, 28) + timedelta(minutes=30 * random.randrange(4000))

    orders = [
        (n, maybe(random.randrange(8, 18)), maybe(random.randrange(1, 5)), maybe(random.choice("ab")),
         maybe(moment()), maybe(Decimal(random.randrange(10_000)) / 100), maybe(random.choice("ab")))
        for n in range(100, 160)
    ]  # fmt: skip
    items = [
        (random.randrange(98, 164), n, maybe(random.random() < 0.5), maybe(random.randrange(9)))
        for n in range(100, 160)
    ]
    customers = [
        (n, maybe(random.choice("ab")), maybe(random.choice("ab")), maybe(f"{n}@x.org")) for n in range(13, 17)
    ]
    levels = [(moment().date(), maybe(random.randrange(1, 5)), maybe(random.randrange(9))) for _ in range(60)]
    more = {"shop.orders": orders, "shop.items": items, "crm.customers": customers, "shop.levels": levels}
    return {name: [*rows, *more.get(name, [])] for name, rows in small_shop.ROWS.items()}


def site_rows() -> Tables:
    days = [(day, small_site.season(day)) for day in small_site.SPINE]
    return {f"site.{name}": rows for name, rows in {**SITE_ROWS, "days": days}.items()}


def filled(engine: Engine) -> Engine:
    engine.fill(PRODUCT, {"lab.runs": RUNS})
    for product in small_shop.PRODUCTS.values():
        engine.fill(product, shop_rows())
    engine.fill(small_site.PRODUCT, site_rows())
    return engine


@pytest.fixture(scope="module")
def duck() -> Engine:
    return filled(DuckDb())


@pytest.fixture(
    scope="module", params=["clickhouse", "datafusion", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made: dict[str, Callable[[], ClickHouse | DataFusion | Postgres]] = {
        "clickhouse": ClickHouse,
        "datafusion": DataFusion,
        "postgres": lambda: Postgres(request.getfixturevalue("postgres_dsn")),
    }
    try:
        opened = made[request.param]()
    except ImportError as missing:
        engine_missing(request.param, str(missing))
        return
    yield filled(opened)
    opened.close()


Compiled = Callable[[Dialect], CompiledQuery]


def agree(duck: Engine, engine: Engine, ask: Compiled, *, totals: bool = False) -> None:
    """Both engines give the same rows in the same order, and the same totals."""
    pairs = [(ask(one.dialect), one) for one in (duck, engine)]
    shown = pairs[1][0].statement
    expected, found = (comparable(one.run(query.statement)) for query, one in pairs)
    assert found == expected, (shown.sql, shown.parameters)
    if totals:
        expected, found = (comparable(one.run(query.totals())) for query, one in pairs)
        assert found == expected, pairs[1][0].totals().sql


@pytest.mark.parametrize("name", TRAPS)
def test_each_trap_of_an_engine_gives_duckdbs_rows(name: str, duck: Engine, engine: Engine) -> None:
    agree(duck, engine, lambda dialect: compiled(TRAPS[name], dialect))


def test_each_question_of_the_shop_gives_duckdbs_rows_and_totals(duck: Engine, engine: Engine) -> None:
    for asked in SHOP_QUESTIONS.values():
        agree(duck, engine, lambda dialect, one=asked: small_shop.compiled(*one, dialect=dialect), totals=True)


def test_each_rule_of_time_gives_duckdbs_rows(duck: Engine, engine: Engine) -> None:
    for query in SITE_QUESTIONS.values():
        agree(duck, engine, lambda dialect, q=query: small_site.compiled_site(q, dialect=dialect))


def agree_on(duck: Engine, engine: Engine, query: Mapping[str, Any], limited: bool) -> None:
    """With rows of customers withheld and groups of fewer than two hidden, if `limited`."""
    rights = {"rows": Compare("region", "eq", "a")} if limited else {}
    crm = small_shop.policy("crm", small_shop.rule("some", **rights), minimum_group_size=2 if limited else 0)
    granted = small_shop.grants(crm=crm)
    totals = bool(query["dimensions"])
    agree(duck, engine, lambda dialect: small_shop.compiled(query, granted, dialect=dialect), totals=totals)


@settings(max_examples=10)
@given(query=questions(), limited=st.booleans())
def test_random_questions_give_duckdbs_rows(
    duck: Engine, engine: Engine, query: dict[str, Any], limited: bool
) -> None:
    agree_on(duck, engine, query, limited)


@settings(max_examples=10)
@given(query=time_questions())
def test_random_questions_over_time_give_duckdbs_rows(duck: Engine, engine: Engine, query: dict[str, Any]) -> None:
    agree(duck, engine, lambda dialect: small_site.compiled_site(query, dialect=dialect))


@pytest.mark.soak
@settings(max_examples=300)
@given(query=questions(), over_time=time_questions(), limited=st.booleans())
def test_many_random_questions_give_duckdbs_rows(
    duck: Engine, engine: Engine, query: dict[str, Any], over_time: dict[str, Any], limited: bool
) -> None:
    agree_on(duck, engine, query, limited)
    agree(duck, engine, lambda dialect: small_site.compiled_site(over_time, dialect=dialect))


def test_a_discrete_percentile_is_the_first_value_with_that_share_up_to_it(engine: Engine) -> None:
    """0.07 of a hundred values is the seventh; multiplied as doubles it would be the eighth."""
    many = {"metrics": ["d07", "d90", "p90"], "filters": {"field": "run__kind", "op": "eq", "value": "many"}}
    [row] = comparable(engine.run(compiled(many, engine.dialect).statement))
    assert row[:3] == (7, 90 * 1.25, 112.625)


@pytest.mark.parametrize("dialect", ["clickhouse", "datafusion", "postgres", "trino", "snowflake", "bigquery"])
@pytest.mark.parametrize("name", TEXTS)
def test_percentiles_and_zones_are_written_for_each_engine(name: str, dialect: Dialect) -> None:
    """WELLHEAD_REFRESH_GOLDEN=1 rewrites the files; the change is then for a person to read."""
    path = GOLDEN / f"{name}.{dialect}.sql"
    text = f"-- {json.dumps(TEXTS[name])}\n{compiled(TEXTS[name], dialect).statement.sql}\n"
    if os.environ.get("WELLHEAD_REFRESH_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


def test_a_condition_on_a_list_is_refused_where_it_is_not_written() -> None:
    columns = {"tags": Column("tags", ColumnType.ARRAY, items=ColumnType.STRING)}
    assert where_text(Compare("tags", "eq", "a"), columns, "postgres")
    dialects: tuple[Dialect, ...] = ("clickhouse", "datafusion", "trino", "snowflake", "bigquery")
    for dialect in dialects:
        with pytest.raises(Refused, match=f"not written for {dialect}") as caught:
            where_text(Compare("tags", "eq", "a"), columns, dialect)
        assert caught.value.rule == "not_supported"


def test_a_dotted_name_is_refused_where_no_column_can_have_it() -> None:
    dotted = {"metrics": ["lab.runs"], "dimensions": ["runs.kind"]}
    names = [column.name for column in compiled(dotted, "duckdb").columns]
    assert any("." in name for name in names), names
    with pytest.raises(Refused, match="BigQuery"):
        compiled(dotted, "bigquery")
