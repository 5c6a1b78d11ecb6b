"""A model that is written and read again is the same model, or what differs is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_shop import NOON, PRODUCTS, ROWS, SHOP, fill, grants

from semantic_layer.errors import InvalidArgument
from semantic_layer.findings import Findings
from semantic_layer.metric import (
    Aggregation,
    Certification,
    Conversion,
    Cumulative,
    CustomGrain,
    Dimension,
    Grain,
    Measure,
    Metric,
    MetricInput,
    MetricKind,
    NonAdditive,
    Offset,
    Relationship,
    SavedQuery,
    SemanticDataset,
    SemanticModel,
    TimeSpine,
    Window,
)
from semantic_layer.plan.query import MetricQuery
from semantic_layer.predicate import TRUE, Compare, Contains, In, IsNull, Not, Predicate, Range, all_of, any_of
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from semantic_layer.semantics import read_semantics
from semantic_layer.semantics.dbt_writer import write_dbt
from semantic_layer.semantics.forms import form_of, part_of
from semantic_layer.semantics.ossie_writer import same_model, write_ossie
from semantic_layer.sql.compile import compile_query
from semantic_layer.yaml_file import parse_yaml, read_yaml
from semantic_layer.yaml_text import yaml_text

MANIFESTS = Path(__file__).parents[3] / "shared" / "truth" / "metricflow"
SHOP_PRODUCT = PRODUCTS["shop"]


def back(document: Any, product: DataProduct) -> SemanticModel:
    """The model of a written document, through its text."""
    findings = Findings()
    model = read_semantics([parse_yaml(yaml_text(document))], product=product, findings=findings)
    assert not findings.problems, findings.problems
    assert model is not None
    return model


# -- every model that the form can hold --------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Co", "Zl", "Zp")), max_size=12)
TEXT = WORDS.map(str.strip)
NAMES = st.one_of(
    st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True),
    st.sampled_from(["Order Date", "no", "1e5", "select", "sum", "null", "0o17", "Größe", "12:30", "a-b", "~"]),
)
GRAINS = st.sampled_from([Grain.DAY, Grain.MONTH, Grain.YEAR, Grain.HOUR])
FIELDS = st.sampled_from(["orders.status", "orders.amount", "orders__status", "metric_time__day", "order"])
VALUES = st.one_of(TEXT, st.integers(-9, 9), st.booleans(), st.floats(-5, 5))
EXPRESSIONS = st.sampled_from(
    [
        '"orders"."amount"',
        '"orders"."amount" * 2',
        'CASE WHEN "orders"."status" = \'paid\' THEN "orders"."amount" END',
        'COALESCE("orders"."amount", 0) / NULLIF("orders"."store_id", 0)',
        "1",
    ]
)


def filters() -> st.SearchStrategy[Predicate]:
    leaf = st.one_of(
        st.builds(Compare, FIELDS, st.sampled_from(["eq", "lt", "le", "gt", "ge"]), VALUES),
        st.builds(In, FIELDS, st.lists(VALUES, min_size=1, max_size=3).map(tuple)),
        st.builds(IsNull, FIELDS),
        st.builds(Contains, FIELDS, TEXT.filter(bool)),
        st.builds(Range, FIELDS, st.integers(0, 3), st.integers(4, 9)),
    )
    deeper = st.one_of(
        leaf, leaf.map(Not), st.tuples(leaf, leaf).map(lambda pair: all_of(*pair)),
        st.tuples(leaf, leaf).map(lambda pair: any_of(*pair)),
    )  # fmt: skip
    return st.one_of(st.just(TRUE), deeper)


@st.composite
def measures(draw: st.DrawFn) -> Measure:
    expression = draw(EXPRESSIONS)
    columns = {part for part in ("amount", "status", "store_id") if f'"{part}"' in expression}
    return Measure(
        name=draw(NAMES),
        dataset="orders",
        aggregation=draw(st.sampled_from(Aggregation)),
        expression=expression,
        columns=frozenset(("orders", column) for column in columns),
        percentile=draw(st.sampled_from([0.5, 0.99])),
        discrete=draw(st.booleans()),
        default_time=draw(st.sampled_from(["", "orders.ordered_at"])),
        non_additive=draw(st.one_of(st.none(), st.just(NonAdditive("ordered_at", "min", ("status",))))),
        description=draw(TEXT),
    )


@st.composite
def inputs(draw: st.DrawFn, alias: str, known: list[str]) -> MetricInput:
    named = draw(st.sampled_from(known)) if known and draw(st.booleans()) else ""
    return MetricInput(
        alias=alias,
        metric=named,
        measure=None if named else draw(measures()),
        filter=draw(filters()),
        offset=draw(st.one_of(st.none(), st.builds(Offset, GRAINS, st.integers(1, 9)))),
        fill_nulls_with=draw(st.one_of(st.none(), st.integers(0, 3))),
        join_to_timespine=draw(st.booleans()),
    )


@st.composite
def metrics(draw: st.DrawFn, name: str, known: list[str]) -> Metric:
    kind: MetricKind = draw(st.sampled_from(get_args(MetricKind)))
    pair = ("base", "conversion") if kind == "conversion" else ("numerator", "denominator")
    aliases = ("measure",) if kind in ("simple", "cumulative") else pair
    formulas = {
        "ratio": '"numerator" / NULLIF("denominator", 0)',
        "derived": '"numerator" - "denominator" * 2',
        "conversion": '"conversion" / NULLIF("base", 0)',
    }
    windows = st.one_of(st.none(), st.builds(Window, st.integers(1, 30), GRAINS))
    given_inputs = [draw(inputs(alias, [] if kind == "simple" else known)) for alias in aliases]
    return Metric(
        name=name,
        kind=kind,
        inputs=tuple(given_inputs),
        expression=formulas.get(kind, '"measure"'),
        filter=draw(filters()),
        label=draw(TEXT), description=draw(TEXT), unit=draw(TEXT), owner=draw(TEXT), formula=draw(TEXT),
        synonyms=tuple(draw(st.lists(TEXT.filter(bool), max_size=2))),
        certification=draw(st.sampled_from([Certification(), Certification("certified", "Kim", "2026-01-15", "ab")])),
        cumulative=draw(st.builds(Cumulative, windows, st.none(), st.sampled_from(["first", "last"]), st.booleans()))
        if kind == "cumulative" else None,
        conversion=Conversion("order", "conversion_rate", draw(windows), (("status", "status"),))
        if kind == "conversion" else None,
        default_grain=draw(st.sampled_from(["", "month"])),
        unsupported=draw(st.sampled_from(["", "has no meaning here"])),
        kept=draw(st.sampled_from([{}, {"x_future": [1, {"deep": None}]}])),
    )  # fmt: skip


@st.composite
def models(draw: st.DrawFn) -> SemanticModel:
    status = Dimension("status", '"orders"."status"', frozenset({"status"}), ColumnType.STRING, entity=draw(TEXT),
                       label=draw(TEXT), description=draw(TEXT), unit=draw(TEXT), fact=draw(st.booleans()))  # fmt: skip
    when = Dimension("ordered_at", '"orders"."ordered_at"', frozenset({"ordered_at"}), ColumnType.TIMESTAMP, True,
                     grain=draw(st.one_of(st.none(), GRAINS)))  # fmt: skip
    amount = Dimension("amount", '"orders"."amount"', frozenset({"amount"}), ColumnType.DECIMAL, fact=True)
    large = Dimension(draw(NAMES.filter(lambda name: name not in ("status", "amount"))), '"orders"."amount" > 100',
                      frozenset({"amount"}), ColumnType.BOOLEAN, synonyms=("big",))  # fmt: skip
    orders = SemanticDataset(
        "orders", "shop", "orders", (status, when, amount, large), tuple(draw(st.lists(measures(), max_size=2))),
        key=("order_id",), unique_keys=draw(st.sampled_from([(("order_id",),), (("order_id",), ("store_id", "note"))])),
        default_time=draw(st.sampled_from(["", "ordered_at"])), primary_entity=draw(TEXT),
        validity=draw(st.sampled_from([None, ("ordered_at", "ordered_at")])), description=draw(TEXT),
        kept=draw(st.sampled_from([{}, {"custom_extensions": [{"vendor_name": "ACME", "data": "not json"}]}])),
    )  # fmt: skip
    stores = SemanticDataset("stores", "shop", "stores", key=("store_id",), unique_keys=(("store_id",),))
    hop = Relationship(draw(NAMES), "orders", "stores", ('"orders"."store_id"',), ('"stores"."store_id"',))
    by_text = replace(hop, from_keys=('CAST("orders"."store_id" AS BIGINT)',))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    found: list[Metric] = []
    for name in names:
        simple = [one.name for one in found]
        found.append(draw(metrics(name, simple)))
    spine = TimeSpine("shop", "levels", "day", Grain.DAY, (CustomGrain("shop_week", "units"),))
    saved = SavedQuery("monthly", {"metrics": [names[0]], "dimensions": ["metric_time__month"], "limit": 3})
    return SemanticModel(
        "shop", draw(NAMES), (orders, stores), (hop, by_text) if draw(st.booleans()) else (hop,), tuple(found),
        saved_queries=(saved,) if draw(st.booleans()) else (), time_zone=draw(st.sampled_from(["", "Europe/Berlin"])),
        fiscal_year_start_month=draw(st.integers(0, 12)), description=draw(TEXT), instructions=draw(TEXT),
        time_spines=(spine,) if draw(st.booleans()) else (),
    )  # fmt: skip


@settings(max_examples=80)
@given(models())
def test_a_model_written_as_ossie_reads_back_the_same(model: SemanticModel) -> None:
    written = write_ossie(model, SHOP_PRODUCT)
    findings = Findings()
    read = read_semantics([parse_yaml(yaml_text(written.document))], product=SHOP_PRODUCT, findings=findings)
    assert read is not None
    assert form_of(read) == form_of(model)
    assert not written.lost, written.lost


@settings(max_examples=40)
@given(models())
def test_what_dbt_cannot_carry_of_a_model_is_said(model: SemanticModel) -> None:
    written = write_dbt(model, SHOP_PRODUCT)
    findings = Findings()
    read = read_semantics([parse_yaml(yaml_text(written.document))], product=SHOP_PRODUCT, findings=findings)
    assert written.lost or (read is not None and same_model(read, model))


# -- the files of others -----------------------------------------------------------------------------------


def test_unknown_keys_dialects_and_extensions_of_an_ossie_file_are_written_again() -> None:
    content = parse_yaml(SHOP).plain()
    content["x_document"] = {"of": "tomorrow"}
    (model,) = content["semantic_model"]
    model["x_model"] = [1]
    model["custom_extensions"].append({"vendor_name": "ACME", "data": "not json"})
    model["ai_context"] = {"instructions": "Ask twice.", "examples": ["How much?"]}
    field = model["datasets"][0]["fields"][0]
    field |= {"x_field": True, "datatype": "Opaque", "ai_context": "said freely"}
    field["dimension"] = {"x_dimension": 1}
    metric = model["metrics"][0]
    metric |= {"datatype": "Decimal", "ai_context": {"synonyms": ["turnover"], "examples": ["?"]}}
    metric["expression"]["dialects"].append({"dialect": "MDX", "expression": "[Measures].[Amount]"})
    model["relationships"][0]["x_relationship"] = "kept"
    text = json.dumps(content)
    read = back(parse_yaml(text).plain(), SHOP_PRODUCT)
    written = write_ossie(read, SHOP_PRODUCT)
    assert not written.lost
    assert same_model(back(written.document, SHOP_PRODUCT), read)
    again = written.document
    (wrote,) = again["semantic_model"]
    assert again["x_document"] == {"of": "tomorrow"}
    assert wrote["x_model"] == [1]
    assert {"vendor_name": "ACME", "data": "not json"} in wrote["custom_extensions"]
    assert wrote["ai_context"] == {"instructions": "Ask twice.", "examples": ["How much?"]}
    assert wrote["datasets"][0]["fields"][0]["datatype"] == "Opaque"
    assert wrote["datasets"][0]["fields"][0]["dimension"]["x_dimension"] == 1
    assert wrote["metrics"][0]["ai_context"] == {"synonyms": ["turnover"], "examples": ["?"]}
    assert wrote["metrics"][0]["expression"]["dialects"][1]["dialect"] == "MDX"
    assert wrote["relationships"][0]["x_relationship"] == "kept"


def test_an_extension_is_no_way_around_the_allow_list() -> None:
    stated = {
        "type": "simple",
        "expression": '"m"',
        "inputs": [{"alias": "m", "measure": {"name": "x", "dataset": "orders", "aggregation": "sum",
                                              "expression": "read_text('/etc/passwd')"}}],
    }  # fmt: skip
    content = parse_yaml(SHOP).plain()
    extension = {"vendor_name": "WELLHEAD", "data": json.dumps(stated)}
    content["semantic_model"][0]["metrics"][0]["custom_extensions"] = [extension]
    findings = Findings()
    read_semantics([parse_yaml(json.dumps(content))], product=SHOP_PRODUCT, findings=findings)
    assert any("may not stand in an expression" in one.message for one in findings.problems)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"type": "simpel"}, "`type` cannot be 'simpel'. Use one of simple."),
        ({"inputs": [{"alias": "m", "mesure": {}}]}, "has no key 'mesure'. Did you mean 'measure'?"),
        ({"cumulative": {"window": {"count": 7}}}, "`cumulative.window` needs `grain`."),
        ({"cumulative": {"window": {"count": "7", "grain": "day"}}}, "`cumulative.window.count` cannot be '7'."),
        ({"inputs": [{"alias": "a"}], "expression": '"b"'}, "names what is none of its inputs"),
        ({"typ": "simple"}, "has no key 'typ'. Did you mean 'type'?"),
        (
            {
                "inputs": [
                    {
                        "alias": "a",
                        "measure": {"name": "m", "dataset": "order", "aggregation": "sum", "expression": "1"},
                    }
                ]
            },
            "no dataset 'order'. Did you mean 'orders'?",
        ),
    ],
)
def test_a_mistake_in_what_an_extension_states_is_named(stated: dict[str, Any], said: str) -> None:
    content = parse_yaml(SHOP).plain()
    extension = {"vendor_name": "WELLHEAD", "data": json.dumps(stated)}
    content["semantic_model"][0]["metrics"][0]["custom_extensions"] = [extension]
    findings = Findings()
    read_semantics([parse_yaml(json.dumps(content))], product=SHOP_PRODUCT, findings=findings)
    assert any(said in str(one) for one in findings.problems), findings.problems


@pytest.fixture(scope="module")
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        fill(connection, ROWS)
        yield connection


def total(connection: duckdb.DuckDBPyConnection, model: SemanticModel, metric: str) -> Any:
    query = MetricQuery.from_json({"metrics": [metric]})
    compiled = compile_query(query, {"shop": model}, PRODUCTS, grants(), as_of=NOON)
    return connection.execute(compiled.statement.sql, dict(compiled.statement.parameters)).fetchall()


def test_an_ossie_model_as_dbt_gives_the_same_numbers(shop: duckdb.DuckDBPyConnection) -> None:
    model = back(parse_yaml(SHOP).plain(), SHOP_PRODUCT)
    exported = write_dbt(model, SHOP_PRODUCT)
    read = back(exported.document, SHOP_PRODUCT)
    carried = [one.name for one in model.metrics if read.metric(one.name) is not None]
    assert {"revenue", "paid_revenue", "paid_share", "median_amount", "buyers", "stock"} <= set(carried)
    for name in carried:
        assert total(shop, read, name) == total(shop, model, name), name
    assert "metric units: its time 'orders.ordered_at' is of another dataset." in exported.lost
    assert "metric order_count: over no rows it is NULL in dbt, and 0 here." in exported.lost
    assert "the model's time_zone" in exported.lost


def metricflow_product() -> DataProduct:
    """A contract with the recorded tables' columns."""
    kinds = {"VARCHAR": ColumnType.STRING, "BIGINT": ColumnType.INTEGER, "INTEGER": ColumnType.INTEGER,
             "DOUBLE": ColumnType.NUMBER, "DATE": ColumnType.DATE, "BOOLEAN": ColumnType.BOOLEAN}  # fmt: skip
    datasets: list[Dataset] = []
    for path in sorted((MANIFESTS / "tables").glob("*.parquet")):
        described = duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
        columns = [Column(str(name), kinds.get(str(kind), ColumnType.TIMESTAMP)) for name, kind, *_ in described]
        datasets.append(Dataset(path.stem, "table", tuple(columns)))
    return DataProduct("mf", "1", "mf", "active", "1", datasets=tuple(datasets))


