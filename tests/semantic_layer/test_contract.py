"""An ODCS contract of 3.0 to 3.2 becomes a product; every mistake in it is named with its line."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from indexes.live import DOCUMENT_STORES
from semantic_layer.contract import read_contract
from semantic_layer.findings import Findings
from semantic_layer.product import SERVER_TYPES, ColumnType, DataProduct, Dataset, QualityRule, Reference
from semantic_layer.yaml_file import parse_yaml, read_yaml
from tests.semantic_layer.conftest import CONTRACT, line_of


def read(text: str) -> tuple[DataProduct, list[str], list[str]]:
    """The product with its mistakes and warnings, as text."""
    findings = Findings()
    node = parse_yaml(text, shown_as="contract.yaml")
    product = read_contract(node, name="orders", folder=Path("orders"), findings=findings)
    return (
        product,
        [str(one) for one in sorted(findings.problems)],
        [str(one) for one in sorted(findings.warnings)],
    )


def orders(text: str) -> Dataset:
    product, problems, _ = read(text)
    assert problems == []
    dataset = product.dataset("orders")
    assert dataset is not None
    return dataset


def with_column(declared: str) -> str:
    """The contract with one more column of `orders`."""
    return CONTRACT.replace("  - name: returns\n", f"      - {declared}\n  - name: returns\n")


def with_orders(line: str) -> str:
    """The contract with one more line in the object `orders`."""
    return CONTRACT.replace(
        "    description: One row an order.\n", f"    description: One row an order.\n    {line}\n"
    )


def test_a_contract_becomes_a_product_with_its_owner_and_columns() -> None:
    product, problems, warnings = read(CONTRACT)
    assert (problems, warnings) == ([], [])
    assert (product.name, product.contract_id, product.owner) == (
        "orders",
        "orders-contract",
        "Ann <ann@example.com>",
    )
    dataset = product.datasets[0]
    assert (dataset.kind, dataset.server, dataset.key) == ("table", "files", ("order_id",))
    amount = dataset.column("amount")
    assert amount is not None
    assert (amount.type, amount.precision, amount.scale, amount.line) == (ColumnType.DECIMAL, 12, 2, 19)


def test_personal_columns_are_not_filterable_unless_the_contract_says_so() -> None:
    assert orders(CONTRACT).filterable_columns == ("order_id", "region", "ordered_on", "amount")
    asked = with_column(
        "{name: mail, logicalType: string, classification: pii, "
        "customProperties: [{property: wellhead, value: {filterable: true}}]}"
    )
    assert "mail" in orders(asked).filterable_columns


def test_no_column_is_searched_unless_the_contract_says_so() -> None:
    assert orders(CONTRACT).text_columns == ()
    hint = "customProperties: [{property: wellhead, value: {text: true%s}}]"
    assert orders(with_column("{name: note, logicalType: string, " + hint % "" + "}")).text_columns == ("note",)
    personal = "{name: note, logicalType: string, classification: restricted, " + hint
    _, (problem,), _ = read(with_column(personal % "" + "}"))
    assert "its text would be searched" in problem
    assert orders(with_column(personal % ", search_personal: true" + "}")).text_columns == ("note",)


def test_hints_of_a_dataset_are_read() -> None:
    value = "{path: 'orders*.csv', on_error: set_aside, live: true, search_language: de, token_vectors: true}"
    dataset = orders(with_orders("customProperties: [{property: wellhead, value: " + value + "}]"))
    assert (dataset.path, dataset.on_error, dataset.live) == ("orders*.csv", "set_aside", True)
    assert (dataset.language, dataset.token_vectors) == ("de", True)


def test_documents_have_their_own_columns_without_declaring_them() -> None:
    text = CONTRACT.replace("physicalType: table", "physicalType: document", 1).replace(
        "primaryKey: true, ", "", 1
    )
    dataset = orders(text)
    names = [column.name for column in dataset.columns][:4]
    assert names == ["path", "media_type", "title", "modified_at"]
    assert dataset.key == ("path",)
    declared = orders(text.replace("{name: region,", "{name: title, logicalType: string}\n      - {name: region,"))
    assert [column.name for column in declared.columns].count("title") == 1


def test_nested_objects_are_flattened_with_their_paths() -> None:
    nested = """{name: ship, logicalType: object, properties: [
          {name: city, logicalType: string},
          {name: 'zip code', logicalType: string, classification: personal}]}"""
    dataset = orders(with_column(nested))
    city, code = dataset.column("ship_city"), dataset.column("ship_zip code")
    assert city is not None
    assert code is not None
    assert (city.path, code.path) == ("$.ship.city", "$.ship['zip code']")
    assert (city.filterable, code.filterable) == (True, False)


def test_the_parts_of_a_classified_object_are_as_classified() -> None:
    nested = """{name: who, logicalType: object, classification: personal,
          properties: [{name: city, logicalType: string}]}"""
    city = orders(with_column(nested)).column("who_city")
    assert city is not None
    assert (city.sensitive, city.filterable) == (True, False)


def test_an_array_of_objects_is_as_personal_as_its_parts() -> None:
    people = """{name: people, logicalType: array, items: {logicalType: object, properties: [
          {name: n, logicalType: string, classification: pii}]}}"""
    column = orders(with_column(people)).column("people")
    assert column is not None
    assert (column.sensitive, column.filterable, column.items) == (True, False, ColumnType.OBJECT)


def test_records_get_a_path_for_each_column() -> None:
    dataset = orders(CONTRACT.replace("physicalType: table", "physicalType: record", 1))
    assert [column.path for column in dataset.columns][:2] == ["$.order_id", "$.region"]


def test_options_of_types_are_read() -> None:
    declared = """{name: price, logicalType: number, physicalType: 'numeric(10)',
          logicalTypeOptions: {exclusiveMinimum: 0, maximum: 9, multipleOf: 0.5}}
      - {name: sku, logicalType: string,
          logicalTypeOptions: {minLength: 3, maxLength: 9, pattern: '^[A-Z]+$', format: uuid}}
      - {name: at, logicalType: timestamp,
          logicalTypeOptions: {defaultTimezone: Europe/Berlin, minimum: 2020-01-01}}
      - {name: paid, physicalType: 'VARCHAR(3)'}
      - {name: labels, logicalType: array, items: {logicalType: string}}"""
    dataset = orders(with_column(declared))
    price, sku, at, paid, labels = dataset.columns[-5:]
    assert (price.type, price.precision, price.scale) == (ColumnType.DECIMAL, 10, 0)
    assert (price.minimum, price.minimum_excluded, price.maximum, price.multiple_of) == (0, True, 9, 0.5)
    assert (sku.min_length, sku.max_length, sku.pattern, sku.format) == (3, 9, "^[A-Z]+$", "uuid")
    assert (at.time_zone, at.minimum) == ("Europe/Berlin", "2020-01-01")
    assert paid.type is ColumnType.STRING
    assert (labels.type, labels.items) == (ColumnType.ARRAY, ColumnType.STRING)


def test_values_of_an_enumeration_take_the_columns_type() -> None:
    declared = (
        "{name: rate, logicalType: number, physicalType: 'decimal(4,2)', enum: [{value: 0.19}, {value: '0.07'}]}"
    )
    column = orders(with_column(declared)).column("rate")
    assert column is not None
    assert column.enum == (Decimal("0.19"), Decimal("0.07"))


def test_relationships_lead_to_columns_of_this_or_another_product() -> None:
    declared = """{name: customer, logicalType: string, relationships: [
          {to: crm.customers.id, customProperties: [{property: wellhead, value: {severity: error}}]}]}"""
    product, problems, _ = read(with_column(declared))
    assert problems == []
    assert [dataset.references for dataset in product.datasets] == [
        (Reference(("customer",), "crm.customers", ("id",), "error", 23),),
        (Reference(("order_id",), "orders", ("order_id",), "warning", 28),),
    ]


def test_composite_relationships_and_paths_by_id_are_read() -> None:
    text = with_orders("id: orders_obj").replace(
        "{name: order_id, logicalType: integer, primaryKey",
        "{id: oid, name: order_id, logicalType: integer, primaryKey",
        1,
    )
    text += """    relationships:
      - type: foreignKey
        from: [returns.order_id, returns.reason]
        to: [orders.order_id, orders.region]
      - {from: return_id, to: schema/orders_obj/properties/oid}