@pytest.mark.truth
@pytest.mark.skipif(not MANIFESTS.is_dir(), reason="the folder of truth is not here")
def test_metricflows_own_manifests_survive_both_forms_whole() -> None:
    product = metricflow_product()
    for path in sorted((MANIFESTS / "manifests").glob("*.json")):
        findings = Findings()
        model = read_semantics([read_yaml(path)], product=product, findings=findings)
        assert model is not None
        assert not findings.problems
        for write in (write_ossie, write_dbt):
            written = write(model, product)
            assert not written.lost, (path.name, written.lost)
            assert same_model(replace(back(written.document, product), name=""), model), path.name


def test_a_text_that_yaml_1_2_would_take_for_something_else_is_quoted() -> None:
    values = [
        "no",
        "null",
        "~",
        "1e5",
        "0o17",
        "0x1F",
        "12",
        ".5",
        ".inf",
        "true",
        "2025-01-01",
        "a: b",
        "",
        " x ",
    ]
    assert parse_yaml(yaml_text({"values": values})).plain() == {"values": values}


def test_a_form_that_does_not_fit_names_its_path() -> None:
    with pytest.raises(InvalidArgument, match=r"`inputs\[0\].offset.grain` cannot be 'fortnight'"):
        part_of(Metric, {"name": "x", "kind": "simple", "inputs": [{"alias": "a", "offset": {"grain": "fortnight"}}]},
                lambda _, read: read)  # fmt: skip