"""
    product, problems, _ = read(text)
    assert problems == []
    assert [reference.to_columns for reference in product.datasets[1].references] == [
        ("order_id",),
        ("order_id", "region"),
        ("order_id",),
    ]


def test_quality_rules_of_all_versions_are_read() -> None:
    rules = """quality:
      - {metric: rowCount, mustBeBetween: [1, 9], severity: warning}
      - {metric: duplicateValues, mustBe: 0, arguments: {properties: [order_id, region]}}
      - {type: sql, name: adds up, query: 'SELECT COUNT(*) FROM ${table}', mustBeLessThan: 4}
      - {type: text, description: Looks fine.}"""
    column = """{name: shop, logicalType: string, quality: [
          {rule: duplicateCount, mustBeLessThan: 10, unit: percent},
          {rule: nullCheck},
          {metric: invalidValues, arguments: {validValues: [a, b]}, mustBe: 0}]}
      - {name: region,"""
    text = with_orders(rules).replace("{name: region,", column)
    found = orders(text).quality
    assert [(rule.column, rule.metric, rule.operator, rule.bound, rule.unit) for rule in found] == [
        ("", "rowCount", "mustBeBetween", [1, 9], "rows"),
        ("", "duplicateValues", "mustBe", 0, "rows"),
        ("", "sql", "mustBeLessThan", 4, "rows"),
        ("shop", "duplicateValues", "mustBeLessThan", 10, "percent"),
        ("shop", "nullValues", "mustBe", 0, "rows"),
        ("shop", "invalidValues", "mustBe", 0, "rows"),
    ]
    assert found[0].severity == "warning"
    assert isinstance(found[2], QualityRule)
    assert (found[2].name, found[2].query) == ("adds up", "SELECT COUNT(*) FROM ${table}")


def test_checks_of_other_tools_and_measures_are_named_as_not_read() -> None:
    measure = """{name: total, logicalType: number, semanticType: measure, transformLogic: SUM(amount)}
      - {name: region,"""
    custom = with_orders("quality: [{type: custom, engine: soda, implementation: 'x: 1'}]")
    text = custom.replace("{name: region,", measure)
    product, problems, warnings = read(text)
    assert problems == []
    assert product.datasets[0].column("total") is None
    assert any("for soda is not checked here" in one for one in warnings)
    assert any("the measure 'total' is no column" in one for one in warnings)


def test_servers_keep_their_options_and_secrets_stay_outside() -> None:
    server = """{server: db, type: postgresql, host: h, port: 5432, schema: public,
        customProperties: [{property: wellhead, value: {dsn: '${SHOP_DSN}'}}]}"""
    text = CONTRACT.replace("{server: files, type: local, path: data, format: csv}", server)
    product, problems, _ = read(text)
    assert problems == []
    (read_server,) = product.servers
    assert (read_server.type, read_server.options["port"]) == ("postgres", 5432)
    assert read_server.options["dsn"] == "${SHOP_DSN}"
    _, (problem,), _ = read(text.replace("${SHOP_DSN}", "postgres://me:secret@h/db"))
    assert "`dsn` holds a password" in problem
    assert read(text.replace("${SHOP_DSN}", "postgres://me:${PASSWORD}@h/db"))[1] == []


@pytest.mark.parametrize("version", ["v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0"])
def test_every_supported_version_is_read(version: str) -> None:
    assert read(CONTRACT.replace("v3.1.0", version))[1] == []


@pytest.mark.parametrize("version", ["v2.2.2", "v4.0.0", "3.1"])
def test_an_unsupported_version_names_those_that_are(version: str) -> None:
    _, (problem,), _ = read(CONTRACT.replace("v3.1.0", f"'{version}'"))
    assert problem.startswith(f"contract.yaml:1: apiVersion '{version}' is not supported. Use one of v3.0.0,")


def test_a_contract_of_3_0_with_its_older_forms_is_read() -> None:
    text = CONTRACT.replace("v3.1.0", "v3.0.1").replace(
        "team: {members: [{username: ann@example.com, name: Ann, role: owner}]}",
        "team:\n  - {username: bob, role: Engineer}\n  - {username: eve, role: Owner, dateOut: 2020-01-01}\n"
        "  - {username: ann, role: Data Owner, comment: since ever}",
    )
    product, problems, _ = read(text)
    assert problems == []
    assert product.owner == "ann"


MISTAKES = read_yaml(Path(__file__).with_name("contract_mistakes.yaml")).plain()


@pytest.mark.parametrize("case", MISTAKES, ids=[case["said"][:48] for case in MISTAKES])
def test_a_mistake_is_named_with_its_line_and_the_next_step(case: dict[str, Any]) -> None:
    if "column" in case:
        text, at = with_column(case["column"]), case["column"]
    elif "orders" in case:
        text, at = with_orders(case["orders"]), case["orders"]
    else:
        before, at = case["replace"]
        text = CONTRACT.replace(before, at, 1)
    start = f"contract.yaml:{line_of(text, case.get('at', at))}: {case['said']}"
    _, problems, _ = read(text)
    assert any(problem.startswith(start) for problem in problems), problems


def test_all_mistakes_come_at_once_and_reading_goes_on_past_them() -> None:
    text = with_column("{name: x, logicalType: strng, required: yes, colour: red}").replace(
        'version: "1.0.0"\n', ""
    )
    product, problems, _ = read(text)
    assert len(problems) == 4
    assert product.datasets[0].column("x") is not None


def test_an_empty_or_foreign_file_is_no_contract() -> None:
    for text in ("", "just text", "[a, b]"):
        _, problems, _ = read(text)
        assert problems == ["contract.yaml:1: a contract must be a mapping. Start with apiVersion, kind and id."]
    _, problems, _ = read("{}")
    assert any("a contract needs `kind`" in problem for problem in problems)


def test_a_server_that_nothing_here_reads_is_named_with_those_that_are_read() -> None:
    text = CONTRACT.replace("server: files, type: local", "server: files, type: locl")
    _, problems, _ = read(text)
    assert len(problems) == 2  # a line for each dataset that lies there
    line = line_of(text, "type: locl")
    said = f"contract.yaml:{line}: dataset 'orders' lies at a server of type 'locl', which nothing here reads."
    assert problems[0] == f"{said} Did you mean 'local'? Use one of {', '.join(SERVER_TYPES)}."
    assert {*DOCUMENT_STORES, "local", "postgres"} == set(SERVER_TYPES)


def test_an_sla_on_a_dataset_that_is_not_there_is_a_warning() -> None:
    _, problems, warnings = read(
        CONTRACT + "slaProperties: [{property: latency, value: 1, unit: d, element: order.at}]\n"
    )
    assert problems == []
    assert "which is no dataset of this contract" in warnings[0]
